"""A bulk: messages of bounded size, which give the same state with numbers sealed or not."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import bulk, door
from penin.core.bulk import Bulk, is_large, parts_of
from penin.core.replay import ready
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.core.transitions import ExtendKnowledge, ExtendSealed, Message, decode_messages
from penin.storage.mapped import BLOCK_BYTES, block_digests, checked_file
from penin.storage.sealed import SealedFile

NAME = f"{0:020}-{'ab' * 32}"


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(bulk, "BULK_BYTES_MAX", 100)
    monkeypatch.setattr(bulk, "SEALED_ROWS_MAX", 3)
    monkeypatch.setattr(bulk, "PART_BYTES", 64)


def made(rows: int, dtype: str = "<f4", dimension: int = 4, *, metadata: bool = True) -> Bulk:
    matrix = np.arange(rows * dimension).reshape(rows, dimension).astype(dtype)
    objects = [{"row": row} for row in range(rows)] if metadata else None
    return door.extend_knowledge([f"key {row}" for row in range(rows)], matrix, objects)


def sealed(part: bulk.Part) -> SealedFile:
    data = memoryview(b"".join(map(bytes, part.blocks())))
    return SealedFile(NAME, checked_file(Path("file"), data, block_digests(data)))


def keys_of(message: Message) -> list[str]:
    assert isinstance(message.body, ExtendKnowledge)
    return message.body.keys


def contents(state: State) -> bytes:
    return b"".join(encode_snapshot(state.view(), Envelope()))


def applied(messages) -> State:
    state = State()
    for message in messages:
        state.apply(message.body, state.seq + 1)
    state.seq = 0  # how many messages it took is not what is compared
    return state


def knowledge(state: State):
    return [(key, artifact.parts) for key, artifact, _ in state.knowledge_base.view().entries()]


@given(
    rows=st.integers(1, 20),
    dtype=st.sampled_from(["<f4", "<f8", "|u1"]),
    dimension=st.integers(1, 9),
    metadata=st.booleans(),
)
def test_sealed_or_not_the_knowledge_is_the_same(rows, dtype, dimension, metadata):
    of = made(rows, dtype, dimension, metadata=metadata)
    whole = knowledge(applied(of))
    parts = list(parts_of(of._rows))
    assert knowledge(applied(m for part in parts for m in of.messages(part, sealed(part)))) == whole
    assert len(whole) == rows


def test_a_journal_gives_the_same_messages_back():
    of = made(7)
    for part in parts_of(of._rows):
        file = sealed(part)
        for message in of.messages(part, file):
            asked: list[str] = []

            def get(name, asked=asked, file=file):
                asked.append(name)
                return file.file

            (body,) = ready(decode_messages(b"[" + message.raw + b"]"), get)
            assert asked == [NAME]
            assert type(body) is ExtendSealed
            assert isinstance(message.body, ExtendSealed)
            assert (body.keys, body.place) == (message.body.keys, message.body.place)
            assert contents(applied([message])) == contents(
                applied([msgspec.structs.replace(message, body=body)])
            )


def test_the_numbers_of_a_sealed_message_are_not_in_it():
    of = made(3)
    (part,) = parts_of(of._rows)
    (message,) = of.messages(part, sealed(part))
    content = json.loads(message.raw)
    assert content["matrix"] == {
        "dtype": "<f4",
        "sealed": {"file": NAME, "start": 0, "size": 3 * 16},
    }


def test_the_numbers_of_other_messages_are_in_base64():
    message = next(iter(made(1)))
    matrix = json.loads(message.raw)["matrix"]
    assert base64.b64decode(matrix["data"]) == np.arange(4, dtype="<f4").tobytes()


def test_a_message_has_a_bounded_number_of_rows_and_bytes():
    of = made(20, "<f8", 4)
    assert all(len(keys_of(message)) <= 2 for message in of), "36 bytes of numbers a row"
    of = made(20, "<f4", 1)
    messages = [m for part in parts_of(of._rows) for m in of.messages(part, sealed(part))]
    assert max(len(keys_of(message)) for message in messages) == 3
    assert sum(len(keys_of(message)) for message in messages) == 20


def test_long_keys_make_short_messages():
    keys = ["x" * 60 + str(row) for row in range(4)]
    of = door.extend_knowledge(keys, np.ones((4, 1)))
    assert [len(keys_of(message)) for message in of] == [1, 1, 1, 1]
    assert [
        len(keys_of(m)) for part in parts_of(of._rows) for m in of.messages(part, sealed(part))
    ] == [1] * 4


def test_a_part_is_as_long_as_its_file_and_has_whole_messages():
    parts = list(parts_of(made(20)._rows))
    sizes = [sealed(part).file.size_bytes for part in parts]
    assert sizes == [64, 64, 64, 64, 64]


def test_a_file_is_written_in_blocks_of_one_size(monkeypatch):
    monkeypatch.setattr(bulk, "PART_BYTES", 3 * BLOCK_BYTES)
    monkeypatch.setattr(bulk, "SEALED_ROWS_MAX", 10_000)
    matrix = np.arange(2 * (BLOCK_BYTES + 24) // 8, dtype=np.int64).reshape(2, -1)
    of = door.extend_knowledge(["a", "b"], matrix)
    (part,) = parts_of(of._rows)
    blocks = [bytes(block) for block in part.blocks()]
    assert [len(block) for block in blocks] == [BLOCK_BYTES, BLOCK_BYTES, 48]
    assert b"".join(blocks) == matrix.tobytes()


def test_rows_that_do_not_lie_behind_each_other_are_written_as_such():
    matrix = np.arange(32, dtype=np.float64).reshape(4, 8)[:, ::2]
    of = door.extend_knowledge(list("abcd"), matrix)
    written = b"".join(bytes(block) for part in parts_of(of._rows) for block in part.blocks())
    assert written == matrix.tobytes()


def test_more_numbers_than_one_message_carries_are_large():
    assert not is_large(np.zeros((25, 1), "f4"))
    assert is_large(np.zeros((26, 1), "f4"))


@pytest.mark.parametrize(
    ("place", "keys"),
    [
        ({"start": 0, "size": 49}, 1),
        ({"start": 1, "size": 48}, 1),
        ({"start": -16, "size": 32}, 1),
        ({"start": 0, "size": 0}, 1),
        ({"start": 0, "size": 16}, 3),
        ({"start": 0, "size": 16}, 0),
    ],
)
def test_a_place_that_is_none_is_refused(place, keys):
    (part,) = parts_of(made(3)._rows)
    file = sealed(part).file
    assert file.size_bytes == 48
    content = {
        "type": "extend_knowledge",
        "keys": list("abc"[:keys]),
        "matrix": {"dtype": "<f4", "sealed": {"file": NAME, **place}},
    }
    with pytest.raises(ValueError, match="rows at a place that is not one"):
        ready(decode_messages(msgspec.json.encode([content])), lambda _: file)
