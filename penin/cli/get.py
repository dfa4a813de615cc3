"""`penin get`: one artifact, document or history of a store, by its name."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import typer

from penin.cli.access import ask_worker
from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    files_of,
    option,
    store_directory,
)
from penin.cli.tables import print_json, print_rows
from penin.cli.terminal import counted, print_out, printable, say
from penin.core.artifacts import NumericVectorArtifact
from penin.core.lookup import Kind
from penin.core.reader import StateReader
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.values import to_wire
from penin.errors import UsageError
from penin.ingress.socket.remote import RemoteOrchestrator
from penin.runtime.found import Found, found_in
from penin.runtime.past import read_store

NUMBERS_SHOWN: Final = 8
ITEMS_SHOWN: Final = 10

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A key, or the name of a document or a history.")
]


class Common(msgspec.Struct, frozen=True):
    """What all kinds have; `seq` is that of the last change, None where there is none known."""

    name: str
    seq: int | None
    store: str | None
    store_seq: int
    at: str | None


class FoundArtifact(Common, frozen=True, tag_field="kind", tag="artifact"):
    """An artifact, whole."""

    dtype: str
    dimension: int
    vector: list[Any]
    metadata: dict[str, Any]


class FoundDocument(Common, frozen=True, tag_field="kind", tag="document"):
    """A document."""

    size_bytes: int
    value: Any


class FoundHistory(Common, frozen=True, tag_field="kind", tag="history"):
    """A history: `items` are the newest, oldest first, of which `size` are kept in all.

    Its items have no seqs of their own.
    """

    size: int
    maxlen: int | None
    items: list[Any]


Content = FoundArtifact | FoundDocument | FoundHistory


def get(
    name: NameArgument,
    *,
    kind: Annotated[
        Kind | None, option("kind", "What NAME is, where several things have it.")
    ] = None,
    last: Annotated[
        int | None,
        option("last", "Only so many items of a history, the newest; for people 10.", min=0),
    ] = None,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    wanted = _Wanted(name, kind, last, json=json)
    content = ask_worker(directory, wanted.from_worker)
    if content is None:
        try:
            content = wanted.from_files(*read_store(directory, files_of(key_from)))
        except FileNotFoundError as error:
            raise UsageError(f"--dir {dir}: there is no store") from error
    if isinstance(content, FoundArtifact):
        _show_artifact(content, json=json)
    elif isinstance(content, FoundDocument):
        _show_document(content, json=json)
    elif isinstance(content, FoundHistory):
        _show_history(content, json=json)
    else:
        say(_nothing(name, kind, content.kinds, content.near))
        return ExitCode.NEGATIVE
    return ExitCode.SUCCESS


class _Wanted:
    """What was asked for. Both ways to it give the thing, or what `Found` says where it is not."""

    def __init__(self, name: str, kind: Kind | None, last: int | None, *, json: bool) -> None:
        self._name = name
        self._kind = kind
        self._last = last
        self._shown = ITEMS_SHOWN if last is None and not json else last

    async def from_worker(self, orchestrator: RemoteOrchestrator) -> Content | Found:
        """Ask the worker of the store."""
        answer = await orchestrator.ask("find", name=self._name)
        found = msgspec.json.decode(answer.value, type=Found)
        chosen = self._chosen(found)
        if chosen == "artifact":
            artifact = await orchestrator.get(self._name)
            if artifact is not None:
                return _artifact(found, artifact)
        elif chosen == "document":
            return _document(found, await orchestrator.get_document(self._name))
        elif chosen == "history":
            return _history(found, await orchestrator.history(self._name, self._shown))
        return found

    def from_files(self, state: State, envelope: Envelope) -> Content | Found:
        """Take it out of a state that was read from the files of the store."""
        found = found_in(state, self._name, store=envelope.store, at=envelope.at)
        chosen = self._chosen(found)
        if chosen == "artifact":
            return _artifact(found, state.knowledge_base[self._name])
        if chosen == "document":
            return _document(found, state.documents[self._name])
        if chosen == "history":
            return _history(found, StateReader(state).history(self._name, self._shown))
        return found

    def _chosen(self, found: Found) -> Kind | None:
        """Which kind it is; raises UsageError where that cannot be told, or does not fit."""
        kinds = found.kinds
        if self._kind is None and len(kinds) > 1:
            raise UsageError(f"{self._name}: it is {_listed(kinds)}; choose with --kind")
        wanted = [kind for kind in kinds if self._kind in (None, kind)]
        if not wanted:
            return None
        if self._last is not None and wanted[0] != "history":
            what = _listed(wanted)
            raise UsageError(f"--last {self._last}: {self._name} is {what}, and no history")
        return wanted[0]


def _nothing(name: str, kind: Kind | None, kinds: list[Kind], near: list[str]) -> str:
    if kinds:
        return f"{name}: it is {_listed(kinds)}, and no {kind}"
    said = f"{name}: nothing of this name in the store"
    return f"{said}; near it: {', '.join(near)}" if near else said


def _listed(kinds: list[Kind]) -> str:
    articles = {"artifact": "an artifact", "document": "a document", "history": "a history"}
    return " and ".join(articles[kind] for kind in kinds)


# -- what is found ----------------------------------------------------------------------------


def _common(found: Found, kind: Kind) -> dict[str, Any]:
    return {
        "name": found.name,
        "seq": found.seqs[kind],
        "store": found.store,
        "store_seq": found.store_seq,
        "at": found.at,
    }


def _artifact(found: Found, artifact: NumericVectorArtifact) -> FoundArtifact:
    return FoundArtifact(
        **_common(found, "artifact"),
        dtype=artifact.dtype.name,
        dimension=len(artifact),
        vector=artifact.vector,
        metadata=artifact.metadata,
    )


def _document(found: Found, value: Any) -> FoundDocument:
    return FoundDocument(**_common(found, "document"), size_bytes=found.document_bytes, value=value)


def _history(found: Found, items: list[Any]) -> FoundHistory:
    return FoundHistory(
        **_common(found, "history"),
        size=found.history_size,
        maxlen=found.history_maxlen,
        items=items,
    )


# -- how it is shown --------------------------------------------------------------------------


def _rows(found: Common, kind: Kind) -> list[tuple[str, str]]:
    seq = "none known" if found.seq is None else f"at seq {found.seq:,}"
    store = f"at seq {found.store_seq:,}" + (f" of {found.at}" if found.at else "")
    return [("name", found.name), ("kind", kind), ("last change", seq), ("store", store)]


def _show_artifact(found: FoundArtifact, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    numbers = ", ".join(map(repr, found.vector[:NUMBERS_SHOWN]))
    if found.dimension > NUMBERS_SHOWN:
        numbers += ", ... (--json has all)"
    rows = [
        *_rows(found, "artifact"),
        ("dtype", found.dtype),
        ("dimension", f"{found.dimension:,}"),
        ("vector", numbers),
        ("metadata", _json_text(found.metadata)),
    ]
    print_rows(rows)


def _show_document(found: FoundDocument, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    print_rows([*_rows(found, "document"), ("size", counted(found.size_bytes, "byte"))])
    print_out("\n" + printable(_json_text(found.value, indent=2)) + "\n")


def _show_history(found: FoundHistory, *, json: bool) -> None:
    if json:
        print_json(found)
        return
    bound = "all kept" if found.maxlen is None else f"the newest {found.maxlen:,} kept"
    shown = len(found.items)
    size = f"{counted(found.size, 'item')} ({bound})"
    if shown < found.size:
        size += f"; the newest {shown:,} here, oldest first (--last N)"
    print_rows([*_rows(found, "history"), ("size", size)])
    lines = "".join(f"{printable(_json_text(item))}\n" for item in found.items)
    print_out(f"\n{lines}" if lines else "")


def _json_text(value: Any, indent: int = 0) -> str:
    """A value as JSON, as a state file has it, with blanks between its parts."""
    raw = msgspec.json.encode(to_wire(value, "", escape=True))
    return msgspec.json.format(raw, indent=indent).decode()
