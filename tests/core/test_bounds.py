"""Bounds of the door: what is too long, too large or of a strange type is refused by name."""

from __future__ import annotations

import itertools
import json
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator, door, values
from penin.core.transitions import Message, Origin, decode_messages
from penin.core.values import DEPTH_MAX, decode_value, is_plain, take_value
from penin.core.vocabulary import message
from penin.errors import RefusedError, RefusedTypeError, RefusedValueError
from tests.core import strategies
from tests.core.strategies import exactly_equal

HUGE = 10**5000  # Python refuses to write so many digits
SCORE = {"type": "add_score", "score": 0.5}


class Text(str):
    """A str that is not plain."""

    __slots__ = ()

    def isascii(self) -> bool:
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError


class Integer(int):
    """An int that is not plain."""

    def __le__(self, other: object) -> bool:
        raise NotImplementedError


def refused(call: Callable[[], object], field: str) -> RefusedError:
    with pytest.raises(RefusedError) as refusal:
        call()
    assert refusal.value.field == field
    assert len(str(refusal.value)) < 1000
    str(refusal.value).encode()
    return refusal.value


# -- id and from -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["source", "name", "trace"])
@pytest.mark.parametrize(
    "text",
    ["x" * 1025, "ä" * 513, "\ud800", "x" * 65 * 2**20],
    ids=["1025", "1026 bytes", "surrogate", "65 MiB"],
)
def test_a_sender_with_a_long_or_broken_text_is_refused(name: str, text: str) -> None:
    given = {"source": "s", name: text}
    for call in (
        lambda: message({**SCORE, "from": given}),
        lambda: message({**SCORE, "from": Origin(**given)}),  # type: ignore[arg-type]
        lambda: message(SCORE, Origin(**given)),  # type: ignore[arg-type]
        lambda: door.stamp(door.add_score(0.5), None, Origin(**given)),  # type: ignore[arg-type]
    ):
        assert isinstance(refused(call, f"from.{name}"), RefusedValueError)


@pytest.mark.parametrize("name", ["source", "name", "trace"])
def test_a_text_of_the_stated_length_is_kept(name: str) -> None:
    taken = message({**SCORE, "from": {"source": "s", name: "x" * 1024}})

    assert getattr(taken.body.origin, name) == "x" * 1024


@pytest.mark.parametrize("line", [-1, 2**63, HUGE, -HUGE], ids=["-1", "2**63", "huge", "-huge"])
def test_a_line_that_is_no_number_of_a_line_is_refused(line: int) -> None:
    call = lambda: message({**SCORE, "from": {"source": "s", "line": line}})  # noqa: E731
    assert isinstance(refused(call, "from.line"), RefusedValueError)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"source": None}, "from.source"),
        ({"source": b"s"}, "from.source"),
        ({"source": "s", "name": 5}, "from.name"),
        ({"source": "s", "line": "7"}, "from.line"),
        ({"source": "s", "line": True}, "from.line"),
        ({}, "from.source"),
        ({"source": "s", "more": 1}, "from.more"),
        ({"source": "s", HUGE: 1}, "from"),
        ([], "from"),
    ],
)
def test_a_sender_of_a_wrong_type_is_refused_with_the_field(given: Any, field: str) -> None:
    refused(lambda: message({**SCORE, "from": given}), field)


def test_subclasses_in_id_and_sender_become_plain() -> None:
    given: Any = {Text("source"): Text("s"), "name": Text("n"), "line": Integer(7)}
    for content, origin in (
        ({**SCORE, "from": given}, None),
        (SCORE, Origin("s", "n", given["line"])),
    ):
        taken = message({**content, "id": Text("abc")}, origin)

        (body,) = decode_messages(b"[" + taken.raw + b"]")
        assert body == taken.body
        assert type(taken.body.id) is str
        assert taken.body.origin is not None
        assert type(taken.body.origin.source) is type(taken.body.origin.name) is str
        assert type(taken.body.origin.line) is int


