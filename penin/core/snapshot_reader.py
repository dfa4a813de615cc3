"""Reading a snapshot file: a state out of a stream of blocks, or the reason why there is none.

A file of version 2 is read as it comes, one member after the other, and its digest is computed on
the way: what is needed beside the new state is one block and one member. Only when the digest has
turned out right is the state handed out; what a damaged file makes of the way there does not
matter, because every error before that is told only if the digest is right.

The other files are read whole: version 1, which is at most as large as what Python's `json` could
write in a sitting, and what somebody edited, which may have any layout.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from penin.core import values
from penin.core.artifacts import DTYPE_NAMES
from penin.core.serialization import state_decoder
from penin.core.snapshot_lines import LayoutError, SnapshotLines
from penin.core.snapshot_states import (
    Answer,
    File,
    revive_with_place,
    state_of_edited,
    state_of_version_1,
)
from penin.core.snapshots import ARTIFACT_MARK, FORMAT, OPENING, SEED_KEYS, VERSION, Envelope
from penin.core.state import SCORE_HISTORY, TASK_HISTORY, State
from penin.errors import CorruptionError, FormatError, PeninError, RefusedError

NUMBERS_BYTES: Final = 2**16
"""How much of a vector's line is decoded in one call: about 0.1 ms, during which no other thread
runs. A line has up to 20 MiB. The other calls decode one value each, of up to 1 MiB (which was the
limit of the door when it came in), in up to 10 ms."""

_STRUCT_CODES: Final = {
    "float64": "d",
    "float32": "f",
    "int64": "q",
    "int32": "i",
    "int16": "h",
    "int8": "b",
    "uint64": "Q",
    "uint32": "I",
    "uint16": "H",
    "uint8": "B",
}
_NOT_A_STATE: Final = (
    msgspec.MsgspecError,
    ArithmeticError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)
"""What reading raises where a file is not what we write."""


class _Head(msgspec.Struct):
    """The envelope and the bound, as they stand in a file."""

    store: str | None
    epoch: int | None
    seq: int
    at: str | None
    schema_version: int
    journal_hash: str | None
    history_maxlen: int | None


class _Version(msgspec.Struct):
    version: int


class _Read(msgspec.Struct):
    """What has been read of a file so far; `state` grows until the end."""

    state: State | None = None
    envelope: Envelope | None = None
    unread: set[str] = msgspec.field(
        default_factory=lambda: {TASK_HISTORY, SCORE_HISTORY, "documents"}
    )


class Salvaged(msgspec.Struct, frozen=True):
    """What can be read of a damaged file: up to byte `position`, or to its end (None).

    `state` has those histories only that were read whole; `has_documents` tells whether all
    documents were read. Nothing in it is proven.
    """

    state: State
    envelope: Envelope
    position: int | None
    has_documents: bool


_decode_file: Final = msgspec.json.Decoder(File).decode
_decode_head: Final = msgspec.json.Decoder(_Head).decode
_decode_version: Final = msgspec.json.Decoder(_Version).decode
_decode_member: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_bound: Final = msgspec.json.Decoder(int | None).decode
_decode_answer: Final = msgspec.json.Decoder(dict[str, Answer]).decode


def read_snapshot(
    blocks: Iterable[bytes], path: Path, *, accept_edited: bool = False
) -> tuple[State, Envelope]:
    """The state in a snapshot file of any version that we know, out of its bytes in any split.

    `path` is for messages only. With `accept_edited` the digest is not looked at, but all of the
    content. Raises CorruptionError where the digest does not match or the file is not whole JSON,
    FormatError (with the place) for another format, a newer version, and what no state can hold;
    and whatever iterating over `blocks` raises. `blocks` is not closed.
    """
    rest = iter(blocks)
    begun = b""
    while len(begun) < len(OPENING) and (block := next(rest, None)) is not None:
        begun += block
    if begun.startswith(OPENING) and not accept_edited:
        return _read_ours(chain((begun,), rest), path)
    data = begun + b"".join(rest)
    if begun.startswith(OPENING):
        return _read_edited(data, path)
    content = _content_of_other(data, path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        version = content.get("version")
        if type(version) is int and version > VERSION:
            raise _refuse_version(path, version)
        return _read_edited(data, path) if accept_edited else _read_ours((data,), path)
    if not isinstance(content, dict) or set(content) != SEED_KEYS:
        raise FormatError(path, "neither a penin snapshot nor a file of the original format")
    try:
        return state_of_version_1(content), Envelope(version=1)
    except RefusedError as error:
        raise _format_error(path, "", error) from error


def _format_error(path: Path, prefix: str, error: Exception) -> FormatError:
    """A place may have a lone surrogate in it, which no terminal and no log takes."""
    return FormatError(path, f"{prefix}{error}".encode(errors="backslashreplace").decode())


def _refuse_version(path: Path, version: int) -> FormatError:
    return FormatError(path, f"format version {version}; this program reads 1 and {VERSION}")


# -- version 2, as a stream -------------------------------------------------------------------


def _read_ours(blocks: Iterable[bytes], path: Path) -> tuple[State, Envelope]:
    lines = SnapshotLines(blocks)
    read, refused = _Read(), None
    try:
        _read_lines(lines, path, read)
    except _NOT_A_STATE as error:
        refused = FormatError(path, f"its content is not that of a snapshot: {error!r}")
    damage = lines.damage()
    if damage is not None:
        position, reason = damage
        raise CorruptionError(
            path,
            position,
            f"{reason}; it was damaged, cut, or edited by hand (to accept an edited file as it is: "
            "penin convert --accept-edited, into a new store)",
        )
    if refused is not None:
        raise refused
    assert read.state is not None
    assert read.envelope is not None
    return read.state, read.envelope


def salvage_snapshot(blocks: Iterable[bytes], path: Path) -> Salvaged | None:
    """What can be read of a file of version 2 whose digest is not right; None if not its head.

    For looking at it: whatever is in it may be wrong. Raises FormatError for a newer version.
    """
    lines, read = _PlacedLines(blocks), _Read()
    position = None
    try:
        _read_lines(lines, path, read)
    except _NOT_A_STATE:
        position = lines.position
    if read.state is None or read.envelope is None:
        return None
    for name in read.unread - {"documents"}:
        del read.state.histories[name]
    return Salvaged(read.state, read.envelope, position, "documents" not in read.unread)


class _PlacedLines(SnapshotLines):
    """Lines that know where the last one that was taken begins."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        super().__init__(blocks)
        self.position = self._next = 0

    def take(self) -> bytes:
        self.position = min(self._next, self._size_bytes)  # the last line has no end
        line = super().take()
        self._next += len(line) + 1
        return line


