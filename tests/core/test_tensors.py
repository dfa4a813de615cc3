"""Snapshots as tensors: what any reader sees, what comes back, and what of it is damaged."""

from __future__ import annotations

import json
import struct
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.core.tensors import encode_tensors
from penin.core.tensors_reader import read_tensors
from penin.errors import CorruptionError, FormatError
from penin.storage.mapped import blake3_digest, sha256_digest
from tests.core import strategies
from tests.core.model import contents
from tests.core.samples import filled, loaded
from tests.core.strategies import Call, exactly_equal

PATH = Path("state.safetensors")
ENVELOPE = Envelope("store", 3, "2026-01-31T12:00:00Z", "0" * 64)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 bytes, so that a small file has many."""
    for module in ("storage.mapped", "core.tensors", "core.tensors_reader"):
        monkeypatch.setattr(f"penin.{module}.BLOCK_BYTES", 64)


def encoded(state: State, envelope: Envelope = ENVELOPE) -> bytes:
    return b"".join(encode_tensors(state.view(), envelope))


def decoded(data: bytes) -> State:
    return read_tensors(memoryview(data), PATH)[0]


def as_json(state: State) -> bytes:
    return b"".join(encode_snapshot(state.view(), ENVELOPE))


def state_of(orchestrator: OmegaMetaOrchestrator) -> State:
    return orchestrator._state


def state_of_calls(calls: list[Call]) -> State:
    orchestrator = OmegaMetaOrchestrator()
    for name, arguments, keywords in calls:
        getattr(orchestrator, name)(*arguments, **keywords)
    return state_of(orchestrator)


def many(rows: int = 40) -> State:
    """Several columns, some rows of which are dead."""
    orchestrator = OmegaMetaOrchestrator()
    for dtype in (np.float32, np.float64, np.int16, np.uint8):
        name = np.dtype(dtype).name
        matrix = np.arange(rows * 3).reshape(rows, 3).astype(dtype)
        keys = [f"{name}-{row}-ä" for row in range(rows)]
        orchestrator.extend_knowledge(keys, matrix, [{"row": row} for row in range(rows)])
        for row in range(0, rows, 3):
            orchestrator.remove_knowledge(f"{name}-{row}-ä")
    orchestrator.add_task({"text": "ä" * 50})
    orchestrator.extend_scores([0.5, float("nan")])
    orchestrator.put_document("cursor", {"line": 2**70})
    return state_of(orchestrator)


def parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The header, and what is behind it."""
    (size,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def sealed(header: dict[str, Any], data: bytes) -> bytes:
    """A file with this header and data (digests and root among it), whose root is right."""
    text = json.dumps(header).encode()
    head = struct.pack("<Q", len(text)) + text
    digests = data[header["digests"]["data_offsets"][0] : -32]
    digest = sha256_digest if header["__metadata__"]["version"] == "1" else blake3_digest
    return head + data[:-32] + digest(head + digests)


def of_version_1(data: bytes) -> bytes:
    """The same file as version 1 had it."""
    header, behind = parts(data)
    header["__metadata__"]["version"] = "1"
    begin = header["digests"]["data_offsets"][0]
    blocks = (behind[start : min(start + 2**20, begin)] for start in range(0, begin, 2**20))
    return sealed(header, behind[:begin] + b"".join(map(sha256_digest, blocks)) + behind[-32:])


class TestFormat:
    @given(st.lists(strategies.calls(), max_size=10))
    def test_any_state_comes_back_exactly(self, calls: list[Call]) -> None:
        state = state_of_calls(calls)
        state.schema_version = len(calls)
        data = encoded(state)
        again, envelope = read_tensors(memoryview(data), PATH)

        assert envelope == ENVELOPE
        assert again.schema_version == len(calls)
        assert as_json(again) == as_json(state)
        assert encoded(again) == data, "a mapped state is written as it was read"
        assert exactly_equal(
            contents(OmegaMetaOrchestrator.from_state(again)),
            contents(OmegaMetaOrchestrator.from_state(state)),
        )

    @given(st.lists(strategies.calls(), max_size=8), st.lists(strategies.calls(), max_size=4))
    def test_a_state_that_was_read_goes_on_the_same(
        self, before: list[Call], after: list[Call]
    ) -> None:
        state = state_of_calls(before)
        one = OmegaMetaOrchestrator.from_state(state)
        other = OmegaMetaOrchestrator.from_state(decoded(encoded(state)))
        for name, arguments, keywords in after:
            ack = getattr(one, name)(*arguments, **keywords)
            assert getattr(other, name)(*arguments, **keywords) == ack
        assert exactly_equal(contents(other), contents(one))
        assert encoded(state_of(other)) == encoded(state_of(one))

    def test_any_reader_of_safetensors_sees_the_vectors_and_keys(self) -> None:
        state = many()
        tensors = safetensors.numpy.load(encoded(state))

        entries = list(state.view().knowledge_base.items())
        for number, dtype in enumerate(("float32", "float64", "int16", "uint8")):
            vectors = tensors[f"knowledge.{number}.vectors"]
            expected = [(key, a) for key, a in entries if a.dtype == dtype]
            assert vectors.dtype == dtype
            assert vectors.tolist() == [artifact.vector for _, artifact in expected]
            ends = [0, *tensors[f"knowledge.{number}.key_ends"].tolist()]
            keys = tensors[f"knowledge.{number}.keys"].tobytes()
            found = [keys[start:end].decode() for start, end in pairwise(ends)]
            assert found == [key for key, _ in expected]

    def test_every_tensor_is_aligned_to_its_items(self) -> None:
        data = encoded(many())
        header, behind = parts(data)
        assert (len(data) - len(behind)) % 4096 == 0
        assert header.pop("__metadata__")["format"] == "penin-tensors"
        for tensor in header.values():
            item_bytes = {"F64": 8, "I64": 8, "F32": 4, "I16": 2, "U8": 1}[tensor["dtype"]]
            assert tensor["data_offsets"][0] % item_bytes == 0

    def test_an_empty_state_and_an_empty_key_come_back(self) -> None:
        state = State(None)
        assert as_json(decoded(encoded(state))) == as_json(state)
        state.knowledge_base.put("", "|i1", b"\1", b"{}", 0)
        assert as_json(decoded(encoded(state))) == as_json(state)
        assert safetensors.numpy.load(encoded(state))["knowledge.0.keys"].shape == (0,)

    @pytest.mark.usefixtures("small_blocks")
    def test_a_column_of_several_segments_and_blocks_comes_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("penin.core.tensors_reader.ROWS_MAX", 8)
        state = many()
        again = decoded(encoded(state))
        assert len(list(again.view().knowledge_base.blocks())) > 4
        assert as_json(again) == as_json(state)
        assert encoded(again) == encoded(state)

    def test_saving_and_loading_go_by_the_suffix(self, tmp_path: Path) -> None:
        path = tmp_path / "saved" / "state.safetensors"
        filled().save_state(path)
        assert len(safetensors.numpy.load_file(path)) > 2
        again = loaded(path)
        assert exactly_equal(contents(again), contents(filled()))

        again.add_score(1.0)
        again.save_state(path)  # over the file that it has mapped
        assert exactly_equal(contents(loaded(path)), contents(again))


@pytest.mark.usefixtures("small_blocks")
class TestDamage:
    def check(self, data: bytes, right: bytes) -> None:
        """Damage is named when the file is opened, or when what is damaged is read or copied."""
        try:
            state = decoded(data)
        except (CorruptionError, FormatError):
            return
        with pytest.raises(CorruptionError) as copying:
            encoded(state)
        assert data[copying.value.position :] != right[copying.value.position :]
        with pytest.raises(CorruptionError):
            as_json(state)

    def test_damage_at_any_byte_is_named_and_never_copied(self) -> None:
        right = encoded(many(6))
        header, behind = parts(right)
        length = len(json.dumps(header))
        places = [*range(0, length, 7), *range(len(right) - len(behind), len(right))]
        for place in places:
            damaged = bytearray(right)
            damaged[place] ^= 1 << place % 8
            self.check(bytes(damaged), right)

    def test_a_file_that_is_cut_anywhere_is_named(self) -> None:
        data = encoded(many(6))
        for size in [*range(300), *range(300, len(data), 97), len(data) - 1]:
            with pytest.raises((CorruptionError, FormatError)):
                decoded(data[:size])

    def test_what_is_not_damaged_can_be_read(self) -> None:
        data = bytearray(encoded(many()))
        header, behind = parts(bytes(data))
        begin = len(data) - len(behind)
        place = begin + header["knowledge.0.vectors"]["data_offsets"][0] + 120
        data[place] ^= 1
        state = decoded(bytes(data))
        base = state.knowledge_base
        first, last = "float32-16-ä", "float32-38-ä"

        with pytest.raises(CorruptionError) as reading:
            base[first]
        assert reading.value.path == PATH
        assert place - 64 < reading.value.position <= place
        assert base[last].vector == [114.0, 115.0, 116.0]
        assert len(base) == len(many().knowledge_base)

    def test_a_block_that_was_read_is_checked_again_when_it_is_copied(self) -> None:
        data = bytearray(encoded(many()))
        state = read_tensors(memoryview(data), PATH)[0]
        right = as_json(state)
        assert right == as_json(many())
        header, behind = parts(bytes(data))
        place = len(data) - len(behind) + header["knowledge.1.vectors"]["data_offsets"][0]
        data[place] ^= 1  # as a disk does that gives other bytes when it is asked again
        with pytest.raises(CorruptionError):
            encoded(state)


class TestVersion1:
    """With SHA-256 for BLAKE3."""

    def test_it_is_read_and_becomes_version_2(self) -> None:
        data = encoded(many())
        again = decoded(of_version_1(data))
        assert encoded(again) == data

    def test_damage_is_found_in_it(self) -> None:
        data = bytearray(of_version_1(encoded(many())))
        header, behind = parts(bytes(data))
        start, _ = header["knowledge.0.vectors"]["data_offsets"]
        data[len(data) - len(behind) + start] ^= 1
        with pytest.raises(CorruptionError, match="the digest of this block"):
            encoded(decoded(bytes(data)))

    def test_version_2_that_says_it_is_1_is_refused(self) -> None:
        data = encoded(many()).replace(b'"version":"2"', b'"version":"1"')
        with pytest.raises(CorruptionError, match="the root of its digests"):
            decoded(data)


class TestRefusals:
    def test_another_safetensors_file_is_refused(self) -> None:
        for metadata in (None, {"format": "pt"}):
            data = safetensors.numpy.save({"a": np.zeros(300)}, metadata)
            with pytest.raises(FormatError, match="not a snapshot"):
                decoded(data)

    def test_a_newer_version_is_refused_by_name(self) -> None:
        header, behind = parts(encoded(many()))
        header["__metadata__"]["version"] = "3"
        with pytest.raises(FormatError, match="version 3; this program reads 1 and 2"):
            decoded(sealed(header, behind))

    @pytest.mark.parametrize(
        ("name", "member", "value"),
        [
            ("knowledge.0.vectors", "dtype", "F64"),
            ("knowledge.0.vectors", "dtype", "BF16"),
            ("knowledge.0.vectors", "shape", [3, 26]),
            ("knowledge.0.vectors", "shape", [-1, -78]),
            ("knowledge.0.vectors", "shape", [2**62, 2**62]),
            ("knowledge.0.vectors", "shape", []),
            ("knowledge.0.vectors", "data_offsets", [0, 2**70]),
            ("knowledge.1.seqs", "data_offsets", [0, 208]),
            ("knowledge.1.keys", "shape", [5]),
            ("state", "shape", [1]),
            ("digests", "shape", [0, 32]),
            ("root", "data_offsets", [0, 32]),
        ],
    )
    def test_a_header_that_is_right_by_its_root_alone_is_refused(
        self, name: str, member: str, value: object
    ) -> None:
        header, behind = parts(encoded(many()))
        changed = {**header, name: {**header[name], member: value}}
        text = sealed(header, behind)
        assert decoded(text).seq
        head = json.dumps(changed).encode()
        head = struct.pack("<Q", len(head)) + head
        root = blake3_digest(head + behind[header["digests"]["data_offsets"][0] : -32])
        with pytest.raises(FormatError, match="not that of a snapshot"):
            decoded(head + behind[:-32] + root)

    @pytest.mark.parametrize("name", ["seq", "history_maxlen", "epoch"])
    def test_a_number_that_is_none_is_refused(self, name: str) -> None:
        header, behind = parts(encoded(many()))
        header["__metadata__"][name] = "many"
        with pytest.raises(FormatError):
            decoded(sealed(header, behind))

    @pytest.mark.parametrize(
        ("tensor", "change"),
        [
            ("key_ends", lambda ends: ends[::-1]),
            ("key_ends", lambda ends: ends - 2**40),
            ("key_ends", lambda ends: np.append(ends[:-1] - 1, ends[-1])),  # inside a character
            ("metadata_ends", lambda ends: ends + 1),
            ("keys", lambda keys: keys[:1].repeat(len(keys))),
            ("keys", lambda keys: np.full_like(keys, 255)),
        ],
    )
    def test_keys_and_ends_that_no_state_has_are_refused(self, tensor: str, change: Any) -> None:
        header, behind = parts(encoded(many()))
        data = bytearray(behind)
        start, end = header[f"knowledge.0.{tensor}"]["data_offsets"]
        dtype = np.uint8 if tensor == "keys" else np.int64
        data[start:end] = change(np.frombuffer(behind[start:end], dtype)).tobytes()
        begin = header["digests"]["data_offsets"][0]
        # One block: less than a MiB.
        data[begin:-32] = blake3_digest(data[:begin])
        with pytest.raises(FormatError):
            decoded(sealed(header, bytes(data)))


def test_a_mapped_file_gives_its_memory_back_and_stays_readable(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.extend_knowledge([str(row) for row in range(4000)], np.ones((4000, 300)))
    orchestrator.save_state(path)
    again = loaded(path)
    artifact = again.knowledge_base["17"]
    again.save_state(tmp_path / "copy.safetensors")
    path.unlink()

    assert artifact == NumericVectorArtifact(np.ones(300))
    assert again.knowledge_base["3999"] == artifact
    del again
    assert artifact.vector == [1.0] * 300


def test_a_row_is_ready_once_its_blocks_were_read() -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.safetensors"
        orchestrator = OmegaMetaOrchestrator()
        orchestrator.extend_knowledge([str(row) for row in range(2000)], np.ones((2000, 300)))
        orchestrator.save_state(path)
        found = loaded(path).knowledge_base.find("5")
    assert found is not None
    segment, row = found
    assert not segment.is_ready(row)
    segment.artifact(row)
    assert segment.is_ready(row)
