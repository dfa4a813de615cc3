r"""Encrypted files: written and read as streams, in chunks that cannot be changed, cut or moved.

A file that is written whole (a snapshot, a sealed file, an index) is encrypted as a whole, after it
was compressed. It is a header, one line of JSON, and then chunks:

    {"format":"penin-encrypted","version":1,"store":"<uuid>","kind":"snapshot","seq":4,
     "key":"<8 hex>","salt":"<44 base64>"}\n

Each chunk is CHUNK_BYTES of the content, the last one what is left (perhaps nothing), encrypted
with AES-256-GCM, and behind it the tag of 16 bytes. Rules:

1. The key of a file is derived from the data key that it names, with its own random salt of 32
   bytes and its header (HKDF-SHA256). No other file has that key. So a counter can be the nonce:
   11 bytes with the number of the chunk, from 0, big-endian, and one byte that is 1 for the last
   chunk and else 0. Chunks that are left out, moved or added do not authenticate, nor does a file
   that was cut between two of them.
2. The header is the associated data of every chunk. A file of another store, of another kind or at
   another place in the history is refused by what it says there, and cannot be made to say
   something else.
3. A chunk is given out only after it was authenticated. A position in an error is one of the
   content.

AES-256-GCM and not ChaCha20-Poly1305: OpenSSL, which does it, uses the instructions for AES that
processors of servers and laptops have, and is then more than twice as fast. Its bounds are for what
one key encrypts, which here is one file.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec
from pybase64 import b64decode, b64encode

from penin.errors import CorruptionError, FormatError
from penin.storage.keys import TAG_BYTES
from penin.storage.mapped import BLOCK_BYTES, whole_blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from penin.storage.compression import Blocks
    from penin.storage.keys import KeyRing

Kind = Literal["snapshot", "sealed", "index"]

ENCRYPTED_FORMAT: Final = "penin-encrypted"
ENCRYPTED_VERSION: Final = 1
ENCRYPTED_SUFFIX: Final = ".enc"
CHUNK_BYTES: Final = BLOCK_BYTES
HEADER_BYTES_MAX: Final = 1024
SALT_BYTES: Final = 32

_OPENING: Final = b'{"format":"%b"' % ENCRYPTED_FORMAT.encode()
_PURPOSE: Final = b"penin file\n"
_STORED_BYTES: Final = CHUNK_BYTES + TAG_BYTES


class FileHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an encrypted file says about itself: whose it is, what it is, and its key.

    `seq` is the place in the history: of a snapshot the seq that it is at, of a sealed file its
    number, of an index the seq that it covers.
    """

    store: str
    kind: Kind
    seq: int
    key: str
    salt: str
    format: str = ENCRYPTED_FORMAT
    version: int = ENCRYPTED_VERSION


class _Versioned(msgspec.Struct):
    format: str | None = None
    version: int | None = None


def encrypted(
    chunks: Iterable[bytes | memoryview], ring: KeyRing, kind: Kind, seq: int
) -> Iterator[bytes]:
    """The encrypted file of some content, in pieces of about 1 MiB; raises what `chunks` raises."""
    salt = secrets.token_bytes(SALT_BYTES)
    header = _encode_header(ring, kind, seq, salt)
    cipher = ring.current.derived(salt, _PURPOSE + header)
    yield header
    number = 0
    held = b""  # one behind, since the last chunk is another one than the rest
    for block in whole_blocks(chunks):
        if held:
            yield cipher.encrypt(_nonce(number, is_last=False), held, header)
            number += 1
        held = bytes(block)  # which may be void after the next
    yield cipher.encrypt(_nonce(number, is_last=True), held, header)


def _encode_header(ring: KeyRing, kind: Kind, seq: int, salt: bytes) -> bytes:
    return (
        msgspec.json.encode(
            {
                "format": ENCRYPTED_FORMAT,
                "version": ENCRYPTED_VERSION,
                "store": ring.store,
                "kind": kind,
                "seq": seq,
                "key": ring.current.id,
                "salt": b64encode(salt).decode(),
            }
        )
        + b"\n"
    )


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if is_last else b"\0")


