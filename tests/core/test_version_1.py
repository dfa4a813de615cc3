"""Files of the original format: read for ever, whatever Python's `json` could put into them."""

from __future__ import annotations

import json
import math
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator, StateEncoder
from penin.errors import PeninError
from tests.core import strategies
from tests.core.model import contents
from tests.core.original import original_save
from tests.core.strategies import exactly_equal

GOLDEN = Path(__file__).parent.parent / "data" / "version-1"
"""A file of the original format, and what the first later version made of it; never made anew."""
MARKS = ["float", "int", "dict", "escaped", "Galaxy", "", "set", "object", "DEQUE"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "original.json"


def load(path: Path) -> OmegaMetaOrchestrator:
    orchestrator = OmegaMetaOrchestrator()
    assert orchestrator.load_state(path) is True
    return orchestrator


def test_a_golden_file_is_read_as_ever(path: Path, tmp_path: Path) -> None:
    load(GOLDEN / "state.json").save_state(path)
    expected = tmp_path / "expected.json"
    load(GOLDEN / "expected.json").save_state(expected)  # it lacks what came later, message ids
    assert path.read_bytes() == expected.read_bytes()


def saved_and_loaded(orchestrator: OmegaMetaOrchestrator) -> OmegaMetaOrchestrator:
    """The same state after a way over a file of today's format."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.json"
        orchestrator.save_state(path)
        return load(path)


def write(path: Path, tasks: list[Any], scores: list[Any] | None = None) -> None:
    original_save(path, {}, deque(tasks, maxlen=1000), deque(scores or [], maxlen=1000))


def test_the_three_keys_load_with_their_types(path: Path) -> None:
    artifact = NumericVectorArtifact([0.1, -0.0, 1.0], {"source": {"name": "ä"}})
    nested = {"best": artifact, "recent": deque([deque([1]), artifact], maxlen=3)}
    original_save(path, {"k": artifact}, deque([nested], maxlen=5), deque([0.5, 1.0], maxlen=5))
    orchestrator = load(path)

    assert exactly_equal(dict(orchestrator.knowledge_base), {"k": artifact})
    assert exactly_equal(list(orchestrator.task_history), [nested])
    assert exactly_equal(list(orchestrator.score_history), [0.5, 1.0])
    assert orchestrator.task_history.maxlen == 5
    assert orchestrator.score_history.maxlen == 5
    assert orchestrator.get_statistics()["avg_score"] == 0.75
    assert len(orchestrator.documents) == 0


def test_the_hook_of_today_writes_files_that_load_too(path: Path) -> None:
    state = {
        "knowledge_base": {"k": NumericVectorArtifact([1.0, 2.0])},
        "task_history": deque([{"id": 1}], maxlen=10),
        "score_history": deque([math.nan], maxlen=10),
    }
    with path.open("w") as file:
        json.dump(state, file, cls=StateEncoder, indent=2)
    orchestrator = load(path)

    assert orchestrator.knowledge_base["k"] == NumericVectorArtifact([1.0, 2.0])
    assert list(orchestrator.task_history) == [{"id": 1}]
    assert math.isnan(orchestrator.score_history[0])


def test_nan_and_infinity_literals_load(path: Path) -> None:
    numbers = [math.nan, math.inf, -math.inf]
    write(path, [{"deep": [{"losses": numbers}]}], numbers)
    text = path.read_text()
    assert "NaN" in text
    assert "-Infinity" in text
    orchestrator = load(path)

    assert exactly_equal(list(orchestrator.score_history), numbers)
    assert exactly_equal(orchestrator.task_history[0], {"deep": [{"losses": numbers}]})


def test_vectors_of_whole_numbers_keep_their_values(path: Path) -> None:
    knowledge = {"ints": [1, 2, 3], "mixed": [1, 2.5], "large": [2**53 + 1, -(2**62) - 1]}
    tagged = {
        key: {"__type__": "NumericVectorArtifact", "vector": vector, "metadata": {}}
        for key, vector in knowledge.items()
    }
    original_save(path, tagged, deque(maxlen=9), deque(maxlen=9))
    orchestrator = load(path)

    assert {key: item.vector for key, item in orchestrator.knowledge_base.items()} == knowledge


def test_different_and_absent_bounds_are_kept(path: Path) -> None:
    original_save(path, {}, deque([{"a": 1}], maxlen=3), deque([0.5]))
    orchestrator = load(path)

    assert orchestrator.task_history.maxlen == 3
    assert orchestrator.score_history.maxlen is None


def test_a_bound_that_was_asked_for_holds(path: Path) -> None:
    original_save(path, {}, deque(maxlen=5), deque([1.0, 2.0, 3.0], maxlen=5))
    orchestrator = OmegaMetaOrchestrator(history_maxlen=2)
    orchestrator.load_state(path)

    assert list(orchestrator.score_history) == [2.0, 3.0]
    assert orchestrator.score_history.maxlen == 2


@pytest.mark.parametrize("mark", [*MARKS, None, 5, [], {}])
@pytest.mark.parametrize("rest", [{}, {"value": "nan"}, {"value": 5}, {"items": [["a", 1]]}])
def test_a_dictionary_that_bears_a_mark_of_todays_format_stays_itself(
    path: Path, mark: object, rest: dict[str, Any]
) -> None:
    task = {"inner": {"__type__": mark, **rest}, "list": [{"a": {"__type__": mark, **rest}}]}
    write(path, [task, {"__type__": mark, **rest}])
    orchestrator = load(path)
    expected = [task, {"__type__": mark, **rest}]

    assert exactly_equal(list(orchestrator.task_history), expected)
    assert exactly_equal(list(saved_and_loaded(orchestrator).task_history), expected)
    again = saved_and_loaded(saved_and_loaded(orchestrator))
    assert exactly_equal(list(again.task_history), expected)


def test_an_unknown_mark_in_metadata_loads_and_survives(path: Path) -> None:
    metadata = {"origin": {"__type__": "Galaxy", "value": 1}, "nan": math.nan, "f": {}}
    metadata["f"] = {"__type__": "float", "value": "nan"}
    tagged = {"__type__": "NumericVectorArtifact", "vector": [1.0], "metadata": metadata}
    original_save(path, {"k": tagged}, deque([{"nested": tagged}], maxlen=5), deque(maxlen=5))
    orchestrator = load(path)

    for each in (orchestrator, saved_and_loaded(orchestrator)):
        assert exactly_equal(each.knowledge_base["k"].metadata, metadata)
        assert exactly_equal(each.task_history[0]["nested"].metadata, metadata)


# The limits of the door are of what comes in now; they were none for what the original wrote.
BEYOND_THE_DOOR: dict[str, Any] = {
    "integer": 2**5000,
    "text": "x" * (2**20 + 1),
    "deep": json.loads("[" * 200 + "]" * 200),
    "empty key": {"": 1},
}


@pytest.mark.parametrize("name", BEYOND_THE_DOOR)
def test_a_task_that_the_door_would_refuse_today_loads_and_can_be_saved(
    path: Path, name: str
) -> None:
    task = {"x": BEYOND_THE_DOOR[name]}
    write(path, [task])
    orchestrator = load(path)

    for each in (orchestrator, saved_and_loaded(orchestrator)):
        assert exactly_equal(each.task_history[0], task)


@pytest.mark.parametrize("name", BEYOND_THE_DOOR)
def test_metadata_that_the_door_would_refuse_today_load_and_can_be_saved(
    path: Path, name: str
) -> None:
    metadata = {"x": BEYOND_THE_DOOR[name]}
    tagged = {"__type__": "NumericVectorArtifact", "vector": [1.0], "metadata": metadata}
    original_save(path, {"k": tagged}, deque([{"nested": tagged}], maxlen=5), deque(maxlen=5))
    orchestrator = load(path)

    for each in (orchestrator, saved_and_loaded(orchestrator)):
        assert exactly_equal(each.knowledge_base["k"].metadata, metadata)
        assert exactly_equal(each.task_history[0]["nested"].metadata, metadata)


@pytest.mark.parametrize("key", ["", "__type__", "k" * 5000])
def test_a_key_that_the_door_would_refuse_today_loads_and_can_be_saved(
    path: Path, key: str
) -> None:
    original_save(path, {key: NumericVectorArtifact([1.0])}, deque(maxlen=5), deque(maxlen=5))
    orchestrator = load(path)

    for each in (orchestrator, saved_and_loaded(orchestrator)):
        assert dict(each.knowledge_base) == {key: NumericVectorArtifact([1.0])}


@pytest.mark.parametrize("depth", [320, 500, 900, 5000])
def test_nesting_to_the_limits_of_the_interpreter_is_kept_or_refused_when_it_is_read(
    path: Path, depth: int
) -> None:
    write(path, ["HERE"])
    path.write_text(path.read_text().replace('"HERE"', '{"x": ' + "[" * depth + "]" * depth + "}"))
    orchestrator = OmegaMetaOrchestrator()
    try:
        orchestrator.load_state(path)
    except PeninError:
        assert orchestrator.seq == len(orchestrator.task_history) == 0
        return
    assert len(saved_and_loaded(orchestrator).task_history) == 1


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"])
def test_a_lone_surrogate_is_kept_or_refused_when_it_is_read_and_not_later(
    path: Path, text: str
) -> None:
    write(path, [{"text": text, text: 1}])
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_score(0.5)
    before = contents(orchestrator)
    try:
        orchestrator.load_state(path)
    except PeninError:
        assert exactly_equal(contents(orchestrator), before)
        return
    assert exactly_equal(
        list(saved_and_loaded(orchestrator).task_history), list(orchestrator.task_history)
    )


@pytest.mark.parametrize(
    "knowledge",
    [
        {"k": {"__type__": "NumericVectorArtifact", "vector": []}},
        {"k": {"__type__": "NumericVectorArtifact"}},
        {"k": {"__type__": "NumericVectorArtifact", "vector": ["a"]}},
        {"k": {"vector": [1.0]}},
        {"k": [1.0]},
    ],
)
def test_knowledge_that_is_no_vector_is_refused_and_nothing_changes(
    path: Path, knowledge: dict[str, Any]
) -> None:
    original_save(path, knowledge, deque(maxlen=5), deque(maxlen=5))
    orchestrator = OmegaMetaOrchestrator()
    orchestrator.add_score(0.5)

    with pytest.raises(PeninError):
        orchestrator.load_state(path)
    assert orchestrator.seq == 1
    assert list(orchestrator.score_history) == [0.5]


def marked_values() -> st.SearchStrategy[Any]:
    """Values of an original file: dictionaries may bear any mark that was none of its two."""
    plain = strategies.scalars() | strategies.artifacts(("float64",))
    marks = st.sampled_from(MARKS) | st.none() | st.integers()
    return st.recursive(
        plain,
        lambda children: (
            st.lists(children, max_size=3)
            | st.dictionaries(strategies.texts(max_size=4), children, max_size=3)
            | st.builds(lambda mark, rest: {"__type__": mark, "value": rest}, marks, children)
            | st.builds(lambda mark, rest: {"__type__": mark, "items": rest}, marks, children)
            | st.lists(children, max_size=3).map(deque)
        ),
        max_leaves=8,
    )


@given(st.lists(marked_values(), max_size=3), st.lists(strategies.floats(), max_size=3))
def test_any_original_file_loads_and_survives_todays_format(
    values: list[Any], scores: list[float]
) -> None:
    tasks = [{"value": value} for value in values]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "original.json"
        write(path, tasks, scores)
        orchestrator = load(path)

    assert exactly_equal(list(orchestrator.task_history), tasks)
    assert exactly_equal(list(orchestrator.score_history), scores)
    assert exactly_equal(contents(saved_and_loaded(orchestrator)), contents(orchestrator))
