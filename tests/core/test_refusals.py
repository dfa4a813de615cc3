"""What the door refuses: with the path and the reason, and before anything changes."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.values import DEPTH_MAX, VALUE_BYTES_MAX
from penin.errors import PeninError, RefusedError, RefusedTypeError, RefusedValueError
from tests.core.strategies import INTEGER_MAX

Writer = Callable[[OmegaMetaOrchestrator, Any], object]

# Every way by which a value comes in, with the name of its field.
WAYS: list[tuple[str, Writer]] = [
    ("task.x", lambda orchestrator, value: orchestrator.add_task({"x": value})),
    ("value", lambda orchestrator, value: orchestrator.put_document("name", value)),
    ("value", lambda orchestrator, value: orchestrator.append_history("name", value)),
    ("metadata.x", lambda _, value: NumericVectorArtifact([1.0], {"x": value})),
]
ARTIFACT = NumericVectorArtifact([1.0])


class Opaque:
    """A type that nobody knows."""


def refused(write: Callable[[OmegaMetaOrchestrator], object]) -> RefusedError:
    """Run `write`, which must be refused and must have changed nothing."""
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_knowledge("k", ARTIFACT)
    with pytest.raises(RefusedError) as refusal:
        write(orchestrator)
    assert isinstance(refusal.value, PeninError)
    assert isinstance(refusal.value, (ValueError, TypeError))
    assert refusal.value.field in str(refusal.value)
    assert refusal.value.reason
    assert orchestrator.seq == 1
    assert list(orchestrator.knowledge_base) == ["k"]
    assert len(orchestrator.task_history) == len(orchestrator.score_history) == 0
    assert len(orchestrator.documents) == 0
    return refusal.value


@pytest.mark.parametrize(("field", "write"), WAYS)
@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({1, 2}, ""),
        (frozenset([1]), ""),
        (b"bytes", ""),
        (bytearray(b"bytes"), ""),
        (1 + 2j, ""),
        (Opaque(), ""),
        (Opaque, ""),
        (print, ""),
        (iter([1]), ""),
        (np.array([1j]), ""),
        ([1, {"a": {2, 3}}], "[1].a"),
        ({"items": [{"price": b"x"}]}, ".items[0].price"),
        ({"q": deque([0, Opaque()])}, ".q"),
        ({1: "a"}, ""),
        ({None: "a"}, ""),
        ({True: "a"}, ""),
        ({1.5: "a"}, ""),
        ({("a",): "a"}, ""),
        ({"a": {b"b": 1}}, ".a"),
    ],
)
def test_a_type_that_has_no_place_is_refused_with_its_path(
    field: str, write: Writer, value: object, path: str
) -> None:
    error = refused(lambda orchestrator: write(orchestrator, value))

    assert isinstance(error, RefusedTypeError)
    assert error.field.startswith(field + path)


@pytest.mark.parametrize(("field", "write"), WAYS)
@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"__type__": "deque", "items": []}, ""),
        ({"__type__": "Galaxy"}, ""),
        ({"__type__": None}, ""),
        ([{"a": {"__type__": 1}}], "[0].a"),
        ("\ud800", ""),
        (["ok", "a\udfffb"], "[1]"),
        ({"\ud800": 1}, ""),
        pytest.param(INTEGER_MAX + 1, "", id="4097-bits"),
        pytest.param([-INTEGER_MAX - 1], "[0]", id="minus-4097-bits"),
        pytest.param(1 << 20_000, "", id="20001-bits"),
    ],
)
def test_a_value_that_can_not_be_kept_is_refused_with_its_path(
    field: str, write: Writer, value: object, path: str
) -> None:
    error = refused(lambda orchestrator: write(orchestrator, value))

    assert isinstance(error, RefusedValueError)
    assert error.field.startswith(field + path)
    error.field.encode()
    str(error).encode()


@pytest.mark.parametrize("task", [{"__type__": "x"}, {"a": 1, "__type__": "deque"}])
def test_a_task_that_bears_the_reserved_key_is_refused(task: dict[str, Any]) -> None:
    error = refused(lambda orchestrator: orchestrator.add_task(task))

    assert isinstance(error, RefusedValueError)
    assert "__type__" in str(error)


# -- depth and size ----------------------------------------------------------------------------


def nested(depth: int, *, kind: type = list) -> Any:
    """`depth` containers one in the other."""
    value: Any = kind()
    for _ in range(depth - 1):
        value = {"a": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_nesting_to_the_stated_depth_is_kept(kind: type) -> None:
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.put_document("d", nested(DEPTH_MAX, kind=kind))
    orchestrator.append_history("h", nested(DEPTH_MAX, kind=kind))
    orchestrator.add_task({"a": nested(DEPTH_MAX - 1, kind=kind)})

    assert orchestrator.get_document("d") == nested(DEPTH_MAX, kind=kind)


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 2000, 100_000])
def test_nesting_beyond_the_stated_depth_is_refused(kind: type, depth: int) -> None:
    value = nested(depth, kind=kind)

    for write in (
        lambda orchestrator: orchestrator.put_document("d", value),
        lambda orchestrator: orchestrator.append_history("h", value),
        lambda orchestrator: orchestrator.add_task({"a": value}),
        lambda _: NumericVectorArtifact([1.0], {"a": value}),
    ):
        error = refused(write)
        assert isinstance(error, RefusedValueError)
        assert str(DEPTH_MAX) in error.reason


def test_many_brackets_that_are_not_nested_are_kept() -> None:
    value = {"text": "[{" * 200, "lists": [[] for _ in range(200)]}
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.put_document("d", value)

    assert orchestrator.get_document("d") == value


def test_nested_deques_count_towards_the_depth() -> None:
    value: Any = deque()
    for _ in range(DEPTH_MAX):
        value = deque([value])

    error = refused(lambda orchestrator: orchestrator.put_document("d", value))
    assert isinstance(error, RefusedValueError)


def test_a_value_that_holds_itself_is_refused() -> None:
    looped: list[Any] = []
    looped.append(looped)

    error = refused(lambda orchestrator: orchestrator.put_document("d", looped))
    assert isinstance(error, RefusedValueError)


def test_a_value_of_the_stated_size_is_kept_and_one_byte_more_is_refused() -> None:
    fits = "x" * (VALUE_BYTES_MAX - 2)
    assert len(json.dumps(fits)) == VALUE_BYTES_MAX
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.put_document("d", fits)
    orchestrator.append_history("h", fits)
    assert orchestrator.get_document("d") == fits

    error = refused(lambda orchestrator: orchestrator.put_document("d", fits + "x"))
    assert isinstance(error, RefusedValueError)
    assert error.field == "value"
    assert str(VALUE_BYTES_MAX) in error.reason


def test_a_task_of_the_stated_size_is_kept_and_one_byte_more_is_refused() -> None:
    fits = {"x": "y" * (VALUE_BYTES_MAX - len('{"x":""}'))}
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_task(fits)
    assert orchestrator.task_history[0] == fits

    error = refused(lambda orchestrator: orchestrator.add_task({"x": fits["x"] + "y"}))
    assert isinstance(error, RefusedValueError)
    assert error.field == "task"


def test_metadata_and_nested_artifacts_count_towards_the_size() -> None:
    with pytest.raises(RefusedValueError, match="metadata"):
        NumericVectorArtifact([1.0], {"x": "y" * VALUE_BYTES_MAX})
    wide = NumericVectorArtifact(np.full(VALUE_BYTES_MAX // 8, 0.1234567890123))

    error = refused(lambda orchestrator: orchestrator.add_task({"wide": wide}))
    assert isinstance(error, RefusedValueError)


# -- keys, names, scores, conditions, bounds ---------------------------------------------------

NAMED: list[tuple[str, Writer]] = [
    ("key", lambda orchestrator, name: orchestrator.add_knowledge(name, ARTIFACT)),
    ("key", lambda orchestrator, name: orchestrator.remove_knowledge(name)),
    ("keys", lambda orchestrator, name: orchestrator.extend_knowledge([name], np.ones((1, 2)))),
    ("name", lambda orchestrator, name: orchestrator.append_history(name, 1)),
    ("name", lambda orchestrator, name: orchestrator.put_document(name, 1)),
    ("name", lambda orchestrator, name: orchestrator.remove_document(name)),
]


@pytest.mark.parametrize(("field", "write"), NAMED)
@pytest.mark.parametrize("name", [None, 5, 1.5, True, b"key", ["a"], ("a",)])
def test_a_key_that_is_no_string_is_refused(field: str, write: Writer, name: object) -> None:
    error = refused(lambda orchestrator: write(orchestrator, name))

    assert isinstance(error, RefusedTypeError)
    assert error.field.startswith(field)


@pytest.mark.parametrize(("field", "write"), NAMED)
@pytest.mark.parametrize("name", ["", "\ud800", "a\udc00"])
def test_an_empty_key_and_one_with_a_lone_surrogate_are_refused(
    field: str, write: Writer, name: str
) -> None:
    error = refused(lambda orchestrator: write(orchestrator, name))

    assert isinstance(error, RefusedValueError)
    assert error.field.startswith(field)


@pytest.mark.parametrize("artifact", [None, [1.0], np.array([1.0]), ARTIFACT.to_dict(), "text"])
def test_knowledge_that_is_no_artifact_is_refused(artifact: Any) -> None:
    error = refused(lambda orchestrator: orchestrator.add_knowledge("x", artifact))

    assert isinstance(error, RefusedTypeError)
    assert error.field == "artifact"


@pytest.mark.parametrize("task", [None, [], "text", 5, [("a", 1)], ARTIFACT, deque([1]), {"a"}])
def test_a_task_that_is_no_object_is_refused(task: Any) -> None:
    error = refused(lambda orchestrator: orchestrator.add_task(task))

    assert isinstance(error, RefusedTypeError)
    assert error.field.startswith("task")


@pytest.mark.parametrize(
    "score",
    ["0.5", None, [0.5], True, np.True_, 1j, {}, {"a": "b"}, {"__type__": "float", "value": "inf"}],
)
def test_a_score_that_is_no_number_is_refused(score: Any) -> None:
    for write in (
        lambda orchestrator: orchestrator.add_score(score),
        lambda orchestrator: orchestrator.extend_scores([0.5, score]),
        lambda orchestrator: orchestrator.append_history("score_history", score),
    ):
        error = refused(write)
        assert isinstance(error, RefusedTypeError)
        assert error.field.startswith("score")


@pytest.mark.parametrize("score", [2**53 + 1, 2**2000], ids=["rounded", "too-large"])
def test_a_score_that_a_float_does_not_hold_is_refused(score: int) -> None:
    assert isinstance(refused(lambda o: o.add_score(score)), RefusedValueError)
    assert isinstance(refused(lambda o: o.extend_scores([score])), RefusedValueError)


@pytest.mark.parametrize(
    "scores", [[], 0.5, "12", None, {"a": 1.0}, b"12", np.ones((2, 2)), np.array(0.5), np.array([])]
)
def test_scores_that_are_no_list_of_numbers_are_refused(scores: Any) -> None:
    error = refused(lambda orchestrator: orchestrator.extend_scores(scores))

    assert error.field.startswith("scores")


@pytest.mark.parametrize(
    ("keys", "matrix", "metadata"),
    [
        (["a"], np.ones(3), None),
        (["a"], np.ones((2, 3)), None),
        (["a", "b"], np.ones((1, 3)), None),
        (["a", "a"], np.ones((2, 3)), None),
        (["a"], np.ones((1, 0)), None),
        ([], np.ones((0, 3)), None),
        (["a"], np.array([[np.nan]]), None),
        (["a", "b"], np.array([[1.0], [np.inf]]), None),
        (["a"], np.array([[True]]), None),
        (["a"], np.array([["x"]]), None),
        (["a"], np.array([[1j]]), None),
        (["a", "b"], [[1.0, 2.0], [3.0]], None),
        (["a"], [[1, True]], None),
        (["a"], [[2**53 + 1, 0.5]], None),
        (["a", ""], np.ones((2, 1)), None),
        (["a", 5], np.ones((2, 1)), None),
        (["a"], np.ones((1, 1)), []),
        (["a"], np.ones((1, 1)), [{"x": {1}}]),
        (["a"], np.ones((1, 1)), [5]),
        (["a"], np.ones((1, 1)), 5),
        (["a"], np.ones((1, 1)), {"a": {}}),
        ("a", np.ones((1, 1)), None),
        (5, np.ones((1, 1)), None),
        (["a"], None, None),
        (None, np.ones((1, 1)), None),
    ],
)
def test_a_bulk_with_anything_wrong_in_it_is_refused_as_a_whole(
    keys: Any, matrix: Any, metadata: Any
) -> None:
    refused(lambda orchestrator: orchestrator.extend_knowledge(keys, matrix, metadata))


@pytest.mark.parametrize("if_seq", [-1, 2**70])
def test_a_condition_that_is_no_seq_is_refused(if_seq: int) -> None:
    error = refused(lambda orchestrator: orchestrator.put_document("d", 1, if_seq=if_seq))

    assert isinstance(error, RefusedValueError)
    assert error.field == "if_seq"


@pytest.mark.parametrize("if_seq", ["1", 1.0, True])
def test_a_condition_of_another_type_is_refused(if_seq: Any) -> None:
    error = refused(lambda orchestrator: orchestrator.put_document("d", 1, if_seq=if_seq))

    assert isinstance(error, RefusedTypeError)
    assert error.field == "if_seq"


@pytest.mark.parametrize("maxlen", [-1, "5", 1.5, True])
def test_a_bound_that_is_no_whole_number_is_refused(maxlen: Any) -> None:
    error = refused(lambda orchestrator: orchestrator.set_history_maxlen(maxlen))

    assert error.field == "maxlen"
    with pytest.raises(RefusedError):
        OmegaMetaOrchestrator(history_maxlen=maxlen)


def test_refusing_depth_needs_no_deep_recursion() -> None:
    limit = sys.getrecursionlimit()
    value = nested(limit * 3)

    refused(lambda orchestrator: orchestrator.put_document("d", value))
    assert sys.getrecursionlimit() == limit
