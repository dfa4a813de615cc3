r"""The snapshot format: a whole state at one seq as a JSON file that a person can read.

Version 2 (ours) is JSON with indent 2 and one line a vector, in a fixed order: the envelope
(`format` to `history_maxlen`), the three keys of the original format, `histories`, `documents`,
`message_ids_max` and `message_ids` (files before ids were answered lack the first, and have none),
`seqs` (for each key the seq of its last change), and `digest`, the SHA-256 of every
byte before `,\n  "digest"`. An original reader (`json.load` with `state_decoder`, then the three
keys) reads it too. Version 1 is the original format: exactly the three keys, as Python's `json`
wrote them with `StateEncoder`. `docs/persistence.md` has both byte by byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from penin.core import values
from penin.core.artifacts import FLOAT64, TYPE_NAME, NumericVectorArtifact
from penin.core.message_ids import KnownMessage
from penin.core.snapshot_lines import DIGEST_HEAD, DIGEST_TAIL
from penin.core.state import SCORE_HISTORY, TASK_HISTORY, StateView
from penin.storage.files import joined

FORMAT: Final = "penin-snapshot"
VERSION: Final = 2
NUMBERS_MAX: Final = 2**12
"""How many numbers of a vector are encoded in one call: about 0.1 ms."""
OPENING: Final = b'{\n  "format": "' + FORMAT.encode() + b'"'
ARTIFACT_MARK: Final = b'"' + TYPE_NAME.encode() + b'"'
SEED_KEYS: Final = frozenset({"knowledge_base", TASK_HISTORY, SCORE_HISTORY})
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
    version: int = VERSION


# -- writing ----------------------------------------------------------------------------------


def encode_snapshot(view: StateView, envelope: Envelope) -> Iterator[bytes]:
    """The file of a view, in blocks of about 1 MiB.

    A call into C, during which no other thread runs, is for one value or for a part of one vector:
    well under a millisecond, and up to 10 ms for a value of 1 MiB, the limit of the door.
    """
    digest = hashlib.sha256()
    for block in joined(_pieces(view, envelope)):
        digest.update(block)
        yield block
    yield DIGEST_HEAD + digest.hexdigest().encode() + DIGEST_TAIL


def _pieces(view: StateView, envelope: Envelope) -> Iterator[bytes]:
    yield OPENING
    head = {
        "version": VERSION,
        "store": envelope.store,
        "epoch": envelope.epoch,
        "seq": view.seq,
        "at": envelope.at,
        "schema_version": view.schema_version,
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
    others = [name for name in view.histories if name not in SEED_KEYS]
    for index, name in enumerate(others):
        yield b"%s\n    %s: " % (b"," if index else b"", _encode(name))
        yield from _history(*view.histories[name], indent=4)
    yield b"\n  }" if others else b"}"
    yield b',\n  "documents": '
    yield from _members(
        ((name, _value(item, indent=4)) for name, item in view.documents.items()), indent=2
    )
    yield b',\n  "message_ids_max": %d,\n  "message_ids": ' % view.message_ids_max
    yield from _members(((known.id, _known(known)) for known in view.message_ids), indent=2)
    yield b',\n  "seqs": {\n    "knowledge_base": '
    entries = view.knowledge_base.entries()
    yield from _members(((key, b"%d" % seq) for key, _, seq in entries), indent=4)
    for name, seqs in (("histories", view.history_seqs), ("documents", view.document_seqs)):
        yield b',\n    "%s": ' % name.encode()
        yield from _members(((key, b"%d" % seq) for key, seq in seqs.items()), indent=4)
    yield b"\n  }"


def _known(known: KnownMessage) -> bytes:
    answer: dict[str, Any] = {"seq": known.seq, "digest": known.digest, "result": known.result}
    if known.failed_seq is not None:
        answer["failed_seq"] = known.failed_seq
    return _encode(answer)


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
    mark = b"" if dtype == FLOAT64 else b'\n      "dtype": "%s",' % array.dtype.name.encode()
    if not values.is_plain(metadata) or values.has_long_integer(metadata):
        metadata = _encode(values.to_wire(values.decode_value(metadata), "metadata", escape=True))
    return b'{\n      "__type__": "%s",\n      "vector": %s,%s\n      "metadata": %s\n    }' % (
        TYPE_NAME.encode(),
        _numbers(array),
        mark,
        _indented(metadata, 6),
    )


def _numbers(array: NDArray[Any]) -> bytes:
    """The JSON of a vector; a long one is encoded in steps."""
    texts = []
    for start in range(0, len(array), NUMBERS_MAX):
        part = array[start : start + NUMBERS_MAX]
        # A float32 is written as the float64 that it is: every reader gets the same number.
        numbers = part.astype(FLOAT64) if part.dtype == np.float32 else part
        texts.append(orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1])
    return b"[" + b",".join(texts) + b"]"


def _value(value: bytes | float, indent: int) -> bytes:
    """A value as it is kept: encoded, or a score."""
    if isinstance(value, bytes):
        if values.MARK_BYTES not in value and not values.has_long_integer(value):
            return _indented(value, indent)
        value = values.decode_value(value)
    plain = values.to_wire(value, "", escape=True)
    raw = _encode(plain)
    return _pretty(plain, indent) if ARTIFACT_MARK in raw else _indented(raw, indent)


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
