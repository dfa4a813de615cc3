"""What is read by its type is what the vocabulary makes of it."""

from __future__ import annotations

import base64

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, door
from penin.core.transitions import Message, Origin
from penin.core.vocabulary import message as message_of
from penin.errors import RefusedError
from penin.ingress.lines import decode_line, read_message
from penin.ingress.typed import typed_message
from tests.core import strategies

ORIGIN = Origin("socket", "process 7")
SENDER = door.sender(ORIGIN)
VECTOR = door.add_knowledge("k", NumericVectorArtifact(np.ones(3, "f4"), {"a": [1], "b": "x"}))
TASK = door.add_task({"name": "evaluate", "n": 17, "score": 0.25})
PIECES = [b'"__type__"', b'"\\u005f_type__"', b'{"__type__":"float","value":"nan"}', b"null", b"1"]
PIECES += [b'"id":"x",', b'"from":null,', b'"request":1,', b'"k"', b"{", b"}", b"[", b"]", b"\xff"]
PIECES += [b'"dtype":"<f8",', b'"<f2"', b'"|b1"', b'"AAAAAAAA"', b'"AACAfw=="', b'"="', b"1e400"]
PIECES += [b'"\\ud800"', b'"task":{},', b'"metadata":{"x":NaN}', b"9" * 5000, b" ", b"\r"]


def from_vocabulary(line: bytes) -> Message | None:
    try:
        return message_of(decode_line(line), ORIGIN)
    except (RefusedError, RecursionError):
        return None


@pytest.mark.parametrize("sent", [VECTOR, TASK])
def test_a_task_and_a_vector_are_read_by_their_type(sent: Message) -> None:
    taken = typed_message(sent.raw, SENDER)

    assert taken == door.stamp(sent, None, ORIGIN)
    assert taken == read_message(sent.raw, ORIGIN)


@given(strategies.messages())
def test_any_message_is_what_the_vocabulary_makes_of_it_or_left_to_it(sent: Message) -> None:
    taken = typed_message(sent.raw, SENDER)

    assert taken is None or taken == from_vocabulary(sent.raw)


@given(st.data(), st.sampled_from([VECTOR.raw, TASK.raw]), st.lists(st.sampled_from(PIECES)))
def test_of_any_other_line_no_more_is_taken_than_by_the_vocabulary(
    data: st.DataObject, line: bytes, pieces: list[bytes]
) -> None:
    """Pieces are put in, and take the place of others, anywhere behind the type."""
    for piece in pieces:
        start = data.draw(st.integers(line.index(b",") + 1, len(line)))
        end = data.draw(st.integers(start, min(len(line), start + 12)))
        line = line[:start] + piece + line[end:]
    taken = typed_message(line, SENDER)

    assert taken is None or taken == from_vocabulary(line)


@pytest.mark.parametrize("depth", [65, 5000, 200_000])
def test_what_is_nested_too_deep_is_left_to_the_vocabulary(depth: int) -> None:
    nested = b"[" * depth + b"]" * depth

    assert typed_message(b'{"type":"add_task","task":{"x":%b}}' % nested, SENDER) is None


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("<f4", np.array([1.0, np.nan], "f4").tobytes()),
        ("<f4", b"\0" * 7),
        ("<f4", b""),
        ("<f2", b"\0\0"),
        ("O", b"\0" * 8),
        ("no dtype", b"\0" * 8),
    ],
)
def test_what_is_no_vector_is_left_to_the_vocabulary(dtype: str, data: bytes) -> None:
    vector = {"dtype": dtype, "data": base64.b64encode(data).decode()}
    line = msgspec.json.encode({"type": "add_knowledge", "key": "k", "vector": vector})

    assert typed_message(line, SENDER) is None
    with pytest.raises(RefusedError, match="vector"):
        read_message(line, ORIGIN)
