"""Migrations: what the owner's functions may do, and what is kept of it."""

from __future__ import annotations

import copy
import datetime
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import OmegaMetaOrchestrator
from penin.core.difference import NameDifference
from penin.core.migration import Draft, Schema, migrated
from penin.core.state import State
from penin.errors import MigrationError
from tests.core import strategies
from tests.core.migrating import PLACE, filled, not_run, nothing, run, snapshot
from tests.core.model import contents
from tests.core.original import original_save
from tests.core.strategies import exactly_equal

# -- what a function does -------------------------------------------------------------------------


def test_documents_are_changed_added_and_removed() -> None:
    memory = filled()

    def to_1(draft: Draft) -> None:
        assert draft.documents == {"offset": 10, "big": 2**80}
        draft.documents["offset"] = {"line": draft.documents["offset"]}
        draft.documents["new"] = (1, datetime.date(2026, 1, 31))
        del draft.documents["big"]

    found = run(memory, to_1).difference
    assert dict(memory.documents) == {"offset": {"line": 10}, "new": [1, "2026-01-31"]}
    assert memory.document_seq("offset") == memory.document_seq("new") == memory.seq
    assert memory.document_seq("big") == 0
    assert found.documents == NameDifference(["new"], ["offset"], ["big"])
    assert (found.knowledge_base.is_empty, found.histories) == (True, {})
    assert memory.schema_version == 1


def test_tasks_and_histories_are_changed_in_place_or_set_anew() -> None:
    memory = filled()

    def to_1(draft: Draft) -> None:
        for task in draft.tasks:
            task["title"] = task.pop("name")
        draft.histories["losses"] = deque([{"x": 1}, {"x": 2}])  # type: ignore[assignment]
        draft.histories["new"] = [1, 2, 3, 4, 5]
        draft.histories["score_history"].append(2)

    outcome = run(memory, to_1)
    assert [list(task) for task in memory.task_history] == [["title"], ["loss", "title"]]
    assert memory.history("losses") == [{"x": 1}, {"x": 2}]
    assert memory.history("new") == [2, 3, 4, 5], "a new one is bounded as those made later are"
    assert exactly_equal(memory.history("score_history"), [0.5, float("inf"), 2.0])
    found = outcome.difference.histories
    assert {name: (each.change, each.dropped, each.appended) for name, each in found.items()} == {
        "task_history": ("changed", 2, 2),
        "score_history": ("changed", 0, 1),
        "losses": ("changed", 0, 1),
        "new": ("added", 0, 4),
    }


def test_tasks_can_be_set_and_a_history_removed() -> None:
    memory = filled()

    def to_1(draft: Draft) -> None:
        draft.tasks = [{"name": "only"}]
        del draft.histories["losses"]

    run(memory, to_1)
    assert list(memory.task_history) == [{"name": "only"}]
    assert set(memory.histories) == {"task_history", "score_history"}
    assert set(memory._state.history_seqs) == {"task_history", "score_history"}


def test_metadata_is_what_the_function_returns_and_vectors_are_what_they_were() -> None:
    memory = filled()
    before = {key: artifact.vector for key, artifact in memory.knowledge_base.items()}

    def to_1(draft: Draft) -> None:
        draft.map_metadata(lambda key, metadata: {**metadata, "key": key} if metadata else metadata)

    outcome = run(memory, to_1)
    assert {key: each.metadata for key, each in memory.knowledge_base.items()} == {
        "a": {"run": 7, "key": "a"},
        "b": {"run": 8, "key": "b"},
        "c": {},
    }
    assert {key: artifact.vector for key, artifact in memory.knowledge_base.items()} == before
    seqs = {key: memory._state.knowledge_base.seq_of(key) for key in "abc"}
    assert seqs == {"a": memory.seq, "b": memory.seq, "c": 3}
    assert list(memory.knowledge_base) == ["c", "a", "b"], "in the order of their last change"
    assert outcome.difference.knowledge_base == NameDifference([], ["a", "b"], [])


def test_a_function_that_changes_nothing_leaves_all_as_it_was() -> None:
    memory = filled()
    before = filled()
    outcome = run(memory, nothing, lambda draft: draft.map_metadata(lambda _key, each: each))
    assert outcome.difference.is_empty
    before._state.seq, before._state.schema_version = memory.seq, 2
    assert snapshot(memory._state) == snapshot(before._state)


def test_values_that_are_back_at_the_end_did_not_change() -> None:
    memory = filled()

    def there(draft: Draft) -> None:
        draft.documents["offset"] += 1
        draft.map_metadata(lambda _key, metadata: {**metadata, "x": 1})

    def back(draft: Draft) -> None:
        draft.documents["offset"] -= 1
        draft.map_metadata(lambda _key, each: {k: v for k, v in each.items() if k != "x"})

    assert run(memory, there, back).difference.is_empty
    assert memory.document_seq("offset") == filled().document_seq("offset")


