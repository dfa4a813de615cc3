"""Migrations: the owner's functions, which bring what a state holds to another schema version.

`migrations[n]` takes a `Draft` of data of version n and makes it data of version n + 1. What it
leaves there goes through the door like all that comes from outside, and only then does the next one
see it: so the values are the same whether two versions are passed at once or one after the other.
What a function did not touch is kept as it is, also where the door would refuse it today.

Nothing here changes a state but `Outcome.put_into`. The functions run once: what they made is
stored as a whole (`Rebase`), and a replay never needs them.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from penin.core import door, values
from penin.core.difference import (
    Difference,
    NameDifference,
    canonical,
    of_documents,
    of_histories,
)
from penin.core.histories import History
from penin.core.knowledge_view import KnowledgeView
from penin.core.names import check_name
from penin.core.state import SCORE_HISTORY, TASK_HISTORY, State
from penin.errors import (
    FormatError,
    MigrationError,
    RefusedError,
    RefusedTypeError,
    RefusedValueError,
    StorageError,
    raised_at,
)

Migration = Callable[["Draft"], object]
"""Makes data of one version data of the next; what it returns is not looked at."""


class Schema(NamedTuple):
    """The version that the owner's program works with, and what leads to it from older ones."""

    version: int
    migrations: Mapping[int, Migration]


def schema_of(
    schema_version: int | None, migrations: Mapping[int, Migration] | None
) -> Schema | None:
    """What an owner asks for, checked; None where nothing is asked.

    Raises RefusedTypeError or RefusedValueError.
    """
    if schema_version is None:
        if migrations is not None:
            raise RefusedValueError("schema_version", "missing, and there are migrations to it")
        return None
    version = door.check_whole(schema_version, "schema_version", at_least=0)
    if migrations is not None and not isinstance(migrations, Mapping):
        raise RefusedTypeError("migrations", f"{type(migrations).__name__} is not a mapping")
    steps = dict(migrations or {})
    for number, function in steps.items():
        start = door.check_whole(number, "migrations", at_least=0)
        field = f"migrations[{start}]"
        if start >= version:
            raise RefusedValueError(field, f"it leads beyond schema_version {version}")
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise RefusedTypeError(field, "not a function (def, not async def) of a draft")
    return Schema(version, steps)


class _Content(msgspec.Struct, frozen=True):
    """What migrations change, encoded: each value in the one form that equal values have.

    `metadata` has only what is another one than in `knowledge`. `bounds` are those of histories.
    """

    knowledge: KnowledgeView
    documents: dict[str, bytes]
    histories: dict[str, list[bytes]]
    bounds: dict[str, int | None]
    bound: int | None
    metadata: dict[str, bytes]

    def history(self, name: str) -> History | None:
        """A history as a state has it, but for scores, which are encoded too."""
        raws = self.histories.get(name)
        return None if raws is None else History(raws, self.bounds[name])


class Draft:
    """What a migration changes: plain values, in place or by setting them anew.

    `documents` is name -> value. `histories` is name -> list of items, oldest first, `task_history`
    and `score_history` among them, which always exist; of more items than a history is bounded to,
    the newest stay. `map_metadata` changes the metadata of artifacts.
    """

    __slots__ = ("_content", "_metadata", "documents", "histories")

    def __init__(self, content: _Content) -> None:
        self._content = content
        self._metadata = content.metadata
        self.documents: dict[str, Any] = {
            name: values.decode_value(raw) for name, raw in content.documents.items()
        }
        self.histories: dict[str, list[Any]] = {
            name: list(map(values.decode_value, raws)) for name, raws in content.histories.items()
        }

    @property
    def tasks(self) -> list[Any]:
        """The tasks, oldest first: `histories["task_history"]`."""
        return self.histories[TASK_HISTORY]

    @tasks.setter
    def tasks(self, tasks: list[Any]) -> None:
        self.histories[TASK_HISTORY] = tasks

    def map_metadata(self, function: Callable[[str, dict[str, Any]], Mapping[str, Any]]) -> None:
        """Let the metadata of each artifact be what `function(key, metadata)` returns.

        Called now, for each. Raises RefusedTypeError or RefusedValueError for what is no metadata,
        CorruptionError where a mapped snapshot is damaged, and whatever `function` raises; then
        none is changed.
        """
        changed = dict(self._metadata)
        for block in self._content.knowledge.blocks():
            for row in block.rows():
                key, original = block.key(row), block.metadata(row)
                before = changed.get(key, original)
                after = function(key, values.decode_value(before))
                field = f"knowledge_base.{key}.metadata"
                raw = _taken(after, field, values.take_object, {canonical(before)})
                if raw == canonical(original):
                    changed.pop(key, None)
                else:
                    changed[key] = raw
        self._metadata = changed

    def _taken(self) -> _Content:
        """What it holds now, through the door. Raises RefusedTypeError or RefusedValueError."""
        before = self._content
        known = {*before.documents.values()}.union(*before.histories.values())
        documents = {
            _name(name, "documents", before.documents): _taken(
                value, f"documents.{name}", values.take_value, known
            )
            for name, value in _mapping(self.documents, "documents").items()
        }
        histories, bounds = {}, {}
        for given, items in _mapping(self.histories, "histories").items():
            name = _name(given, "histories", before.histories)
            bound = bounds[name] = before.bounds.get(name, before.bound)
            is_typed = name in (TASK_HISTORY, SCORE_HISTORY)
            there = set(before.histories[name]) if is_typed else known
            histories[name] = _newest(_items(name, items, there), bound)
        for name in (TASK_HISTORY, SCORE_HISTORY):
            if name not in histories:
                raise RefusedValueError(f"histories.{name}", "missing; it always exists")
        return msgspec.structs.replace(
            before,
            documents=documents,
            histories=histories,
            bounds=bounds,
            metadata=self._metadata,
        )


