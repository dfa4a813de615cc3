"""Files that were edited, or that Python's `json` could write and no state can hold."""

from __future__ import annotations

import copy
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.snapshot_reader import read_snapshot
from penin.errors import FormatError
from tests.core.model import contents
from tests.core.original import original_save
from tests.core.samples import filled
from tests.core.strategies import exactly_equal

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


def edited(path: Path, edit: Edit, indent: int | None = 2) -> bytes:
    filled().save_state(path)
    content = json.loads(path.read_bytes())
    edit(content)
    return json.dumps(content, indent=indent).encode()


def decode(path: Path, edit: Edit) -> OmegaMetaOrchestrator:
    other, _ = read_snapshot([edited(path, edit, None)], path, accept_edited=True)
    state, _ = read_snapshot([edited(path, edit)], path, accept_edited=True)  # begins as ours
    assert exactly_equal(
        contents(OmegaMetaOrchestrator.from_state(other)),
        contents(OmegaMetaOrchestrator.from_state(state)),
    )
    return OmegaMetaOrchestrator.from_state(state)


def vector(numbers: object, **more: object) -> dict[str, Any]:
    return {"__type__": "NumericVectorArtifact", "vector": numbers, "metadata": {}} | more


def put(*place: str | int, value: object) -> Edit:
    """Set what stands at `place`."""

    def edit(content: dict[str, Any]) -> None:
        *way, last = place
        inner: Any = content
        for step in way:
            inner = inner[step]
        inner[last] = copy.deepcopy(value)

    return edit


def test_an_edited_file_is_taken_with_its_edits(path: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["knowledge_base"]["new"] = vector([1, 2], dtype="int8")
        content["score_history"]["items"] = [0.5, 1]
        del content["documents"]["none"]
        content["documents"]["ours"] = {"a": [1]}
        content["schema_version"] = 3

    orchestrator = decode(path, edit)

    assert orchestrator.knowledge_base["new"].array.dtype.name == "int8"
    assert list(orchestrator.score_history) == [0.5, 1]
    assert orchestrator.document_seq("none") == 0
    assert orchestrator.get_document("ours") == {"a": [1]}
    assert orchestrator.schema_version == 3
    assert exactly_equal(list(orchestrator.task_history), list(filled().task_history))


def test_an_edited_file_without_edits_is_the_same(path: Path) -> None:
    assert exactly_equal(contents(decode(path, lambda _: None)), contents(filled()))


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (put("knowledge_base", "ints", value=vector([1.5, 2], dtype="int64")), ".ints"),
        (put("knowledge_base", "ints", value=vector([300], dtype="int8")), ".ints"),
        (put("knowledge_base", "ints", value=vector([0.1], dtype="float32")), ".ints"),
        (put("knowledge_base", "ints", value=vector([[1.0], [2.0]])), ".ints"),
        (put("knowledge_base", "ints", value=vector([])), ".ints"),
        (put("knowledge_base", "ints", value=vector([1.0, None])), ".ints"),
        (put("knowledge_base", "ints", value=vector(["1"])), ".ints"),
        (put("knowledge_base", "ints", value=vector([True])), ".ints"),
        (put("knowledge_base", "ints", value=vector([1.0], dtype="complex64")), ".ints"),
        (put("knowledge_base", "ints", value=vector([1.0], metadata=[1])), ".ints"),
        (put("knowledge_base", "ints", value=vector([1.0], metadata=None)), ".ints"),
        (
            put(
                "knowledge_base",
                "ints",
                value=vector([1.0], metadata={"__type__": "float", "value": "inf"}),
            ),
            ".ints",
        ),
        (
            put(
                "knowledge_base",
                "ints",
                value=vector([1.0], metadata={"x": {"__type__": "int", "value": 1.7}}),
            ),
            ".ints",
        ),
        (put("knowledge_base", "", value=vector([1.0])), "knowledge_base"),
        (put("documents", "", value=1), "documents"),
        (put("histories", "", value={"__type__": "deque", "items": []}), "histories"),
        (put("documents", "x", value={"__type__": "deque", "items": 5}), "documents.x"),
        (put("documents", "x", value={"__type__": "deque"}), "documents.x"),
        (put("documents", "x", value=vector([[1.0]])), "documents.x"),
        (put("seq", value=-1), "seq"),
        (put("seq", value=1.5), "seq"),
        (put("schema_version", value=-1), "schema_version"),
        (put("seq", value="1"), "seq"),
        (put("seqs", "documents", "rng", value=-1), "seqs.documents.rng"),
        (put("seqs", "documents", value=5), "seqs"),
        (put("seqs", value={}), "seqs"),
        (put("score_history", "items", 0, value="0.5"), "score_history[0]"),
        (put("score_history", "items", 1, value=None), "score_history[1]"),
        (put("score_history", "items", 1, value=[1]), "score_history[1]"),
        (put("score_history", "items", 1, value=True), "score_history[1]"),
        (
            put("score_history", "items", 1, value={"__type__": "float", "value": "x"}),
            "score_history[1]",
        ),
        (put("task_history", "items", 1, value=[1]), "task_history[1]"),
        (put("task_history", "items", 1, value=None), "task_history[1]"),
        (put("task_history", "items", 1, value={"x": vector([None])}), "task_history"),
        (put("task_history", "maxlen", value=-1), "task_history"),
        (put("task_history", "maxlen", value=2**31), "task_history"),
        (put("task_history", "maxlen", value=10**30), "task_history"),
        (put("histories", "losses", "maxlen", value=-1), "histories.losses"),
        (put("histories", "task_history", value={"__type__": "deque", "items": []}), "histories"),
        (put("history_maxlen", value=-1), "history_maxlen"),
        (put("history_maxlen", value=10**30), "history_maxlen"),
        (put("documents", "x", value=json.loads("[" * 300 + "]" * 300)), "documents.x"),
    ],
)
def test_an_edit_that_no_state_can_hold_is_refused_with_its_place(
    path: Path, edit: Edit, place: str
) -> None:
    for indent in (None, 2):
        data = edited(path, edit, indent)
        with pytest.raises(FormatError) as refusal:
            read_snapshot([data], path, accept_edited=True)
        assert place in refusal.value.reason
        assert refusal.value.path == path


