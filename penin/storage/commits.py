r"""The lines of the journal: what is in them, and when one is valid.

A journal file is JSON lines. The first line is its header, every further line one commit:

    {"format":"penin-journal","version":1,"store":"…","epoch":3,"first":46,"forked_from":null,
     "key":null,"prev":"<64 hex>","hash":"<64 hex>"}\n
    {"epoch":3,"first":46,"seq":48,"synced":45,"at":"…","messages":[…],
     "prev":"<64 hex>","hash":"<64 hex>"}\n

(each in one line). `hash` is the SHA-256 of the line but its last `HASH_TAIL_BYTES`; `prev` is the
hash of the line before, across files. So the journal is one chain:

- a line is valid *by itself* if its hash is right, its fields are, and it ends in a newline;
- it is valid *in its place* if also its `prev` is the hash before it and its first seq follows.

`parse_line` decides the first, `Position` the second. Everything here is pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

JOURNAL_FORMAT: Final = "penin-journal"
JOURNAL_VERSION: Final = 1

# All are part of the format: a reader refuses longer lines. The second is for encrypted ones, which
# have a third more, being base64.
FRAME_BYTES_MAX: Final = 64 * 2**20
LINE_BYTES_MAX: Final = 88 * 2**20
HEADER_BYTES_MAX: Final = 1024

ZERO_HASH: Final = "0" * 64
HASH_TAIL_BYTES: Final = 76  # ,"hash":" is 9, the digest 64, "} is 2, the newline 1

_TAIL_START = b',"hash":"'
_TAIL_END = b'"}\n'
_HASH = re.compile(r"[0-9a-f]{64}")
# The time is written between quotes as it is: nothing in it may need an escape.
_PLAIN = re.compile(r"[ !#-\[\]-~]*")


Seal = Callable[[bytes, bytes], bytes]
"""Makes what stands in place of an array of the joined messages in it and of the rest of the line,
in which the array is empty."""


class InvalidLineError(ValueError):
    """The line is not valid, by itself or in its place; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownVersionError(InvalidLineError):
    """The hash is right, and the line says that it is of a format this version does not read."""