class Outcome:
    """What migrations made of a state, which is unchanged until `put_into`.

    `difference` is how the one differs from the other. `is_new` tells that there was nothing to
    migrate: a state that has never held anything is of any version.
    """

    def __init__(self, found: int, version: int, before: _Content, after: _Content | None) -> None:
        self.found = found
        self.version = version
        self.is_new = after is None
        self._before = before
        self._after = before if after is None else after
        self.difference = self._difference()

    def _difference(self) -> Difference:
        before, after = self._before, self._after
        histories = {
            name: of_histories(name, before.history(name), after.history(name))
            for name in before.histories | after.histories
        }
        return Difference(
            NameDifference([], list(after.metadata), []),
            of_documents(before.documents, after.documents),
            {name: found for name, found in histories.items() if found is not None},
            None,
        )

    def put_into(self, state: State, seq: int) -> None:
        """Make the state what the migrations made of it; what changed has the seq `seq`.

        The seq of the state stays, as long as the rebase is not applied.
        """
        before, after = self._before, self._after
        for name in before.documents.keys() - after.documents.keys():
            del state.documents.encoded[name], state.document_seqs[name]
        for name, raw in after.documents.items():
            if before.documents.get(name) != raw:
                state.documents.encoded[name] = raw
                state.document_seqs[name] = seq
        for name in before.histories.keys() - after.histories.keys():
            del state.histories[name]
            state.history_seqs.pop(name, None)
        for name, raws in after.histories.items():
            if (before.histories.get(name), before.bounds.get(name)) != (raws, after.bounds[name]):
                items = map(values.decode_value, raws) if name == SCORE_HISTORY else raws
                state.set_history(name, items, after.bounds[name])
                state.history_seqs[name] = seq
        for key, raw in after.metadata.items():
            dtype, data, _ = state.knowledge_base[key].parts
            state.knowledge_base.put(key, dtype, data, raw, seq)
        state.schema_version = self.version


def migrated(state: State, schema: Schema, place: str) -> Outcome | None:
    """What the owner's migrations make of a state; None where it is of that version already.

    `place` is the store, for messages. Raises FormatError where the state is of a later version,
    MigrationError where a migration is missing, raises, or leaves what the door refuses, and
    CorruptionError where a mapped snapshot is damaged.
    """
    found = state.schema_version
    if found > schema.version:
        reason = f"its data is of schema version {found}; this program works with {schema.version}"
        raise FormatError(place, reason)
    if found == schema.version:
        return None
    before = content = _content_of(state)
    if state.seq == 0 and _is_empty(content):
        return Outcome(found, schema.version, before, None)
    for version in range(found, schema.version):
        if version not in schema.migrations:
            raise MigrationError(place, version, f"there is no migrations[{version}]")
    for version in range(found, schema.version):
        content = _run(schema.migrations[version], content, place, version)
    return Outcome(found, schema.version, before, content)


def _run(migration: Migration, content: _Content, place: str, version: int) -> _Content:
    draft = Draft(content)
    try:
        migration(draft)
        return draft._taken()  # noqa: SLF001  # what its owner has no use for
    except StorageError:
        raise
    except RefusedError as error:
        raise MigrationError(place, version, str(error)) from error
    except (Exception, SystemExit) as error:  # sys.exit would end it without a word
        reason = f"it raised {values.shown(error)}{raised_at(error)}"
        raise MigrationError(place, version, reason) from error


# -- what a state holds, encoded --------------------------------------------------------------


def _content_of(state: State) -> _Content:
    return _Content(
        knowledge=state.knowledge_base.view(),
        documents={name: canonical(raw) for name, raw in state.documents.encoded.items()},
        histories={
            name: [
                values.encode_value(item, name) if name == SCORE_HISTORY else canonical(item)
                for item in history.kept()
            ]
            for name, history in state.histories.items()
        },
        bounds={name: history.maxlen for name, history in state.histories.items()},
        bound=state.history_maxlen,
        metadata={},
    )


def _is_empty(content: _Content) -> bool:
    return not (content.knowledge or content.documents or any(content.histories.values()))


def _taken(
    value: object, field: str, take: Callable[[object, str], bytes], known: set[bytes]
) -> bytes:
    """A value through the door, in canonical form; what is `known` was there, and may be anything.

    Raises RefusedTypeError or RefusedValueError.
    """
    try:
        return canonical(take(value, field))
    except RefusedError:
        kept = _encoded(value, field)
        if kept not in known:
            raise
        return kept


def _encoded(value: object, field: str) -> bytes | None:
    try:
        return values.encode_value(value, field)
    except RefusedError:
        return None


def _items(name: str, items: object, known: set[bytes]) -> list[bytes]:
    if not isinstance(items, (list, tuple, deque)):
        raise RefusedTypeError(f"histories.{name}", f"{type(items).__name__} is not a list")
    take = values.take_object if name == TASK_HISTORY else values.take_value
    taken = []
    for index, item in enumerate(items):
        field = f"{name}[{index}]"
        # A whole number of an original file is a score as it is, and the door makes a float of it.
        if name == SCORE_HISTORY and _encoded(item, field) not in known:
            item = door.check_score(item, field)  # noqa: PLW2901
        taken.append(_taken(item, field, take, known))
    return taken


def _newest(items: list[bytes], bound: int | None) -> list[bytes]:
    return items if bound is None else items[max(0, len(items) - bound) :]


def _mapping(given: object, field: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise RefusedTypeError(field, f"{type(given).__name__} is not a dictionary")
    return given


def _name(name: object, field: str, known: Mapping[str, object]) -> str:
    if isinstance(name, str) and name in known:
        return name
    return check_name(name, field)
