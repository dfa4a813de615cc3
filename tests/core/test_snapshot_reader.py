"""A file that is read as a stream: any split of it, any damage, and in how much memory."""

from __future__ import annotations

import gc
import hashlib
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator, snapshot_reader
from penin.core.snapshot_lines import DIGEST_HEAD, DIGEST_TAIL
from penin.core.snapshot_reader import NUMBERS_BYTES, read_snapshot
from penin.core.snapshots import NUMBERS_MAX, OPENING, Envelope, encode_snapshot
from penin.core.state import State
from penin.errors import CorruptionError, FormatError, PeninError, StorageError
from tests.core import strategies
from tests.core.model import contents
from tests.core.samples import filled
from tests.core.strategies import exactly_equal
from tests.core.test_snapshot_lines import split

PATH = Path("state.json")
FULL = Envelope("store", 3, "2026-01-31T12:00:00.000123Z", "ab" * 32)


def encoded(orchestrator: OmegaMetaOrchestrator, envelope: Envelope = FULL) -> bytes:
    return b"".join(encode_snapshot(orchestrator._state.view(), envelope))


def read(blocks: Any) -> OmegaMetaOrchestrator:
    state, envelope = read_snapshot(blocks, PATH)
    assert envelope == FULL
    return OmegaMetaOrchestrator.from_state(state)


def seqs(state: State) -> list[Any]:
    knowledge = [(key, seq) for key, _, seq in state.view().knowledge_base.entries()]
    return [state.seq, knowledge, state.history_seqs, state.document_seqs]


def redigested(data: bytes) -> bytes:
    before, _, _ = data.rpartition(DIGEST_HEAD)
    return before + DIGEST_HEAD + hashlib.sha256(before).hexdigest().encode() + DIGEST_TAIL


# -- any split ---------------------------------------------------------------------------------


@given(st.lists(strategies.calls(), max_size=12), st.lists(st.integers(0), max_size=12))
def test_any_state_comes_back_from_any_split_of_its_file(
    calls: list[strategies.Call], cuts: list[int]
) -> None:
    orchestrator = OmegaMetaOrchestrator(history_maxlen=3)
    for name, arguments, keywords in calls:
        getattr(orchestrator, name)(*arguments, **keywords)
    orchestrator._state.schema_version = len(cuts)
    data = encoded(orchestrator)
    back = read(split(data, cuts))

    assert back.schema_version == len(cuts)
    assert exactly_equal(contents(back), contents(orchestrator))
    assert seqs(back._state) == seqs(orchestrator._state)
    assert encoded(back) == data


@pytest.mark.parametrize("size", [1, 2, 7, 82, 83, 84, 1000])
def test_blocks_of_any_size_give_the_same_state(size: int) -> None:
    data = encoded(filled())
    blocks = [data[start : start + size] for start in range(0, len(data), size)]

    assert exactly_equal(contents(read(blocks)), contents(filled()))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "uint64"])
@pytest.mark.parametrize("more", [-1, 0, 1, 5 * NUMBERS_MAX + 1])
def test_a_vector_that_is_encoded_and_decoded_in_steps_keeps_every_bit(
    dtype: str, more: int
) -> None:
    noise = np.random.default_rng(5).bytes((NUMBERS_MAX + more) * 8)
    array: Any = np.frombuffer(noise, np.uint64).astype(dtype)
    if array.dtype.kind == "f":
        array = 1 / array
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_knowledge("long", NumericVectorArtifact(array))
    back = read([encoded(orchestrator)])

    assert back.knowledge_base["long"].array.tobytes() == array.tobytes()


def test_no_call_decodes_more_than_a_part_of_a_vector_or_one_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orchestrator = OmegaMetaOrchestrator()
    matrix = np.random.default_rng(5).random((50, 2000))
    orchestrator.extend_knowledge([str(row) for row in range(50)], matrix)
    orchestrator.add_knowledge("long", NumericVectorArtifact(np.arange(100_000) / 3))
    for number in range(200):
        orchestrator.add_task({"number": number, "text": "x" * 1000})
        orchestrator.put_document(str(number), "x" * 1000)
    data = encoded(orchestrator)
    sizes = []

    def recorded(text: bytes) -> Any:
        sizes.append(len(text))
        return loads(text)

    def recorded_value(text: bytes) -> Any:
        values.append(len(text))
        return kept_value(text)

    values: list[int] = []
    loads, kept_value = orjson.loads, snapshot_reader._kept_value
    monkeypatch.setattr(orjson, "loads", recorded)
    monkeypatch.setattr(snapshot_reader, "_kept_value", recorded_value)
    read([data])

    assert max(sizes) < NUMBERS_BYTES + 30
    assert len(values) == 400
    assert max(values) < 1100


# -- damage ------------------------------------------------------------------------------------


def test_any_change_of_any_byte_is_damage() -> None:
    data = encoded(filled())
    version = data.index(b'"version": ') + len(b'"version": ')
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= (1, 4, 128)[position % 3]
        # Before our first words, a file is another one; and a newer version is named as such.
        other = position < len(OPENING) or position == version
        with pytest.raises(StorageError if other else CorruptionError):
            read_snapshot([bytes(changed)], PATH)


