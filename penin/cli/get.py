"""`penin get`: one artifact, document or history of a store, by its name."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import typer

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
from penin.core.lookup import Kind, kinds_of, near_names
from penin.core.reader import StateReader
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.values import to_wire
from penin.errors import UsageError
from penin.runtime.past import read_store

NUMBERS_SHOWN: Final = 8
ITEMS_SHOWN: Final = 10

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A key, or the name of a document or a history.")
]


class Found(msgspec.Struct, frozen=True):
    """What all kinds have; `seq` is that of the last change, None where there is none known."""

    name: str
    seq: int | None
    store: str | None
    store_seq: int
    at: str | None


class FoundArtifact(Found, frozen=True, tag_field="kind", tag="artifact"):
    """An artifact, whole."""

    dtype: str
    dimension: int
    vector: list[Any]
    metadata: dict[str, Any]


class FoundDocument(Found, frozen=True, tag_field="kind", tag="document"):
    """A document."""

    size_bytes: int
    value: Any


class FoundHistory(Found, frozen=True, tag_field="kind", tag="history"):
    """A history: `items` are the newest, oldest first, of which `size` are kept in all.

    Its items have no seqs of their own.
    """

    size: int
    maxlen: int | None
    items: list[Any]


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
    try:
        state, envelope = read_store(directory, files_of(key_from))
    except FileNotFoundError as error:
        raise UsageError(f"--dir {dir}: there is no store") from error
    kinds = kinds_of(state, name)
    chosen = kind if kind is not None else kinds[0] if kinds else None
    if chosen is None or chosen not in kinds:
        say(_nothing(name, chosen, kinds, near_names(state, name)))
        return ExitCode.NEGATIVE
    if kind is None and len(kinds) > 1:
        raise UsageError(f"{name}: it is {_listed(kinds)}; choose with --kind")
    if last is not None and chosen != "history":
        raise UsageError(f"--last {last}: {name} is {_listed([chosen])}, and no history")
    if chosen == "artifact":
        _show_artifact(_artifact(state, envelope, name), json=json)
    elif chosen == "document":
        _show_document(_document(state, envelope, name), json=json)
    else:
        shown = ITEMS_SHOWN if last is None and not json else last
        _show_history(_history(state, envelope, name, shown), json=json)
    return ExitCode.SUCCESS


def _nothing(name: str, kind: Kind | None, kinds: list[Kind], near: list[str]) -> str:
    if kinds:
        return f"{name}: it is {_listed(kinds)}, and no {kind}"
    said = f"{name}: nothing of this name in the store"
    return f"{said}; near it: {', '.join(near)}" if near else said


def _listed(kinds: list[Kind]) -> str:
    articles = {"artifact": "an artifact", "document": "a document", "history": "a history"}
    return " and ".join(articles[kind] for kind in kinds)


# -- what is found ----------------------------------------------------------------------------


def _common(state: State, envelope: Envelope, name: str, seq: int | None) -> dict[str, Any]:
    return {
        "name": name,
        "seq": seq or None,  # 0 for what came from a file without seqs
        "store": envelope.store,
        "store_seq": state.seq,
        "at": envelope.at,
    }


def _artifact(state: State, envelope: Envelope, name: str) -> FoundArtifact:
    artifact = state.knowledge_base[name]
    seq = state.knowledge_base.seq_of(name)
    return FoundArtifact(
        **_common(state, envelope, name, seq),
        dtype=artifact.dtype.name,
        dimension=len(artifact),
        vector=artifact.vector,
        metadata=artifact.metadata,
    )


def _document(state: State, envelope: Envelope, name: str) -> FoundDocument:
    return FoundDocument(
        **_common(state, envelope, name, state.document_seqs.get(name)),
        size_bytes=len(state.documents.encoded[name]),
        value=state.documents[name],
    )


def _history(state: State, envelope: Envelope, name: str, last: int | None) -> FoundHistory:
    history = state.histories[name]
    return FoundHistory(
        **_common(state, envelope, name, state.history_seqs.get(name)),
        size=len(history),
        maxlen=history.maxlen,
        items=StateReader(state).history(name, last),
    )


# -- how it is shown --------------------------------------------------------------------------


def _rows(found: Found, kind: Kind) -> list[tuple[str, str]]:
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