class ForkedFrom(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a restored or converted store goes on from; `store` is null for a bare state file."""

    store: str | None
    seq: int
    hash: str


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of a journal file whose first transition has (or will have) seq `first`."""

    store: str
    epoch: int
    first: int
    forked_from: ForkedFrom | None
    key: str | None
    prev: str
    hash: str
    format: str = JOURNAL_FORMAT
    version: int = JOURNAL_VERSION


class Commit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One append: the messages that became durable together.

    It holds the transitions `first` to `seq`; none (`seq == first - 1`) if it opens an epoch.
    `synced` is the highest seq that was known to be durable when it was encoded. `messages` is
    the JSON array as it is in the file, undecoded, or a string where the file is encrypted
    (`penin.storage.journal_encryption`).
    """

    epoch: int
    first: int
    seq: int
    synced: int
    at: str
    messages: msgspec.Raw
    prev: str
    hash: str


class Position(msgspec.Struct, frozen=True):
    """The end of a line that is valid in its place: what the next line must follow."""

    seq: int
    epoch: int
    hash: str
    offset: int  # in bytes, in the file of the line

    def after(self, line: bytes, parsed: Header | Commit) -> Position:
        """Return the end of the next line; InvalidLineError if that does not follow here.

        At the start of a file a header follows, with the seq and the hash of the file before.
        """
        if isinstance(parsed, Header) != (self.offset == 0):
            raise InvalidLineError("a header belongs at the start of a file and nowhere else")
        if parsed.prev != self.hash:
            raise InvalidLineError("its prev is not the hash of the line before")
        if parsed.first != self.seq + 1:
            raise InvalidLineError(f"it begins at seq {parsed.first} and not at {self.seq + 1}")
        if parsed.epoch < self.epoch:
            raise InvalidLineError(f"its epoch {parsed.epoch} is before {self.epoch}")
        seq = parsed.seq if isinstance(parsed, Commit) else self.seq
        return Position(seq, parsed.epoch, parsed.hash, self.offset + len(line))


class _Versioned(msgspec.Struct):
    format: str | None = None
    version: int | None = None


_decode_header = msgspec.json.Decoder(Header).decode
_decode_commit = msgspec.json.Decoder(Commit).decode
_decode_version = msgspec.json.Decoder(_Versioned).decode


def encode_header(
    *,
    store: str,
    epoch: int,
    first: int,
    forked_from: ForkedFrom | None,
    prev: str,
    key: str | None = None,
) -> tuple[bytes, str]:
    """Return the first line of a journal file, and its hash; `key` names a data key."""
    body = msgspec.json.encode(
        {
            "format": JOURNAL_FORMAT,
            "version": JOURNAL_VERSION,
            "store": store,
            "epoch": epoch,
            "first": first,
            "forked_from": forked_from,
            "key": key,
            "prev": prev,
        }
    )[:-1]
    digest = sha256(body).hexdigest()
    line = b"".join((body, _TAIL_START, digest.encode(), _TAIL_END))
    if len(line) > HEADER_BYTES_MAX:
        raise ValueError(f"a header of {len(line)} bytes; the format has at most 1024")
    return line, digest


def encode_commit(
    *,
    epoch: int,
    first: int,
    seq: int,
    synced: int,
    at: str,
    messages: Sequence[bytes],
    prev: str,
    seal: Seal | None = None,
) -> tuple[bytes, str]:
    """Return the line of a commit, and its hash.

    Each message is a JSON value, already encoded and without a newline. This is on the way of
    every message: the messages are joined once, hashed once and copied into the line once.
    With `seal`, what that makes of them stands in place of the array.
    """
    if _PLAIN.fullmatch(at) is None:
        raise ValueError(f"a time that cannot stand between quotes as it is: {at!r}")
    head = commit_head(epoch, first, seq, synced, at)
    joined = b",".join(messages)
    if b"\n" in joined:
        raise ValueError("a message with a newline in it would end its line")
    foot = commit_foot(prev)
    if seal is not None:
        joined = seal(joined, head + foot)
        head, foot = head[:-1], foot[1:]
    hasher = sha256(head)
    hasher.update(joined)
    hasher.update(foot)
    digest = hasher.hexdigest()
    line = b"".join((head, joined, foot, _TAIL_START, digest.encode(), _TAIL_END))
    bytes_max = FRAME_BYTES_MAX if seal is None else LINE_BYTES_MAX
    if len(line) > bytes_max:
        raise ValueError(f"a commit of {len(line)} bytes; the format has at most {bytes_max}")
    return line, digest


def commit_head(epoch: int, first: int, seq: int, synced: int, at: str) -> bytes:
    """Return the line of a commit up to its messages, with the bracket before them."""
    return b'{"epoch":%d,"first":%d,"seq":%d,"synced":%d,"at":"%b","messages":[' % (
        epoch,
        first,
        seq,
        synced,
        at.encode(),
    )


def commit_foot(prev: str) -> bytes:
    """Return what comes between the messages and the hash, with the bracket behind them."""
    return b'],"prev":"%b"' % prev.encode()


def parse_line(line: bytes, *, verify_hash: bool = True) -> Header | Commit:
    """Return what a line says, if it is valid by itself.

    Raises `InvalidLineError` with the reason, and its subclass `UnknownVersionError` for a header
    whose hash is right but whose format or version is not ours. Without `verify_hash` the digest
    is not computed: for lines that have been checked before.
    """
    if not line.endswith(b"\n"):
        raise InvalidLineError("it does not end in a newline")
    if len(line) > LINE_BYTES_MAX:
        raise InvalidLineError("it is longer than a frame can be")
    digest = stated_hash(line)
    if digest is None:
        raise InvalidLineError("it does not end in a hash")
    if verify_hash and sha256(memoryview(line)[:-HASH_TAIL_BYTES]).hexdigest() != digest:
        raise InvalidLineError("its hash is wrong")
    try:
        if line.startswith(b'{"format":'):
            return _checked_header(line)
        return _checked_commit(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidLineError(f"its hash is right and its fields are not: {error}") from error


def is_anchor(line: Header | Commit, seq: int, journal_hash: str) -> bool:
    """Tell whether this is the line that a snapshot at `seq` ends with, by its `journal_hash`.

    A snapshot ends with a commit, an opening or a header; and where the file of that line is gone,
    the header of the next file still names it as the line before.
    """
    if isinstance(line, Header):
        return line.first == seq + 1 and journal_hash in (line.prev, line.hash)
    return line.seq == seq and line.hash == journal_hash


def stated_hash(line: bytes) -> str | None:
    """Return the hash that the end of a line states, unchecked; None if it states none."""
    tail = line[-HASH_TAIL_BYTES:]
    if not (tail.startswith(_TAIL_START) and tail.endswith(_TAIL_END)):
        return None
    digest = tail[len(_TAIL_START) : -len(_TAIL_END)].decode("ascii", "replace")
    return digest if _HASH.fullmatch(digest) else None


def _checked_header(line: bytes) -> Header:
    version = _decode_version(line)
    if version.format != JOURNAL_FORMAT or version.version != JOURNAL_VERSION:
        raise UnknownVersionError(
            f"its format is {version.format!r} version {version.version}; "
            f"this version reads {JOURNAL_FORMAT!r} version {JOURNAL_VERSION}"
        )
    header = _decode_header(line)
    if header.epoch < 0 or header.first < 1 or not _HASH.fullmatch(header.prev):
        raise InvalidLineError("its hash is right and its numbers are not")
    return header


def _checked_commit(line: bytes) -> Commit:
    commit = _decode_commit(line)
    if not 0 <= commit.synced < commit.first <= commit.seq + 1 or commit.epoch < 1:
        raise InvalidLineError("its hash is right and its numbers are not")
    if len(line) > FRAME_BYTES_MAX and bytes(commit.messages).startswith(b"["):
        raise InvalidLineError("it is longer than a frame can be")
    return commit