def test_the_next_function_sees_what_a_store_would_have_kept() -> None:
    memory = filled()

    def to_1(draft: Draft) -> None:
        draft.documents["when"] = datetime.date(2026, 1, 31)
        draft.histories["new"] = [1, 2, 3, 4, 5]
        draft.map_metadata(lambda _key, _each: {"pair": (1, 2)})

    def to_2(draft: Draft) -> None:
        assert draft.documents["when"] == "2026-01-31"
        assert draft.histories["new"] == [2, 3, 4, 5]

        def check(_key: str, metadata: dict[str, Any]) -> dict[str, Any]:
            assert metadata == {"pair": [1, 2]}
            return metadata

        draft.map_metadata(check)

    run(memory, to_1, to_2)
    assert memory.schema_version == 2


def test_what_is_done_with_a_draft_afterwards_reaches_nothing() -> None:
    memory = filled()
    kept: list[Draft] = []

    def to_1(draft: Draft) -> None:
        draft.documents["mine"] = [1]
        kept.append(draft)

    run(memory, to_1)
    kept[0].documents["mine"].append(2)
    kept[0].tasks.clear()
    assert memory.get_document("mine") == [1]
    assert len(memory.task_history) == 2


def test_a_later_version_begins_at_its_own_function() -> None:
    memory = filled()
    calls: list[int] = []
    steps: dict[int, Any] = {
        number: lambda _draft, number=number: calls.append(number) for number in range(4)
    }
    memory._state.schema_version = 2
    outcome = migrated(memory._state, Schema(4, steps), PLACE)
    assert outcome is not None
    assert calls == [2, 3]
    assert (outcome.found, outcome.version) == (2, 4)


def test_a_state_that_never_held_anything_is_of_any_version() -> None:
    outcome = migrated(State(), Schema(3, {}), PLACE)
    assert outcome is not None
    assert outcome.is_new
    emptied = OmegaMetaOrchestrator()
    emptied.put_document("x", 1)
    emptied.remove_document("x")
    with pytest.raises(MigrationError, match="no migrations"):
        migrated(emptied._state, Schema(3, {}), PLACE)


def test_a_state_of_that_version_is_left_alone() -> None:
    memory = filled()
    memory._state.schema_version = 3
    assert migrated(memory._state, Schema(3, {2: not_run}), PLACE) is None


# -- what the door would refuse, and was there ----------------------------------------------------


def test_what_an_original_file_held_is_kept_where_it_is_not_touched(tmp_path: Path) -> None:
    odd = {"__type__": "galaxy", "long": "x" * 2**20}
    original_save(tmp_path / "state.json", {}, [odd, {"name": "plain"}], [1, True, 0.5])
    memory = OmegaMetaOrchestrator()
    assert memory.load_state(tmp_path / "state.json") is True
    before = contents(memory)

    def to_1(draft: Draft) -> None:
        draft.tasks.insert(0, draft.tasks.pop())
        draft.documents["moved"] = copy.deepcopy(draft.tasks[1])

    outcome = run(memory, to_1)
    assert list(memory.task_history) == [{"name": "plain"}, odd]
    assert memory.get_document("moved") == odd
    assert exactly_equal(memory.score_history, before["histories"]["score_history"])
    assert outcome.difference.documents.added == ["moved"]
    assert set(outcome.difference.histories) == {"task_history"}

    def to_2(draft: Draft) -> None:
        draft.tasks[1]["new"] = 1

    with pytest.raises(MigrationError, match="task_history\\[1\\]"):
        run(memory, to_2, first=1)


def test_a_number_of_a_document_is_not_a_score_as_it_is() -> None:
    memory = filled()

    def to_1(draft: Draft) -> None:
        draft.histories["score_history"].append(draft.documents["offset"])

    run(memory, to_1)
    assert exactly_equal(memory.history("score_history")[-1], 10.0)


def test_an_item_of_another_history_is_no_task() -> None:
    memory = filled()
    memory.append_history("losses", "text")
    with pytest.raises(MigrationError, match="task_history\\[2\\]: str is not a JSON object"):
        run(memory, lambda draft: draft.tasks.append(draft.histories["losses"][-1]))


# -- any of it ------------------------------------------------------------------------------------


@given(
    st.lists(strategies.calls(), max_size=10),
    st.lists(strategies.migrations(), min_size=1, max_size=3),
)
def test_versions_passed_at_once_or_one_after_the_other_give_the_same_values(
    calls: list[strategies.Call], steps: list[Any]
) -> None:
    both = [OmegaMetaOrchestrator(history_maxlen=3) for _ in range(2)]
    for memory in both:
        for name, arguments, keywords in calls:
            getattr(memory, name)(*arguments, **keywords)
        memory.add_score(0.5)
    together, each = both
    run(together, *steps)
    for version, step in enumerate(steps):
        run(each, step, first=version)
    assert exactly_equal(contents(together, seq=False), contents(each, seq=False))
    assert together.schema_version == each.schema_version == len(steps)