def _read_lines(lines: SnapshotLines, path: Path, read: _Read) -> None:
    """Read what the lines say, right or wrong.

    Raises FormatError for a newer version, which is named before its digest (it may compute that
    otherwise), and any of _NOT_A_STATE.
    """
    lines.expect(b"{")
    lines.expect(b'  "format": "%s",' % FORMAT.encode())
    version = int(_after(b'  "version": ', lines.take()))
    if version > VERSION:
        raise _refuse_version(path, version)
    if version < VERSION:
        raise LayoutError(f"format version {version}")
    members = b"".join([lines.take() for _ in _Head.__struct_fields__])
    head = _decode_head(b"{" + members.removesuffix(b",") + b"}")
    state = read.state = State(head.history_maxlen)
    state.seq = head.seq
    state.schema_version = head.schema_version
    read.envelope = Envelope(head.store, head.epoch, head.at, head.journal_hash)
    _read_knowledge(lines, state)
    for name in (TASK_HISTORY, SCORE_HISTORY):
        lines.expect(b'  "%s": {' % name.encode())
        _read_history(lines, state, name, indent=2)
        read.unread.remove(name)
    if lines.opens(b'  "histories": '):
        for text in lines.names(4):
            _read_history(lines, state, orjson.loads(text), indent=4)
    if lines.opens(b'  "documents": '):
        for member in lines.members(4):
            for name, raw in _decode_member(b"{" + member + b"}").items():
                state.documents.encoded[name] = _kept_value(raw)
    read.unread.remove("documents")
    _read_message_ids(lines, state)
    lines.expect(b'  "seqs": {')
    for key, seq in _read_seqs(lines, b"knowledge_base"):
        state.knowledge_base.restore_seq(key, seq)
    state.history_seqs = dict(_read_seqs(lines, b"histories"))
    state.document_seqs = dict(_read_seqs(lines, b"documents"))
    lines.expect(b"  },")


def _after(head: bytes, line: bytes) -> bytes:
    """What a line has between its head and its comma."""
    if not line.startswith(head):
        raise LayoutError(f"{line[:80]!r} in place of {head!r}")
    return line[len(head) :].removesuffix(b",")


