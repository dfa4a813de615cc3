r"""The snapshot format: a whole state at one seq as a JSON file that a person can read.

Version 2 (ours) is JSON with indent 2 and one line a vector, in a fixed order: the envelope
(`format` to `history_maxlen`), the three keys of the original format, `histories`, `documents`,
`message_ids`, `seqs` (for each key the seq of its last change), and `digest`, the SHA-256 of every
byte before `,\n  "digest"`. An original reader (`json.load` with `state_decoder`, then the three
keys) reads it too. Version 1 is the original format: exactly the three keys, as Python's `json`
wrote them with `StateEncoder`. `docs/persistence.md` has both byte by byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from penin.core import values
from penin.core.artifacts import FLOAT64, TYPE_NAME, NumericVectorArtifact
from penin.core.serialization import state_decoder
from penin.core.snapshot_states import (
    File,
    revive_with_place,
    state_of_edited,
    state_of_file,
    state_of_version_1,
)
from penin.core.state import SCORE_HISTORY, TASK_HISTORY, State, StateView
from penin.errors import CorruptionError, FormatError, PeninError, RefusedError

FORMAT: Final = "penin-snapshot"
VERSION: Final = 2
CHUNK_BYTES: Final = 2**20
_DIGEST_HEAD: Final = b',\n  "digest": "'
_DIGEST_TAIL: Final = b'"\n}\n'
_DIGEST_BYTES: Final = len(_DIGEST_HEAD) + 64 + len(_DIGEST_TAIL)
_OPENING: Final = b'{\n  "format": "' + FORMAT.encode() + b'"'
_ARTIFACT_MARK: Final = b'"' + TYPE_NAME.encode() + b'"'
_SEED_KEYS: Final = frozenset({"knowledge_base", TASK_HISTORY, SCORE_HISTORY})
_encode: Final = msgspec.json.Encoder().encode


class Envelope(msgspec.Struct, frozen=True):
    """What a snapshot says about itself.

    `store`, `epoch`, `at` (of its last commit) and `journal_hash` (of the journal line that it
    ends with) are None outside a store.
    """

    store: str | None = None
    epoch: int | None = None
    at: str | None = None
    journal_hash: str | None = None
    schema_version: int = 0
    version: int = VERSION


# -- writing ----------------------------------------------------------------------------------


def encode_snapshot(view: StateView, envelope: Envelope) -> Iterator[bytes]:
    """The file of a view, in blocks of about 1 MiB; no step holds the interpreter for longer."""
    digest = hashlib.sha256()
    for block in _blocks(_pieces(view, envelope)):
        digest.update(block)
        yield block
    yield _DIGEST_HEAD + digest.hexdigest().encode() + _DIGEST_TAIL


def _blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    block: list[bytes] = []
    size = 0
    for piece in pieces:
        block.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(block)
            block.clear()
            size = 0
    yield b"".join(block)


def _pieces(view: StateView, envelope: Envelope) -> Iterator[bytes]:
    yield _OPENING
    head = {
        "version": VERSION,
        "store": envelope.store,
        "epoch": envelope.epoch,
        "seq": view.seq,
        "at": envelope.at,
        "schema_version": envelope.schema_version,
        "journal_hash": envelope.journal_hash,
        "history_maxlen": view.history_maxlen,
    }
    for name, value in head.items():
        yield b',\n  "%s": %s' % (name.encode(), _encode(value))
    yield b',\n  "knowledge_base": '
    yield from _members(
        ((key, _artifact(artifact)) for key, artifact in view.knowledge_base.items()), indent=2
    )
    for name in (TASK_HISTORY, SCORE_HISTORY):
        yield b',\n  "%s": ' % name.encode()
        yield from _history(*view.histories[name], indent=2)
    yield b',\n  "histories": {'
    others = [name for name in view.histories if name not in _SEED_KEYS]
    for index, name in enumerate(others):
        yield b"%s\n    %s: " % (b"," if index else b"", _encode(name))
        yield from _history(*view.histories[name], indent=4)
    yield b"\n  }" if others else b"}"
    yield b',\n  "documents": '
    yield from _members(
        ((name, _value(item, indent=4)) for name, item in view.documents.items()), indent=2
    )
    yield b',\n  "message_ids": {}'
    yield b',\n  "seqs": {\n    "knowledge_base": '
    keys = view.knowledge_base
    yield from _members(((key, b"%d" % keys.seq_of(key)) for key in keys), indent=4)
    for name, seqs in (("histories", view.history_seqs), ("documents", view.document_seqs)):
        yield b',\n    "%s": ' % name.encode()
        yield from _members(((key, b"%d" % seq) for key, seq in seqs.items()), indent=4)
    yield b"\n  }"


def _members(members: Iterable[tuple[str, bytes]], indent: int) -> Iterator[bytes]:
    """A JSON object whose brace stands at `indent`, one member a piece."""
    separator = b"{\n" + b" " * (indent + 2)
    empty = True
    for name, value in members:
        yield separator + _encode(name) + b": " + value
        separator = b",\n" + b" " * (indent + 2)
        empty = False
    yield b"{}" if empty else b"\n" + b" " * indent + b"}"


def _history(maxlen: int | None, items: list[Any], indent: int) -> Iterator[bytes]:
    pad = b"\n" + b" " * (indent + 2)
    yield b'{%s"__type__": "deque",%s"items": [' % (pad, pad)
    for index, item in enumerate(items):
        yield b"%s%s  %s" % (b"," if index else b"", pad, _value(item, indent + 4))
    yield b'%s],%s"maxlen": %s\n%s}' % (
        pad if items else b"",
        pad,
        _encode(maxlen),
        b" " * indent,
    )


def _artifact(artifact: NumericVectorArtifact) -> bytes:
    dtype, _, metadata = artifact.parts
    array = artifact.array
    # A float32 is written as the float64 that it is, so that every reader gets the same number.
    numbers = array.astype(FLOAT64) if array.dtype == np.float32 else array
    text = orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)
    mark = b"" if dtype == FLOAT64 else b'\n      "dtype": "%s",' % array.dtype.name.encode()
    if not values.is_plain(metadata) or values.has_long_integer(metadata):
        metadata = _encode(values.to_wire(values.decode_value(metadata), "metadata", escape=True))
    return b'{\n      "__type__": "%s",\n      "vector": %s,%s\n      "metadata": %s\n    }' % (
        TYPE_NAME.encode(),
        text,
        mark,
        _indented(metadata, 6),
    )


def _value(value: Any, indent: int) -> bytes:
    plain = values.to_wire(value, "", escape=True)
    raw = _encode(plain)
    return _pretty(plain, indent) if _ARTIFACT_MARK in raw else _indented(raw, indent)


def _pretty(plain: Any, indent: int) -> bytes:
    """What `_indented` does, with each vector of a nested artifact in one line."""
    pad = b"\n" + b" " * (indent + 2)
    if isinstance(plain, dict) and plain:
        is_artifact = plain.get(values.MARK) == TYPE_NAME
        pieces = [
            b"%s: %s"
            % (
                _encode(name),
                _encode(item) if is_artifact and name == "vector" else _pretty(item, indent + 2),
            )
            for name, item in plain.items()
        ]
        return b"{" + pad + (b"," + pad).join(pieces) + b"\n" + b" " * indent + b"}"
    if isinstance(plain, list) and plain:
        items = [_pretty(item, indent + 2) for item in plain]
        return b"[" + pad + (b"," + pad).join(items) + b"\n" + b" " * indent + b"]"
    return _encode(plain)


def _indented(raw: bytes, indent: int) -> bytes:
    pretty = msgspec.json.format(raw, indent=2)
    return pretty.replace(b"\n", b"\n" + b" " * indent)


# -- reading ----------------------------------------------------------------------------------


def decode_snapshot(
    data: bytes, path: Path, *, accept_edited: bool = False
) -> tuple[State, Envelope]:
    """The state in a snapshot file of any version that we know.

    `path` is for messages only. With `accept_edited` the digest is not looked at, but all of the
    content. Raises CorruptionError where the digest does not match or the file is not whole JSON,
    FormatError (with the place) for another format, a newer version, and what no state can hold.
    """
    if data.startswith(_OPENING):
        return _decode_ours(data, path, accept_edited=accept_edited)
    try:
        content = json.loads(data, object_hook=state_decoder)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        raise CorruptionError(path, position, f"not whole JSON: {error}") from error
    except (PeninError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise _format_error(path, "not a snapshot: ", _placed(data, error)) from error
    if isinstance(content, dict) and content.get("format") == FORMAT:
        return _decode_ours(data, path, accept_edited=accept_edited)
    if not isinstance(content, dict) or set(content) != _SEED_KEYS:
        raise FormatError(path, "neither a penin snapshot nor a file of the original format")
    try:
        return state_of_version_1(content), Envelope(version=1)
    except RefusedError as error:
        raise _format_error(path, "", error) from error


def _placed(data: bytes, error: Exception) -> Exception:
    """The same error with its place in the file, where it can be found."""
    try:
        revive_with_place(json.loads(data))
    except RefusedError as placed:
        return placed
    except (ValueError, RecursionError):
        pass
    return error


def _format_error(path: Path, prefix: str, error: Exception) -> FormatError:
    """A place may have a lone surrogate in it, which no terminal and no log takes."""
    return FormatError(path, f"{prefix}{error}".encode(errors="backslashreplace").decode())


class _Version(msgspec.Struct):
    version: int


_NOT_A_STATE: Final = (
    msgspec.MsgspecError,
    ValueError,
    KeyError,
    TypeError,
    OverflowError,
    RecursionError,
)
_decode_version: Final = msgspec.json.Decoder(_Version).decode
_decode_file: Final = msgspec.json.Decoder(File).decode


def _decode_ours(data: bytes, path: Path, *, accept_edited: bool) -> tuple[State, Envelope]:
    if not accept_edited:
        _check_digest(data, path)
    try:
        version = _decode_version(data).version
        if version != VERSION:
            raise FormatError(path, f"format version {version}; this program reads 1 and {VERSION}")
        file = _decode_file(data)
        state = state_of_edited(file) if accept_edited else state_of_file(file)
    except RefusedError as error:
        raise _format_error(path, "", error) from error
    except _NOT_A_STATE as error:
        raise FormatError(path, f"its content is not that of a snapshot: {error!r}") from error
    return state, Envelope(file.store, file.epoch, file.at, file.journal_hash, file.schema_version)


def _check_digest(data: bytes, path: Path) -> None:
    """A version that we do not know is named before its digest, which it may compute otherwise."""
    body, tail = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    found = tail[len(_DIGEST_HEAD) : -len(_DIGEST_TAIL)]
    expected = hashlib.sha256(body).hexdigest().encode()
    if tail == _DIGEST_HEAD + expected + _DIGEST_TAIL:
        return
    reason = "it ends before its digest"
    if tail.startswith(_DIGEST_HEAD) and tail.endswith(_DIGEST_TAIL):
        reason = (
            f"its digest is {found.decode(errors='replace')}, its content has {expected.decode()}"
        )
    newer = _newer_version(data)
    if newer is not None:
        raise FormatError(path, f"format version {newer}; this program reads 1 and {VERSION}")
    raise CorruptionError(
        path,
        max(0, len(body)),
        f"{reason}; it was damaged, cut, or edited by hand (to accept an edited file as it is: "
        "penin convert --accept-edited, into a new store)",
    )


def _newer_version(data: bytes) -> int | None:
    try:
        version = _decode_version(data).version
    except msgspec.MsgspecError:
        return None
    return version if version > VERSION else None
