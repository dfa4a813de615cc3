r"""Encrypted lines of a file that is only appended to, and is no part of the chain.

Each record, a line or a piece of one, is a line of JSON:

    {"key":"<8 hex>","salt":"<44 base64>","ends_line":true,"data":"<base64>"}\n

`data` is a random nonce of 12 bytes and the bytes of the record, encrypted with AES-256-GCM, with
the tag of 16 bytes behind it. The key is derived from the data key and the salt (HKDF-SHA256): each
opening of the file has its own, and so far fewer than 2^32 records under one. Associated data are
the id of the store, a space, and 1 or 0 for `ends_line`.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import msgspec
from pybase64 import b64decode, b64encode

from penin.errors import CorruptionError
from penin.storage.encryption import SALT_BYTES
from penin.storage.keys import NONCE_BYTES, KeyRing

if TYPE_CHECKING:
    from pathlib import Path

_PURPOSE: Final = b"penin record"


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the file."""

    key: str
    salt: str
    ends_line: bool
    data: str


class RecordCipher:
    """Encrypts the records of one opening."""

    def __init__(self, ring: KeyRing) -> None:
        salt = secrets.token_bytes(SALT_BYTES)
        self._ring = ring
        self._salt = b64encode(salt).decode()
        self._cipher = ring.current.derived(salt, _PURPOSE)

    def seal(self, data: bytes, *, ends_line: bool) -> bytes:
        """A record as a line of the file, without its newline."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        rest = _associated(self._ring, ends_line=ends_line)
        sealed = b64encode(nonce + self._cipher.encrypt(nonce, data, rest)).decode()
        return msgspec.json.encode(Record(self._ring.current.id, self._salt, ends_line, sealed))


def opened_record(ring: KeyRing, line: bytes, path: Path, position: int) -> tuple[bytes, bool]:
    """The bytes of a record, and whether it ends a line of the content.

    `line` begins at byte `position` of the file. Raises CorruptionError where it is not ours.
    """
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra

    try:
        record = msgspec.json.decode(line, type=Record)
        salt = b64decode(record.salt, validate=True)
        sealed = b64decode(record.data, validate=True)
        key = ring.get(record.key)
        if key is None:
            raise CorruptionError(path, position, f"its data key {record.key} is not in the ring")
        rest = _associated(ring, ends_line=record.ends_line)
        cipher = key.derived(salt, _PURPOSE)
        data: bytes = cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], rest)
    except (msgspec.DecodeError, InvalidTag, ValueError) as error:
        reason = "it does not authenticate: changed, or cut"
        raise CorruptionError(path, position, reason) from error
    return data, record.ends_line


def _associated(ring: KeyRing, *, ends_line: bool) -> bytes:
    return b"%b %d" % (ring.store.encode(), ends_line)
