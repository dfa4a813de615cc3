"""Messages as mappings: what stdin, the socket and `send` take, and what they refuse."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections import deque
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator, door
from penin.core.transitions import Message, Origin, Rebase, SetMessageIdsMax, decode_messages
from penin.core.values import DEPTH_MAX
from penin.core.vocabulary import message
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError
from tests.core import strategies
from tests.core.model import contents
from tests.core.strategies import exactly_equal

MATRIX = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float32)


def decoded(raw: bytes) -> Any:
    """What a line of stdin holds for the one who reads it."""
    return msgspec.json.decode(raw)


def encoded(array: np.ndarray) -> dict[str, str]:
    return {"dtype": array.dtype.str, "data": base64.b64encode(array.tobytes()).decode()}


@pytest.mark.parametrize(
    ("content", "name", "arguments"),
    [
        (
            {"type": "add_knowledge", "key": "k", "vector": [1.0, 2], "metadata": {"a": 1}},
            "add_knowledge",
            ("k", NumericVectorArtifact([1.0, 2.0], {"a": 1})),
        ),
        (
            {"type": "add_knowledge", "key": "k", "vector": encoded(MATRIX[0])},
            "add_knowledge",
            ("k", NumericVectorArtifact(MATRIX[0])),
        ),
        ({"type": "remove_knowledge", "key": "k"}, "remove_knowledge", ("k",)),
        (
            {"type": "extend_knowledge", "keys": ["a", "b"], "matrix": MATRIX.tolist()},
            "extend_knowledge",
            (["a", "b"], MATRIX.astype(np.float64)),
        ),
        (
            {"type": "extend_knowledge", "keys": ["a", "b"], "matrix": encoded(MATRIX)},
            "extend_knowledge",
            (["a", "b"], MATRIX),
        ),
        (
            {"type": "add_task", "task": {"id": 1, "x": [None]}},
            "add_task",
            ({"id": 1, "x": [None]},),
        ),
        ({"type": "add_score", "score": 0.85}, "add_score", (0.85,)),
        ({"type": "add_score", "score": 1}, "add_score", (1.0,)),
        (
            {"type": "add_score", "score": {"__type__": "float", "value": "-inf"}},
            "add_score",
            (-math.inf,),
        ),
        ({"type": "extend_scores", "scores": [0.5, 1]}, "extend_scores", ([0.5, 1.0],)),
        ({"type": "append_history", "name": "h", "value": [1]}, "append_history", ("h", [1])),
        (
            {
                "type": "append_history",
                "name": "h",
                "value": {"__type__": "deque", "items": [1], "maxlen": 2},
            },
            "append_history",
            ("h", deque([1], maxlen=2)),
        ),
        ({"type": "put_document", "name": "d", "value": None}, "put_document", ("d", None)),
        (
            {"type": "put_document", "name": "d", "value": 1, "if_seq": 0},
            "put_document",
            ("d", 1, 0),
        ),
        ({"type": "remove_document", "name": "d"}, "remove_document", ("d",)),
        ({"type": "set_history_maxlen", "maxlen": 5}, "set_history_maxlen", (5,)),
        (
            {"type": "set_history_maxlen", "maxlen": None, "name": "task_history"},
            "set_history_maxlen",
            (None, "task_history"),
        ),
    ],
)
def test_a_mapping_does_what_the_writer_of_its_type_does(
    content: dict[str, Any], name: str, arguments: tuple[Any, ...]
) -> None:
    sent, called = OmegaMetaOrchestrator(), OmegaMetaOrchestrator()

    assert sent.send(decoded(json.dumps(content).encode())) == getattr(called, name)(*arguments)
    assert exactly_equal(contents(sent), contents(called))


@given(strategies.messages())
def test_every_message_of_the_journal_is_understood_as_a_mapping(sent: Message) -> None:
    again = message(decoded(sent.raw))

    assert decoded(again.raw) == decoded(sent.raw)


@given(strategies.messages(), strategies.texts(min_size=1, max_size=128))
def test_an_id_and_a_sender_travel_with_the_message(sent: Message, identity: str) -> None:
    origin = Origin(source="stdin", name="batch", line=7)
    stamped = door.stamp(sent, identity, origin)
    (body,) = decode_messages(b"[" + stamped.raw + b"]")

    assert (body.id, body.origin) == (identity, origin)
    assert stamped.count == sent.count
    assert stamped.body.digest == hashlib.sha256(sent.raw).hexdigest()
    again = message(decoded(stamped.raw))
    assert (again.body.id, again.body.digest) == (identity, stamped.body.digest)
    assert again.body.origin == origin
    assert message(decoded(sent.raw), origin).body.origin == origin


def test_a_transaction_is_one_message() -> None:
    orchestrator = OmegaMetaOrchestrator()
    ack = orchestrator.send(
        {
            "type": "transaction",
            "id": "batch-17",
            "transitions": [
                {"type": "add_score", "score": 0.5},
                {"type": "put_document", "name": "d", "value": {"a": 1}, "if_seq": 0},
            ],
        }
    )

    assert (ack.seq, ack.result) == (2, "ok")
    assert orchestrator.get_document("d") == {"a": 1}


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({}, "type"),
        ({"type": "add"}, "type"),
        ({"type": 5}, "type"),
        ({"type": None}, "type"),
        ({"type": ["add_score"]}, "type"),
        ({"type": "add_score"}, "score"),
        ({"type": "add_score", "score": "0.85"}, "score"),
        ({"type": "add_score", "score": None}, "score"),
        ({"type": "add_score", "score": True}, "score"),
        ({"type": "add_score", "score": {"a": "b"}}, "score"),
        ({"type": "add_score", "score": {"__type__": "float", "value": "x"}}, "score"),
        ({"type": "add_score", "score": 0.5, "more": 1}, "more"),
        ({"type": "add_score", "score": 0.5, "id": ""}, "id"),
        ({"type": "add_score", "score": 0.5, "id": 5}, "id"),
        ({"type": "add_score", "score": 0.5, "id": "x" * 129}, "id"),
        ({"type": "add_score", "score": 0.5, "from": 5}, "from"),
        ({"type": "add_score", "score": 0.5, "from": {}}, "from"),
        ({"type": "add_score", "score": 0.5, "from": {"source": "s", "more": 1}}, "from"),
        ({"type": "add_task", "task": [1]}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "Galaxy"}}}, "task.x"),
        ({"type": "add_task", "task": {"__type__": "deque", "items": []}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "deque"}}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "dict", "items": 5}}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "dict", "items": [["a"]]}}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "dict", "items": [[5, 1]]}}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "dict", "items": [[[], 1]]}}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "int", "value": "1" * 5000}}}, "task"),
        ({"type": "add_task", "task": {"x": {"__type__": "int", "value": None}}}, "task"),
        ({"type": "add_knowledge", "key": "", "vector": [1.0]}, "key"),
        ({"type": "add_knowledge", "key": "k"}, "vector"),
        ({"type": "add_knowledge", "key": "k", "vector": []}, "vector"),
        ({"type": "add_knowledge", "key": "k", "vector": [1, "x"]}, "vector"),
        ({"type": "add_knowledge", "key": "k", "vector": {"dtype": "<f8"}}, "vector"),
        ({"type": "add_knowledge", "key": "k", "vector": {"dtype": "O", "data": "AA"}}, "vector"),
        (
            {"type": "add_knowledge", "key": "k", "vector": {"dtype": "<f8", "data": "AA=="}},
            "vector",
        ),
        (
            {"type": "add_knowledge", "key": "k", "vector": encoded(np.array([np.nan]))},
            "vector",
        ),
        ({"type": "add_knowledge", "key": "k", "vector": [1.0], "metadata": [1]}, "metadata"),
        ({"type": "extend_knowledge", "keys": 5, "matrix": encoded(MATRIX)}, "keys"),
        ({"type": "extend_knowledge", "keys": 5, "matrix": [[1.0]]}, "keys"),
        ({"type": "extend_knowledge", "keys": [], "matrix": encoded(MATRIX)}, "matrix"),
        ({"type": "extend_knowledge", "keys": ["a"], "matrix": "text"}, "matrix"),
        ({"type": "extend_knowledge", "keys": ["a"], "matrix": [1.0]}, "matrix"),
        ({"type": "extend_knowledge", "keys": ["a"], "matrix": [[1.0], []]}, "matrix"),
        ({"type": "extend_scores", "scores": 5}, "scores"),
        ({"type": "extend_scores", "scores": []}, "scores"),
        ({"type": "extend_scores", "scores": [0.5, None]}, "scores[1]"),
        ({"type": "put_document", "name": "d"}, "value"),
        ({"type": "put_document", "name": "d", "value": 1, "if_seq": -1}, "if_seq"),
        ({"type": "put_document", "name": "d", "value": 1, "if_seq": "1"}, "if_seq"),
        ({"type": "set_history_maxlen"}, "maxlen"),
        ({"type": "set_history_maxlen", "maxlen": 0}, "maxlen"),
        ({"type": "transaction"}, "transitions"),
        ({"type": "transaction", "transitions": []}, "transitions"),
        ({"type": "transaction", "transitions": {}}, "transitions"),
        ({"type": "transaction", "transitions": [5]}, "transitions[0]"),
        ({"type": "transaction", "transitions": [{"type": "add_score"}]}, "transitions[0].score"),
        (
            {"type": "transaction", "transitions": [{"type": "transaction", "transitions": []}]},
            "transitions[0].type",
        ),
        (
            {
                "type": "transaction",
                "transitions": [{"type": "add_score", "score": 1.0, "id": "x"}],
            },
            "transitions[0].id",
        ),
    ],
)
def test_a_mapping_that_is_no_message_is_refused_with_the_field(
    content: dict[str, Any], field: str
) -> None:
    orchestrator = OmegaMetaOrchestrator()

    with pytest.raises(RefusedError) as refusal:
        orchestrator.send(content)
    assert refusal.value.field.startswith(field)
    assert refusal.value.reason
    assert orchestrator.seq == 0


@pytest.mark.parametrize("content", [None, 5, "text", [], b"{}", 0.5])
def test_what_is_no_mapping_is_refused(content: Any) -> None:
    with pytest.raises(RefusedTypeError):
        message(content)


@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 900, 2000, 50_000])
def test_nesting_beyond_the_stated_depth_is_refused_in_every_type(depth: int) -> None:
    nested: Any = []
    for _ in range(depth):
        nested = [nested]

    for content in (
        {"type": "add_task", "task": {"x": nested}},
        {"type": "put_document", "name": "d", "value": nested},
        {"type": "append_history", "name": "h", "value": nested},
        {"type": "add_knowledge", "key": "k", "vector": [1.0], "metadata": {"x": nested}},
        {"type": "transaction", "transitions": [{"type": "add_task", "task": {"x": nested}}]},
    ):
        with pytest.raises(RefusedValueError):
            message(content)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=3),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "a", "__type__", "items"]), children)
        | st.builds(
            lambda mark, member, child: {"__type__": mark, member: child},
            st.sampled_from(["float", "int", "dict", "deque", "NumericVectorArtifact"]),
            st.sampled_from(["value", "items", "vector", "a"]),
            children,
        )
    ),
    max_leaves=6,
)
FIELDS = ["key", "vector", "metadata", "keys", "matrix", "task", "score", "scores", "name"]
FIELDS += ["value", "if_seq", "maxlen", "transitions", "id", "from", "dtype", "nonsense"]
TYPES = ["add_knowledge", "remove_knowledge", "extend_knowledge", "add_task", "add_score"]
TYPES += ["extend_scores", "append_history", "put_document", "remove_document"]
TYPES += ["set_history_maxlen", "transaction"]


@given(
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5),
)
def test_any_mapping_is_taken_or_refused_by_name_and_never_an_accident(
    kind: str, members: dict[str, Any]
) -> None:
    orchestrator = OmegaMetaOrchestrator()
    try:
        taken = message({"type": kind, **members})
    except RefusedError:
        return
    replayed = OmegaMetaOrchestrator()
    (body,) = decode_messages(b"[" + taken.raw + b"]")
    assert not isinstance(body, Rebase | SetMessageIdsMax)

    assert orchestrator.send(taken) == replayed.send(Message(taken.raw, body))
    assert exactly_equal(contents(orchestrator), contents(replayed))


def test_a_message_beyond_a_frame_is_refused_at_the_door() -> None:
    large = door.add_task({"x": "y" * (2**20 - 100)})

    with pytest.raises(RefusedValueError, match="transitions"):
        door.transaction([large] * 65)


def test_every_message_of_a_bulk_with_long_keys_fits_a_frame() -> None:
    keys = [f"{number:01000d}" for number in range(70_000)]
    matrix = np.zeros((len(keys), 1), dtype=np.int8)
    taken = 0

    for each in door.extend_knowledge(keys, matrix):
        assert len(each.raw) <= door.MESSAGE_BYTES_MAX
        taken += len(each.body.keys)  # type: ignore[union-attr]  # of a bulk
    assert taken == len(keys)
