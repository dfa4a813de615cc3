"""What migrations are refused for: the store, the step and the place are named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from penin.core.migration import Draft, Schema, migrated, schema_of
from penin.errors import FormatError, MigrationError, RefusedError
from tests.core.migrating import PLACE, filled, not_run, nothing, run, snapshot


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


def test_a_function_that_exits_has_failed() -> None:
    with pytest.raises(MigrationError, match=r"it raised SystemExit\(3\) in "):
        migrated(filled()._state, Schema(1, {0: lambda _draft: sys.exit(3)}), PLACE)


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