def test_an_origin_that_is_none_is_refused() -> None:
    not_one: Any = "stdin"
    refused(lambda: door.stamp(door.add_score(0.5), None, not_one), "from")


@pytest.mark.parametrize("identity", ["\ud800", "x" * 129, "x" * 10**6, ""], ids=range(4))
def test_an_id_that_is_none_is_refused(identity: str) -> None:
    refused(lambda: message({**SCORE, "id": identity}), "id")


def test_what_is_stamped_beyond_a_message_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = door.add_score(0.5)
    monkeypatch.setattr(door, "MESSAGE_BYTES_MAX", len(taken.raw) + 86)

    assert door.stamp(taken, "x", None).body.id == "x"
    refused(lambda: door.stamp(taken, "x" * 10, None), "message")
    refused(lambda: door.stamp(taken, None, Origin("source" * 20)), "message")


# -- transactions ------------------------------------------------------------------------------


def test_a_transaction_of_the_stated_count_is_taken_and_one_more_is_refused() -> None:
    assert door.TRANSACTION_TRANSITIONS_MAX == 10_000
    each = door.add_score(0.5)
    full = [SCORE] * 10_000

    assert door.transaction([each] * 10_000).count == 10_000
    assert message({"type": "transaction", "transitions": full}).count == 10_000
    assert isinstance(
        refused(lambda: door.transaction([each] * 10_001), "transitions"), RefusedValueError
    )
    more = {"type": "transaction", "transitions": [*full, SCORE]}
    assert isinstance(refused(lambda: message(more), "transitions"), RefusedValueError)


# -- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [HUGE, -HUGE, 2**63], ids=["huge", "-huge", "2**63"])
def test_a_huge_number_is_refused_by_name(number: int) -> None:
    orchestrator = OmegaMetaOrchestrator()
    refused(lambda: orchestrator.put_document("d", 1, if_seq=number), "if_seq")
    refused(lambda: orchestrator.set_history_maxlen(number), "maxlen")
    refused(lambda: OmegaMetaOrchestrator(history_maxlen=number), "maxlen")


def test_a_bound_that_a_deque_does_not_take_is_refused() -> None:
    OmegaMetaOrchestrator(history_maxlen=2**31 - 1).set_history_maxlen(2**31 - 1)
    refused(lambda: OmegaMetaOrchestrator().set_history_maxlen(2**31), "maxlen")
    refused(lambda: OmegaMetaOrchestrator(history_maxlen=2**31), "maxlen")


def test_a_subclass_of_int_is_as_good_as_its_number() -> None:
    orchestrator = OmegaMetaOrchestrator(history_maxlen=Integer(7))
    orchestrator.set_history_maxlen(Integer(5))
    orchestrator.put_document("d", 1, if_seq=Integer(0))

    assert orchestrator.task_history.maxlen == 5
    assert type(orchestrator.task_history.maxlen) is int


UNSHOWABLE: list[dict[Any, Any]] = [
    {"type": HUGE},
    {"type": "x" * 10**6},
    {**SCORE, HUGE: 1},
    {**SCORE, "\ud800": 1},
    {**SCORE, "x" * 10**6: 1},
    {"type": "add_task", "task": {HUGE: 1}},
    {"type": "add_task", "task": {(HUGE,): 1}},
    {"type": "add_task", "task": {"x": {"__type__": "float", "value": "y" * 10**6}}},
    {"type": "add_knowledge", "key": "k", "vector": [1.0], "dtype": HUGE},
    {"type": "add_knowledge", "key": "k", "vector": [1.0], "dtype": "x" * 10**6},
    {"type": "add_knowledge", "key": "k", "vector": [HUGE]},
    {"type": "add_knowledge", "key": "k", "vector": [0.5, HUGE]},
    {"type": "add_knowledge", "key": "k", "vector": {"dtype": "x" * 10**6, "data": ""}},
    {"type": "add_score", "score": HUGE},
    {"type": "extend_scores", "scores": [HUGE]},
]


