"""Migrations: what the owner's functions may do, what is kept of it, and what is refused."""

from __future__ import annotations

import copy
import datetime
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core import NumericVectorArtifact, OmegaMetaOrchestrator
from penin.core.difference import NameDifference
from penin.core.migration import Draft, Outcome, Schema, migrated, schema_of
from penin.core.snapshots import Envelope, encode_snapshot
from penin.core.state import State
from penin.errors import FormatError, MigrationError, RefusedError
from tests.core import strategies
from tests.core.model import contents
from tests.core.original import original_save
from tests.core.strategies import exactly_equal

PLACE = "/store"


def filled() -> OmegaMetaOrchestrator:
    memory = OmegaMetaOrchestrator(history_maxlen=4)
    memory.add_knowledge("a", NumericVectorArtifact([0.5, 1.5], {"run": 7}))
    memory.add_knowledge("b", NumericVectorArtifact([1, 2], {"run": 8}))
    memory.add_knowledge("c", NumericVectorArtifact([2.5, 3.5]))
    memory.add_task({"name": "first"})
    memory.add_task({"name": "second", "loss": float("nan")})
    memory.extend_scores([0.5, float("inf")])
    memory.append_history("losses", {"x": 1})
    memory.put_document("offset", 10)
    memory.put_document("big", 2**80)
    return memory


def run(memory: OmegaMetaOrchestrator, *migrations: Any, first: int = 0) -> Outcome:
    """Let the functions run from the version `first` on, and put what they made into the state."""
    steps = dict(enumerate(migrations, first))
    memory._state.schema_version = first
    outcome = migrated(memory._state, Schema(first + len(steps), steps), PLACE)
    assert outcome is not None
    seq = memory.seq + 1
    outcome.put_into(memory._state, seq)
    memory._state.seq = seq
    return outcome


def snapshot(state: State) -> bytes:
    return b"".join(encode_snapshot(state.view(), Envelope()))


def nothing(draft: Draft) -> None:
    """Changes nothing."""


def not_run(_draft: Draft) -> None:
    pytest.fail("it ran")


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


# -- what is refused ------------------------------------------------------------------------------


def set_document(value: Any, name: Any = "offset") -> Any:
    return lambda draft: draft.documents.__setitem__(name, value)


@pytest.mark.parametrize(
    ("migration", "reason"),
    [
        (set_document({1, 2}), "documents.offset: set has no place in JSON"),
        (set_document({"a": [{"__type__": "mine"}]}), "documents.offset.a[0].__type__"),
        (set_document({1: 2}), "documents.offset: the key 1 is not a string"),
        (set_document("x" * 2**21), "documents.offset: "),
        (set_document(1, ""), "documents: empty"),
        (set_document(1, 7), "documents: int is not a string"),
        (set_document(1, "x" * 1025), "documents: 1025 bytes"),
        (lambda draft: setattr(draft, "documents", [1]), "documents: list is not a dictionary"),
        (lambda draft: setattr(draft, "histories", None), "histories: NoneType is not"),
        (lambda draft: setattr(draft, "tasks", None), "histories.task_history: NoneType"),
        (lambda draft: draft.tasks.append([1]), "task_history[2]: list is not a JSON object"),
        (lambda draft: draft.histories.pop("task_history"), "histories.task_history: missing"),
        (lambda draft: draft.histories.pop("score_history"), "histories.score_history: missing"),
        (
            lambda draft: draft.histories["score_history"].append("high"),
            "score_history[2]: str is not a number",
        ),
        (
            lambda draft: draft.histories["score_history"].append(True),
            "score_history[2]: bool is not a number",
        ),
        (
            lambda draft: draft.map_metadata(lambda _key, _each: None),
            "knowledge_base.a.metadata: NoneType is not a JSON object",
        ),
        (lambda draft: draft.documents["missing"], "it raised KeyError('missing') in "),
        (lambda draft: draft.map_metadata(lambda _key: {}), "it raised TypeError("),
    ],
)
def test_what_is_refused_names_the_store_the_step_and_the_place(
    migration: Any, reason: str
) -> None:
    memory = filled()
    before = snapshot(memory._state)
    with pytest.raises(MigrationError) as raised:
        migrated(memory._state, Schema(3, {0: nothing, 1: migration, 2: not_run}), PLACE)
    assert str(raised.value).startswith(f"{PLACE}: schema version 1 to 2: {reason}")
    assert (raised.value.path, raised.value.version) == (Path(PLACE), 1)
    assert snapshot(memory._state) == before


def test_a_function_that_raised_is_named_with_its_line() -> None:
    def to_1(_draft: Draft) -> None:
        raise ValueError("not mine")

    with pytest.raises(MigrationError, match="ValueError") as raised:
        run(filled(), to_1)
    line = to_1.__code__.co_firstlineno + 1
    assert str(raised.value).endswith(
        f"it raised ValueError('not mine') in {__file__}, line {line}"
    )


def test_a_missing_step_is_named_before_any_function_runs() -> None:
    with pytest.raises(MigrationError, match=r"2 to 3: there is no migrations\[2\]"):
        migrated(filled()._state, Schema(4, {0: not_run, 1: not_run, 3: nothing}), PLACE)


def test_a_state_of_a_later_version_is_refused_with_both_numbers() -> None:
    memory = filled()
    memory._state.schema_version = 5
    with pytest.raises(FormatError, match="schema version 5; this program works with 3"):
        migrated(memory._state, Schema(3, {}), PLACE)


def test_a_map_that_raises_changes_no_metadata() -> None:
    memory = filled()

    def some(key: str, metadata: dict[str, Any]) -> dict[str, Any]:
        if key == "b":
            raise LookupError
        return {**metadata, "x": 1}

    def to_1(draft: Draft) -> None:
        with pytest.raises(LookupError):
            draft.map_metadata(some)

    assert run(memory, to_1).difference.is_empty


@pytest.mark.parametrize(
    ("version", "migrations", "field"),
    [
        (None, {}, "schema_version"),
        (-1, None, "schema_version"),
        ("3", None, "schema_version"),
        (True, None, "schema_version"),
        (2**63, None, "schema_version"),
        (3, [nothing], "migrations"),
        (3, {"0": nothing}, "migrations"),
        (3, {-1: nothing}, "migrations"),
        (3, {3: nothing}, "migrations[3]"),
        (3, {0: None}, "migrations[0]"),
    ],
)
def test_what_an_owner_asks_for_is_looked_at_first(
    version: Any, migrations: Any, field: str
) -> None:
    with pytest.raises(RefusedError) as raised:
        schema_of(version, migrations)
    assert raised.value.field == field


def test_a_coroutine_function_would_never_run() -> None:
    async def to_1(_draft: Draft) -> None:
        """It is not awaited."""

    with pytest.raises(RefusedError, match="not async def"):
        schema_of(1, {0: to_1})


def test_where_nothing_is_asked_nothing_is_looked_at() -> None:
    assert schema_of(None, None) is None


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