@given(
    st.lists(strategies.calls(), max_size=6),
    st.lists(st.tuples(st.integers(0), st.binary(max_size=3), st.integers(0, 40)), min_size=1),
)
def test_any_damage_is_found(
    calls: list[strategies.Call], damages: list[tuple[int, bytes, int]]
) -> None:
    orchestrator = OmegaMetaOrchestrator()
    for name, arguments, keywords in calls:
        getattr(orchestrator, name)(*arguments, **keywords)
    data = encoded(orchestrator)
    damaged = data
    for place, put, lost in damages:
        position = len(OPENING) + 20 + place % len(data)
        damaged = damaged[:position] + put + damaged[position + lost :]
    if damaged != data:
        with pytest.raises(CorruptionError):
            read_snapshot([damaged], PATH)


def test_a_file_that_was_cut_anywhere_is_damaged() -> None:
    data = encoded(filled())
    for size in range(len(data)):
        with pytest.raises(CorruptionError) as damage:
            read_snapshot([data[:size]], PATH)
        assert damage.value.path == PATH
        assert 0 <= damage.value.position <= size


def test_members_that_change_places_are_damage() -> None:
    data = encoded(filled())
    lines = data.split(b"\n")
    order = random.Random(5)
    for _ in range(300):
        one, other = order.sample(range(3, len(lines) - 3), 2)
        changed = list(lines)
        changed[one], changed[other] = lines[other], lines[one]
        if changed != lines:
            with pytest.raises(CorruptionError):
                read_snapshot([b"\n".join(changed)], PATH)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'  "seq": ', b'  "sequence": '),
        (b'"seq": ', b'"seq": -0.5'),
        (b'"history_maxlen": 4', b'"history_maxlen": -4'),
        (b'"knowledge_base": {', b'"knowledge_base": ['),
        (b'"NumericVectorArtifact"', b'"Galaxy"'),
        (b'"dtype": "float32"', b'"dtype": "float31"'),
        (b'"vector": [', b'"vector": ["x",'),
        (b'"vector": [0.1', b'"vector": [1e999'),
        (b'"metadata": {', b'"more": {'),
        (b'"items": [', b'"items": {'),
        (b'"maxlen": 4', b'"maxlen": "4"'),
        (b'"message_ids": {}', b'"message_ids": {"a": 1}'),
        (b'"seqs": {', b'"seqs": {}'),
        (b'"version": 2', b'"version": 1'),
    ],
)
def test_what_we_do_not_write_is_another_format_if_its_digest_is_right(
    old: bytes, new: bytes
) -> None:
    data = encoded(filled())
    assert old in data
    changed = data.replace(old, new, 1)

    with pytest.raises(FormatError, match="not that of a snapshot"):
        read_snapshot([redigested(changed)], PATH)
    with pytest.raises(CorruptionError):
        read_snapshot([changed], PATH)


def test_a_newer_version_is_named_without_a_look_at_the_rest() -> None:
    data = encoded(filled()).replace(b'"version": 2', b'"version": 3', 1)

    def blocks() -> Iterator[bytes]:
        yield data[:100]
        pytest.fail("its layout is not known")

    with pytest.raises(FormatError, match="version 3; this program reads 1 and 2"):
        read_snapshot(blocks(), PATH)


def test_a_file_that_begins_as_no_other_of_ours_is_damaged_or_laid_out_otherwise() -> None:
    data = b" " + encoded(filled())

    with pytest.raises(CorruptionError):
        read_snapshot([data], PATH)
    with pytest.raises(FormatError):
        read_snapshot([redigested(data)], PATH)
    with pytest.raises(FormatError, match="version 3"):
        read_snapshot([data.replace(b'"version": 2', b'"version": 3')], PATH)


@pytest.mark.parametrize("blocks_read", [0, 1, 5])
def test_what_reading_raises_goes_through(blocks_read: int) -> None:
    data = encoded(filled())

    def blocks() -> Iterator[bytes]:
        yield from [data[start : start + 100] for start in range(0, blocks_read * 100, 100)]
        raise StorageError(PATH, "the disk is gone")

    with pytest.raises(PeninError, match="the disk is gone"):
        read_snapshot(blocks(), PATH)


# -- memory ------------------------------------------------------------------------------------


def test_reading_takes_a_few_blocks_beside_the_state() -> None:
    orchestrator = OmegaMetaOrchestrator()
    matrix = np.random.default_rng(5).standard_normal((1500, 384)).astype(np.float32)
    orchestrator.extend_knowledge([f"key {row}" for row in range(1500)], matrix)
    size = 2**15
    blocks = list(encode_snapshot(orchestrator._state.view(), Envelope()))
    data = b"".join(blocks)
    assert len(data) > 100 * size
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        small = (data[start : start + size] for start in range(0, len(data), size))
        state, _ = read_snapshot(small, PATH)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(state.knowledge_base) == 1500
    assert peak - before < 1.3 * (now - before) + 10 * size