@pytest.mark.parametrize("content", UNSHOWABLE, ids=range(len(UNSHOWABLE)))
def test_what_is_too_long_to_show_is_refused_in_a_few_words(content: dict[Any, Any]) -> None:
    with pytest.raises(RefusedError) as refusal:
        message(content)
    assert len(str(refusal.value)) < 1000
    str(refusal.value).encode()


@pytest.mark.parametrize("value", [1.7, 1, True, "1.7", "", "-", "+1", " 1", "1_0", "٣", ["1"]])
def test_a_tagged_integer_that_is_no_string_of_digits_is_refused(value: object) -> None:
    tagged = {"__type__": "int", "value": value}
    with pytest.raises(RefusedValueError):
        message({"type": "put_document", "name": "d", "value": tagged})


@pytest.mark.parametrize("value", ["0", "-12", str(2**200)])
def test_a_tagged_integer_is_its_digits(value: str) -> None:
    tagged = {"__type__": "int", "value": value}
    taken = message({"type": "put_document", "name": "d", "value": tagged})
    assert decode_value(taken.body.value) == int(value)  # type: ignore[union-attr]  # of a document


# -- metadata ----------------------------------------------------------------------------------

NO_OBJECTS = [float("inf"), deque([1]), NumericVectorArtifact([1.0]), [], "text", 5, True]


@pytest.mark.parametrize("metadata", NO_OBJECTS)
def test_metadata_that_is_no_object_is_refused(metadata: Any) -> None:
    for call, field in (
        (lambda: NumericVectorArtifact([1.0], metadata), "metadata"),
        (
            lambda: OmegaMetaOrchestrator().extend_knowledge(["a"], np.ones((1, 1)), [metadata]),
            "metadata[0]",
        ),
    ):
        assert isinstance(refused(call, field), RefusedTypeError)


@pytest.mark.parametrize(
    "metadata",
    [{"__type__": "float", "value": "inf"}, {"__type__": "deque", "items": [], "maxlen": 1}],
)
def test_a_tag_as_metadata_is_refused(metadata: dict[str, Any]) -> None:
    content = {"type": "add_knowledge", "key": "k", "vector": [1.0], "metadata": metadata}
    refused(lambda: message(content), "metadata")


# -- depth, by brackets ------------------------------------------------------------------------


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inner), default=0) if isinstance(value, (list, dict)) else 0  # type: ignore[call-overload]


BRACKETS = st.text(alphabet='[]{}"\\a,:\n', max_size=8)


def nested(levels: int, inside: Any) -> Any:
    for _ in range(levels):
        inside = [inside]
    return inside


@given(st.lists(BRACKETS, max_size=70), st.integers(DEPTH_MAX - 4, DEPTH_MAX + 4), BRACKETS)
def test_brackets_in_strings_neither_hide_depth_nor_make_it(
    texts: list[str], levels: int, key: str
) -> None:
    value = [*texts, nested(levels - 3, {key: texts}), *texts, "[" * 70]
    assert depth(value) == levels
    raw = msgspec.json.encode(value)

    assert is_plain(raw) is (levels <= DEPTH_MAX)
    if levels > DEPTH_MAX:
        with pytest.raises(RefusedValueError, match="nested deeper"):
            take_value(value, "value")
    else:
        assert take_value(value, "value") == raw


@given(strategies.values())
def test_plain_is_never_said_of_what_is_too_deep(value: object) -> None:
    raw = take_value(value, "value")
    copy = decode_value(raw)
    assert exactly_equal(decode_value(take_value(copy, "value")), copy)
    if is_plain(raw):
        assert depth(msgspec.json.decode(raw)) <= DEPTH_MAX