def _read_knowledge(lines: SnapshotLines, state: State) -> None:
    if not lines.opens(b'  "knowledge_base": '):
        return
    mark_line = b'      "__type__": %s,' % ARTIFACT_MARK
    for name in lines.names(4):
        mark, vector, *others = lines.block(4)
        if mark != mark_line:
            raise LayoutError(f"{mark[:80]!r} in place of {mark_line!r}")
        dtype = "float64"
        if others[0].startswith(b'      "dtype"'):
            dtype = orjson.loads(_after(b'      "dtype": ', others.pop(0)))
        numbers = _numbers(_after(b'      "vector": ', vector), _STRUCT_CODES[dtype])
        metadata = _after(b'      "metadata": ', b"\n".join(others))
        if len(others) > 1:
            metadata = msgspec.json.format(metadata, indent=-1)
        _put_artifact(state, orjson.loads(name), DTYPE_NAMES[dtype], numbers, metadata)


def _numbers(text: bytes, code: str) -> bytes:
    """The numbers of a JSON array as little-endian bytes; a long one is decoded in steps."""
    parts = []
    start, end = 1, len(text) - 1
    while start < end:
        stop = text.find(b",", start + NUMBERS_BYTES, end)
        if stop < 0:
            stop = end
        numbers = orjson.loads(b"[" + text[start:stop] + b"]")
        parts.append(struct.pack(f"<{len(numbers)}{code}", *numbers))
        start = stop + 1
    if not parts:
        raise LayoutError("a vector without numbers")
    return b"".join(parts)


def _read_history(lines: SnapshotLines, state: State, name: str, indent: int) -> None:
    pad = b" " * (indent + 2)
    lines.expect(pad + b'"__type__": "deque",')
    has_items = lines.expect(pad + b'"items": [', pad + b'"items": [],') == 0
    kept = values.decode_value if name == SCORE_HISTORY else _kept_value
    items = [kept(item) for item in lines.members(indent + 4)] if has_items else []
    (bound,) = lines.block(indent)
    state.set_history(name, items, _decode_bound(_after(pad + b'"maxlen": ', bound)))


def _read_message_ids(lines: SnapshotLines, state: State) -> None:
    line = lines.take()
    if line == b'  "message_ids": {},':
        return  # of a version that did not answer ids yet
    state.message_ids.bound(int(_after(b'  "message_ids_max": ', line)))
    if lines.opens(b'  "message_ids": '):
        for member in lines.members(4):
            for name, answer in _decode_answer(b"{" + member + b"}").items():
                state.message_ids.put(answer.known(name))


def _read_seqs(lines: SnapshotLines, group: bytes) -> Iterator[tuple[str, int]]:
    if lines.opens(b'    "%s": ' % group):
        for member in lines.members(6):
            name, _, seq = member.rpartition(b": ")
            yield orjson.loads(name), int(seq)


# -- what the state keeps of it ---------------------------------------------------------------


def _put_artifact(state: State, key: str, dtype: str, numbers: bytes, metadata: bytes) -> None:
    """The seq of the key stands further down in the file."""
    state.knowledge_base.put(key, dtype, numbers, metadata, 0)


def _kept_value(raw: bytes | msgspec.Raw) -> bytes:
    return msgspec.json.format(bytes(raw), indent=-1)


# -- whole files ------------------------------------------------------------------------------


def _read_edited(data: bytes, path: Path) -> tuple[State, Envelope]:
    try:
        version = _decode_version(data).version
        if version != VERSION:
            raise _refuse_version(path, version)
        file = _decode_file(data)
        state = state_of_edited(file)
    except RefusedError as error:
        raise _format_error(path, "", error) from error
    except _NOT_A_STATE as error:
        raise FormatError(path, f"its content is not that of a snapshot: {error!r}") from error
    return state, Envelope(file.store, file.epoch, file.at, file.journal_hash)


def _content_of_other(data: bytes, path: Path) -> Any:
    """What `json.load` of the original makes of a file that does not begin as ours."""
    try:
        return json.loads(data, object_hook=state_decoder)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        raise CorruptionError(path, position, f"not whole JSON: {error}") from error
    except (PeninError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _format_error(path, "not a snapshot: ", _placed(data, error)) from error


def _placed(data: bytes, error: Exception) -> Exception:
    """The same error with its place in the file, where it can be found."""
    try:
        revive_with_place(json.loads(data))
    except RefusedError as placed:
        return placed
    except (ValueError, RecursionError):
        pass
    return error