# -- version 1 ---------------------------------------------------------------------------------


def original(path: Path, **members: Any) -> None:
    content: dict[str, Any] = {
        "knowledge_base": {},
        "task_history": {"__type__": "deque", "items": [], "maxlen": 5},
        "score_history": {"__type__": "deque", "items": [], "maxlen": 5},
    }
    path.write_text(json.dumps(content | members))


def refused(path: Path) -> str:
    orchestrator, before = filled(), contents(filled())
    with pytest.raises(FormatError) as refusal:
        orchestrator.load_state(path)
    assert exactly_equal(contents(orchestrator), before)
    str(refusal.value).encode()
    return refusal.value.reason


@pytest.mark.parametrize("maxlen", [10**30, -1, "5", 1.5])
def test_a_bound_that_no_deque_has_is_refused(path: Path, maxlen: object) -> None:
    bad = {"__type__": "deque", "items": [], "maxlen": maxlen}
    original(path, task_history=bad)
    assert "task_history" in refused(path)
    original(path, task_history={"__type__": "deque", "items": [{"a": [1, bad]}], "maxlen": 5})
    assert "task_history.items[0].a[1]" in refused(path)


@pytest.mark.parametrize("score", [None, "0.5", [1], {}, 10**400])
def test_a_score_that_is_no_number_is_refused(path: Path, score: object) -> None:
    original(path, score_history={"__type__": "deque", "items": [0.5, score], "maxlen": 5})
    assert "score_history[1]" in refused(path)


def test_whole_and_true_scores_load_and_have_a_mean(path: Path) -> None:
    scores = [1, True, 0.5, 10**308, 10**308]
    original(path, score_history={"__type__": "deque", "items": scores, "maxlen": 5})
    orchestrator = OmegaMetaOrchestrator()

    assert orchestrator.load_state(path)
    assert orchestrator.get_statistics()["avg_score"] > 10**307
    orchestrator.save_state(path)
    assert OmegaMetaOrchestrator().load_state(path)


def test_a_key_with_a_lone_surrogate_is_refused(path: Path) -> None:
    original(path, knowledge_base={"a\ud800": vector([1.0])})
    assert "knowledge_base" in refused(path)


@pytest.mark.parametrize("numbers", [[1.0, float("nan")], [float("-inf")], []])
def test_a_vector_that_is_not_finite_or_empty_is_refused_with_its_key(
    path: Path, numbers: list[float]
) -> None:
    original(path, knowledge_base={"good": vector([1.0]), "bad key": vector(numbers)})
    assert "knowledge_base.bad key" in refused(path)
    task = {"a": [{"b": vector(numbers)}]}
    original(path, task_history={"__type__": "deque", "items": [task], "maxlen": 5})
    assert "task_history.items[0].a[0].b" in refused(path)
    original(path, knowledge_base={"\ud800": vector(numbers)})
    refused(path)


def test_a_file_of_the_original_with_all_of_it_loads_still(path: Path) -> None:
    knowledge = {"k": NumericVectorArtifact([1.0], {"a": 1})}
    original_save(path, knowledge, deque([{"a": 1}], maxlen=5), deque([0.5], maxlen=5))
    assert OmegaMetaOrchestrator().load_state(path)