def test_what_is_large_and_plain_is_taken_without_a_step_in_python_for_each_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The loop stands still meanwhile: 90 ms by the slow way, 13 ms by the fast one."""
    several = {"items": [{"id": number, "name": f"n[{number}"} for number in range(28_000)]}
    scores = [number / 7 for number in range(131_072)]
    monkeypatch.setattr(values, "to_wire", None)
    monkeypatch.setattr(door, "check_score", None)

    assert json.loads(door.add_task(several).raw)["task"] == several
    assert len(door.extend_scores(scores).raw) > 2**20


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"inner": rows}])
def test_beside_what_is_converted_a_long_plain_part_is_still_taken_whole(
    wrap: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": number, "tags": ["a"]} for number in range(1000)]
    slowly: list[Any] = []
    members = values._members

    def watched(value: Any, *rest: Any) -> dict[str, Any]:
        slowly.append(value)
        return members(value, *rest)

    monkeypatch.setattr(values, "_members", watched)

    raw = take_value({"rows": wrap(rows), "at": np.int64(3)}, "value")

    assert json.loads(raw) == {"rows": wrap(rows), "at": 3}
    assert not any("id" in value for value in slowly)


@pytest.mark.parametrize(
    ("inside", "place"),
    [
        (float("-inf"), None),
        ((1, 2), None),
        ({"__type__": "deque"}, "rows[7].x.__type__"),
        ({1: 2}, "rows[7].x"),
        (b"bytes", "rows[7].x"),
        ("\ud800", "rows[7].x"),
        (2**5000, "rows[7].x"),
        (nested(DEPTH_MAX - 4, []), None),
        (nested(DEPTH_MAX - 3, []), "rows[7].x" + "[0]" * (DEPTH_MAX - 3)),
    ],
    ids=["infinity", "tuple", "mark", "key", "bytes", "surrogate", "integer", "deep", "too deep"],
)
@pytest.mark.parametrize("length", [10, 1000])
def test_what_is_in_a_long_part_is_found_as_in_a_short_one(
    inside: Any, place: str | None, length: int
) -> None:
    rows: list[dict[str, Any]] = [{"id": number} for number in range(length)]
    rows[7]["x"] = inside
    value = {"rows": rows, "at": np.int64(3)}

    if place is not None:
        with pytest.raises(RefusedError) as refusal:
            take_value(value, "value")
        assert refusal.value.field == f"value.{place}"
        return
    kept = decode_value(take_value(value, "value"))["rows"][7]["x"]
    assert exactly_equal(kept, list(inside) if isinstance(inside, tuple) else inside)


# -- scores ------------------------------------------------------------------------------------


def test_masked_scores_are_refused() -> None:
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    assert isinstance(refused(lambda: door.extend_scores(masked), "scores"), RefusedValueError)


def test_more_scores_than_the_bound_are_refused() -> None:
    for scores in (np.zeros(131_073), [0.5] * 131_073, itertools.repeat(0.5, 131_073)):
        refused(lambda scores=scores: door.extend_scores(scores), "scores")  # type: ignore[misc]


@pytest.mark.parametrize(
    "scores",
    [
        [1, 2.5, float("nan")],
        [2**53, -(2**53)],
        np.array([1, 2], np.uint8),
        np.array([0.1], np.float32),
        np.array([0.1, 0.2], ">f8"),
        np.array([1, 2.5], object),
        (np.float64(0.5), 1),
    ],
)
def test_scores_of_every_kind_are_those_of_add_score(scores: Any) -> None:
    sent: Message = door.extend_scores(scores)
    one_by_one = [door.add_score(score).body.score for score in scores]  # type: ignore[union-attr]

    assert exactly_equal(sent.body.scores.array.tolist(), one_by_one)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("scores", "field"),
    [
        ([0.5, 2**53 + 1], "scores[1]"),
        ([2**53 + 1], "scores[0]"),
        (np.array([1, 2**53 + 1]), "scores[1]"),
        (np.array([True]), "scores[0]"),
        (np.array(["1"]), "scores[0]"),
        (np.array([1j]), "scores[0]"),
    ],
)
def test_scores_that_a_float_does_not_hold_are_refused(scores: Any, field: str) -> None:
    refused(lambda: door.extend_scores(scores), field)
