r"""Signed heads: what the ledger was at each checkpoint, in a form that nobody else can make.

`heads.jsonl` lies in a store whose owner signs, and only ever grows. Each line is one head:

    {"format":"penin-head","version":1,"store":"<uuid>","seq":4,"hash":"<64 hex>","at":"…",
     "snapshot":"<64 hex>","key":"<16 hex>","signature":"<88 base64>"}\n

`seq`, `hash` and `at` are those of the line of the journal that the checkpoint ends with, and
`snapshot` is the SHA-256 of the file of the checkpoint. `key` is the beginning of the SHA-256 of
the public key. The signature is one of Ed25519 over everything before `,"signature"`. Rules:

1. A head is signed once the checkpoint is durable, and is durable itself on return.
2. A last line without a newline, or with zero bytes in it, was being written when a crash came.
   Nobody has relied on it: the next one takes its place, and a reader leaves it out.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pybase64 import b64decode, b64encode

from penin.errors import CorruptionError, UsageError
from penin.storage.filesystem import FileBlocks, storage_error, write_all
from penin.storage.keys import require_cryptography

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from penin.storage.filesystem import FileSystem

HEADS_NAME: Final = "heads.jsonl"
HEAD_FORMAT: Final = "penin-head"
HEAD_VERSION: Final = 1
LINE_BYTES_MAX: Final = 1024

_SIGNATURE: Final = b',"signature":"'
_SIGNATURE_TAIL: Final = re.compile(rb',"signature":"([A-Za-z0-9+/]{86}==)"\}\n')
_TAIL_BYTES: Final = 105
_KEY_CHARACTERS: Final = 16


class SignedHead(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A head as it stands in the file; whether the signature is right is another question."""

    store: str
    seq: int
    hash: str
    at: str
    snapshot: str
    key: str
    signature: str
    format: str = HEAD_FORMAT
    version: int = HEAD_VERSION


class _Versioned(msgspec.Struct):
    format: str | None = None
    version: int | None = None


class Signer:
    """A private Ed25519 key. `pem` is PKCS 8 without a passphrase, as OpenSSL writes it.

    Raises UsageError where it is none, in which nothing of it is shown.
    """

    def __init__(self, pem: bytes) -> None:
        require_cryptography()
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415  # an extra
            Ed25519PrivateKey,
        )
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_private_key,
        )

        reason = "that is no private Ed25519 key in PEM, without a passphrase"
        try:
            key = load_pem_private_key(pem, None)
        except (ValueError, TypeError):
            raise UsageError(reason) from None  # without its cause, which may show the content
        if not isinstance(key, Ed25519PrivateKey):
            raise UsageError(reason)
        self._key = key
        self._id = _id_of(key.public_key())

    def __repr__(self) -> str:
        return f"<Signer {self._id}>"

    def line(self, *, store: str, seq: int, hash: str, at: str, snapshot: str) -> bytes:  # noqa: A002  # its word in the file
        """The signed line of a head."""
        said = {
            "format": HEAD_FORMAT,
            "version": HEAD_VERSION,
            "store": store,
            "seq": seq,
            "hash": hash,
            "at": at,
            "snapshot": snapshot,
            "key": self._id,
        }
        body = msgspec.json.encode(said)[:-1]
        return body + _SIGNATURE + b64encode(self._key.sign(body)) + b'"}\n'


class Verifier:
    """A public Ed25519 key, in PEM as OpenSSL writes it; raises UsageError where it is none."""

    def __init__(self, pem: bytes) -> None:
        require_cryptography()
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # an extra
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PublicKey,
        )
        from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
            load_pem_public_key,
        )

        reason = "that is no public Ed25519 key in PEM"
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise UsageError(reason) from None
        if not isinstance(key, Ed25519PublicKey):
            raise UsageError(reason)
        self._key = key
        self.id = _id_of(key)

    def signed(self, line: bytes) -> SignedHead | None:
        """The head that a line is, if its signature is right; None where another key signed it.

        Raises ValueError, with the reason, for a line that is no head, and for a wrong signature.
        """
        head = parse_head(line)
        if head.key != self.id:
            return None
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # an extra

        try:
            self._key.verify(b64decode(head.signature), line[:-_TAIL_BYTES])
        except InvalidSignature as error:
            raise ValueError("its signature is wrong") from error
        return head


def new_key_pair() -> tuple[bytes, bytes]:
    """A new private key and its public key, both in PEM. Raises UsageError like `require`."""
    require_cryptography()
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # an extra
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private, public


def parse_head(line: bytes) -> SignedHead:
    """What a line says; ValueError with the reason where it is no head."""
    if not _SIGNATURE_TAIL.fullmatch(line[-_TAIL_BYTES:]):
        raise ValueError("it does not end in a signature")
    try:
        found = msgspec.json.decode(line, type=_Versioned)
        if found.format != HEAD_FORMAT or found.version != HEAD_VERSION:
            raise ValueError(
                f"its format is {found.format!r} version {found.version}; this version reads "
                f"{HEAD_FORMAT!r} version {HEAD_VERSION}"
            )
        return msgspec.json.decode(line, type=SignedHead)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def append_head(fs: FileSystem, directory: Path, line: bytes) -> None:
    """Append a line to the heads of a store; durable on return.

    Raises StorageError; then it is not there, or, where only a sync failed, perhaps.
    CorruptionError where there is no end of a line near the end of the file.
    """
    path = directory / HEADS_NAME
    try:
        fd = fs.open_write(path)
        try:
            end = _end_of_lines(fs, fd, path)
            fs.truncate(fd, end)
            write_all(fs, fd, line, end)
            fs.sync_file(fd)
        finally:
            fs.close(fd)
        fs.sync_directory(directory)
    except OSError as error:
        raise storage_error(path, error) from error


def head_lines(fs: FileSystem, path: Path) -> Iterator[tuple[int, bytes]]:
    """The whole lines of a file of heads, each with its offset; none where there is no file.

    Raises StorageError, and CorruptionError for a line that is longer than a head can be.
    """
    rest, offset = b"", 0
    held: tuple[int, bytes] | None = None  # one behind: the last one may be unfinished
    try:
        with FileBlocks(fs, path) as blocks:
            for block in blocks:
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    if held is not None:
                        yield held
                    held = offset, line + b"\n"
                    offset += len(line) + 1
                if len(rest) > LINE_BYTES_MAX:
                    raise CorruptionError(path, offset, "a line that is longer than a head")
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(path, error) from error
    if held is not None and b"\0" not in held[1]:
        yield held


def _end_of_lines(fs: FileSystem, fd: int, path: Path) -> int:
    """Where the last finished line ends."""
    size = fs.size(fd)
    start = max(0, size - 3 * LINE_BYTES_MAX)
    near_end = fs.read(fd, size - start, start)
    end = near_end.rfind(b"\n") + 1
    begin = near_end.rfind(b"\n", 0, max(0, end - 1)) + 1
    if b"\0" in near_end[begin:end]:
        end = begin
    if end == 0 and start > 0:
        raise CorruptionError(path, start, "there is no end of a line from here on")
    return start + end


def _id_of(public_key: Any) -> str:
    return sha256(public_key.public_bytes_raw()).hexdigest()[:_KEY_CHARACTERS]
