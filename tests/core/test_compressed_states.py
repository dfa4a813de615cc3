"""States in compressed files: every bit comes back, and no damage becomes another state."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from penin.core import OmegaMetaOrchestrator
from penin.core.formats import decode_state, encode_state
from penin.core.snapshots import Envelope
from penin.errors import (
    CorruptionError,
    ExpansionError,
    KeyRequiredError,
    RefusedTypeError,
    RefusedValueError,
    StorageError,
)
from penin.storage.compression import SUFFIX_OF
from penin.storage.memory import MemoryBlocks
from tests.core.samples import filled, loaded
from tests.core.strategies import calls

FORMATS = (".json", ".safetensors")
SUFFIXES = [form + end for form in FORMATS for end in ("", *SUFFIX_OF.values())]
COMPRESSED = [form + end for form in FORMATS for end in SUFFIX_OF.values()]


def content_of(orchestrator: OmegaMetaOrchestrator) -> bytes:
    """All of a state; of two that differ in a bit, it is not the same."""
    return b"".join(encode_state(orchestrator._state.view(), Envelope(), ".json"))


def through(data: bytes, suffix: str) -> OmegaMetaOrchestrator:
    blocks = MemoryBlocks([data])
    state, _ = decode_state(blocks, Path(f"state{suffix}"), suffix, whole=True)
    return OmegaMetaOrchestrator.from_state(state)


@given(
    made=st.lists(calls(), max_size=12),
    chain=st.lists(st.sampled_from(SUFFIXES), min_size=1, max_size=5),
    level=st.none() | st.integers(1, 9),
)
def test_any_state_comes_back_through_any_chain_of_formats_and_compressions(made, chain, level):
    orchestrator = OmegaMetaOrchestrator()
    for name, arguments, keywords in made:
        getattr(orchestrator, name)(*arguments, **keywords)
    expected, read = content_of(orchestrator), orchestrator
    for suffix in chain:
        data = b"".join(encode_state(read._state.view(), Envelope(), suffix, level=level))
        read = through(data, suffix)
        assert content_of(read) == expected
    assert read._state.seq == orchestrator._state.seq


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_state_is_saved_and_loaded_by_the_suffix_of_the_file(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    filled().save_state(path)
    assert content_of(loaded(path)) == content_of(filled())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".json.enc", ".safetensors.zst.enc"])
def test_no_plain_file_is_saved_under_the_suffix_of_an_encrypted_one(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    with pytest.raises(RefusedValueError, match="filepath: only a store is encrypted"):
        filled().save_state(path)
    assert not path.exists()
    path.write_bytes(b"{}")
    with pytest.raises(KeyRequiredError):
        OmegaMetaOrchestrator().load_state(path)


@pytest.mark.parametrize(("suffix", "level"), [(".json.gz", 9), (".json.zst", 19)])
def test_a_higher_level_makes_a_smaller_file(tmp_path, suffix, level):
    orchestrator = OmegaMetaOrchestrator()
    for number in range(2000):
        orchestrator.append_history("texts", f"a text of number {number * 7919 % 10_007}")
    for name, chosen in ("low", 1), ("high", level):
        orchestrator.save_state(tmp_path / (name + suffix), level=chosen)
    sizes = [(tmp_path / (name + suffix)).stat().st_size for name in ("low", "high")]
    assert sizes[0] > sizes[1]


def test_a_level_that_is_none_is_refused_before_anything_is_written(tmp_path):
    for name, level in ("s.json", 3), ("s.json.gz", 10), ("s.json.zst", 0), ("s.json.zst", 20):
        with pytest.raises(RefusedValueError, match="level"):
            filled().save_state(tmp_path / "new" / name, level=level)
    with pytest.raises(RefusedTypeError, match="level"):
        filled().save_state(tmp_path / "new" / "s.json.zst", level="9")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_compressed_file_of_the_original_format_is_read(tmp_path):
    path = tmp_path / "state.json.zst"
    original = {"knowledge_base": {}, "task_history": [{"a": 1}], "score_history": [0.5]}
    text = json.dumps(
        {
            "knowledge_base": {},
            "task_history": {"__type__": "deque", "items": [{"a": 1}], "maxlen": 10},
            "score_history": {"__type__": "deque", "items": [0.5], "maxlen": 10},
        }
    )
    path.write_bytes(zstandard.compress(text.encode()))
    assert list(loaded(path).task_history) == original["task_history"]


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_every_flipped_byte_gives_the_same_state_or_a_named_error(suffix):
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.extend_knowledge(["a", "b"], np.eye(2, dtype=np.float32))
    orchestrator.add_task({"text": "a text that repeats, a text that repeats"})
    whole = b"".join(encode_state(orchestrator._state.view(), Envelope(), suffix))
    expected, refused = content_of(orchestrator), 0
    for position in range(len(whole)):
        for flip in (0x01, 0x80, 0xFF):
            changed = bytearray(whole)
            changed[position] ^= flip
            try:
                assert content_of(through(bytes(changed), suffix)) == expected
            except StorageError:
                refused += 1
    assert refused > len(whole)


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_every_cut_is_a_named_error(suffix):
    whole = b"".join(encode_state(filled()._state.view(), Envelope(), suffix))
    for length in range(len(whole)):
        with pytest.raises(CorruptionError):
            through(whole[:length], suffix)


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_file_that_cannot_be_read_leaves_the_state_as_it_was(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    path.write_bytes(b"no such file")
    orchestrator = filled()
    with pytest.raises(CorruptionError, match=r"state.*damaged at byte 0: not .*-compressed"):
        orchestrator.load_state(path)
    assert content_of(orchestrator) == content_of(filled())


@pytest.mark.parametrize("form", FORMATS)
def test_a_bomb_is_refused_by_name(tmp_path, form):
    path = tmp_path / f"state{form}.zst"
    packer = zstandard.ZstdCompressor().compressobj()
    path.write_bytes(
        b"".join(packer.compress(b"{" + b" " * 2**20) for _ in range(100)) + packer.flush()
    )
    with pytest.raises(ExpansionError, match="it is not read"):
        OmegaMetaOrchestrator().load_state(path)


def test_the_original_program_reads_what_gunzip_gives(tmp_path):
    path = tmp_path / "state.json.gz"
    filled().save_state(path)

    assert {"knowledge_base", "task_history", "score_history"} <= json.loads(
        gzip.decompress(path.read_bytes())
    ).keys()