class Decrypted:
    """The content of an encrypted file, as the `SnapshotBlocks` that the file itself is.

    `file` must be open as long as this is read, and is closed by who opened it. `abandoned` is
    called now and then, and may raise. `seq` is the place that the file must say it is of (None:
    any). An iteration raises CorruptionError where a chunk does not authenticate, FormatError for
    a later version, and what reading raises.
    """

    def __init__(
        self,
        file: Blocks,
        path: Path,
        ring: KeyRing,
        kind: Kind,
        seq: int | None = None,
        *,
        abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        self._file = file
        self._path = path
        self._ring = ring
        self._kind = kind
        self._seq = seq
        self._abandoned = abandoned

    @property
    def size_bytes(self) -> int:
        """How long the encrypted file is."""
        return self._file.size_bytes

    def map(self) -> memoryview:
        """All of the content, in memory: an encrypted file cannot be mapped."""
        content = bytearray(self.size_bytes)  # a little more than is in it
        end = 0
        for block in self:
            content[end : end + len(block)] = block
            end += len(block)
        return memoryview(content)[:end].toreadonly()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The file is closed by who opened it."""

    def __iter__(self) -> Iterator[bytes]:
        rest = bytearray()
        cipher: Any = None
        header = b""
        number = 0
        for block in self._file:
            self._abandoned()
            rest += block
            if cipher is None:
                if b"\n" not in rest and len(rest) < HEADER_BYTES_MAX:
                    continue
                header = self._header(bytes(rest[:HEADER_BYTES_MAX]))
                cipher = self._cipher(header)
                del rest[: len(header)]
            # What may be the last chunk waits for the end of the file.
            while len(rest) > _STORED_BYTES:
                yield self._opened(cipher, header, number, bytes(rest[:_STORED_BYTES]), last=False)
                del rest[:_STORED_BYTES]
                number += 1
        if cipher is None:
            self._header(bytes(rest))  # raises: it ends before the header does
        content = self._opened(cipher, header, number, bytes(rest), last=True)
        if content:
            yield content

    def _opened(
        self, cipher: Any, header: bytes, number: int, chunk: bytes, *, last: bool
    ) -> bytes:
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra

        try:
            content: bytes = cipher.decrypt(_nonce(number, is_last=last), chunk, header)
        except InvalidTag as error:
            reason = "what is encrypted from here on was changed or cut: it does not authenticate"
            raise CorruptionError(self._path, number * CHUNK_BYTES, reason) from error
        return content

    def _header(self, begin: bytes) -> bytes:
        if not begin.startswith(_OPENING):
            raise CorruptionError(self._path, 0, "it does not begin as an encrypted file does")
        end = begin.find(b"\n") + 1
        if end == 0:
            raise CorruptionError(self._path, 0, "the header is cut")
        return begin[:end]

    def _cipher(self, line: bytes) -> Any:
        """What decrypts the file, once its header is one that belongs here."""
        try:
            found = msgspec.json.decode(line, type=_Versioned)
            if found.version != ENCRYPTED_VERSION and found.version is not None:
                raise FormatError(
                    self._path,
                    f"its format is {found.format!r} version {found.version}; this version reads "
                    f"{ENCRYPTED_FORMAT!r} version {ENCRYPTED_VERSION}",
                )
            header = msgspec.json.decode(line, type=FileHeader)
            salt = b64decode(header.salt, validate=True)
        except (msgspec.DecodeError, ValueError) as error:
            raise CorruptionError(self._path, 0, f"its header: {error}") from error
        if header.store != self._ring.store:
            raise self._misplaced(f"a file of store {header.store}")
        if header.kind != self._kind:
            raise self._misplaced(f"a file of the kind {header.kind}, not {self._kind}")
        if self._seq is not None and header.seq != self._seq:
            raise self._misplaced(f"its place is {header.seq}, and it lies at {self._seq}")
        key = self._ring.get(header.key)
        if key is None:
            raise self._misplaced(f"its data key {header.key} is not in the ring of the store")
        return key.derived(salt, _PURPOSE + line)

    def _misplaced(self, reason: str) -> CorruptionError:
        return CorruptionError(self._path, 0, reason)
