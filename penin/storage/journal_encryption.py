"""The lines of an encrypted journal: only `messages` is encrypted, all else is associated data.

The header of a file names in `key` the data key. In every commit after it, an opening too, a string
takes the place of the array: base64 of a random nonce of 12 bytes and of what stands between the
brackets, encrypted with AES-256-GCM, with the tag of 16 bytes behind it. So hashes and chain are
over the encrypted lines, and are checked without a key. Rules:

1. The key of a file is derived from the data key and the hash of the file's header (HKDF-SHA256);
   that hash is one of store, epoch, seq and the chain before it, so no other file has it.
2. The associated data is the line up to its hash, with `[]` as its messages: epoch, seqs, time,
   and in `prev` the place in the chain. So no line can be changed, made, or moved within a file or
   to another one by who does not have the key; what can be taken away is the end.
3. A nonce is random, since a counter would repeat after a torn tail was cut. Under one key are the
   lines of one file: with 2^32 of them (1.1 TB at least, one line having 278 bytes or more) two
   have the same nonce with a probability of 2^-33. A checkpoint begins a new file, and so a new
   key, long before.
4. Where a key is given, a plain file is refused, and a plain line in an encrypted file.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pybase64 import b64decode, b64encode

from penin.errors import CorruptionError, KeyRequiredError, NotEncryptedError
from penin.storage.commits import Commit, Header, commit_foot, commit_head
from penin.storage.journal_names import journal_path
from penin.storage.keys import NONCE_BYTES, KeyRing

if TYPE_CHECKING:
    from pathlib import Path

    from penin.storage.filesystem import FileSystem

_PURPOSE: Final = b"penin journal"


class LineCipher:
    """Encrypts and decrypts the messages in the lines of one file."""

    def __init__(self, ring: KeyRing, header: Header, path: Path) -> None:
        """Raise CorruptionError where the file is not one of the ring's store and keys."""
        key = None if header.key is None else ring.get(header.key)
        if header.store != ring.store:
            raise CorruptionError(path, 0, f"a journal of store {header.store}")
        if key is None:
            reason = f"its data key {header.key} is not in the ring of the store"
            raise CorruptionError(path, 0, reason)
        self._path = path
        self._cipher: Any = key.derived(bytes.fromhex(header.hash), _PURPOSE)

    def seal(self, messages: bytes, rest: bytes) -> bytes:
        """What stands in a line in place of the array; see `Seal`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, messages, rest)
        return b'"%b"' % b64encode(nonce + sealed)

    def opened(self, commit: Commit) -> Commit:
        """A commit of the file with its messages in plain; CorruptionError where it is not ours."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra

        head = commit_head(commit.epoch, commit.first, commit.seq, commit.synced, commit.at)
        try:
            sealed = _bytes_of(msgspec.json.decode(commit.messages, type=str))
            plain = self._cipher.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], head + commit_foot(commit.prev)
            )
        except (msgspec.MsgspecError, InvalidTag, ValueError) as error:
            reason = (
                f"the messages of the commit of seq {commit.first} to {commit.seq} do not "
                "authenticate: the line was not written with the key of this store"
            )
            raise CorruptionError(self._path, 0, reason) from error
        return msgspec.structs.replace(commit, messages=msgspec.Raw(b"[" + plain + b"]"))


def _bytes_of(text: str) -> bytes:
    """What base64 stands for; ValueError for a text that is not the one that was written for it."""
    data = b64decode(text, validate=True)
    if b64encode(data).decode() != text:
        raise ValueError("another text for the same bytes")
    return data


class LineOpener:
    """Gives the lines of one journal with their messages in plain, whatever they are in the file.

    It is given every line of a file, from the header on, in their order; nothing is read before.
    """

    def __init__(self, fs: FileSystem, directory: Path) -> None:
        self._fs = fs
        self._directory = directory
        self._cipher: LineCipher | None = None

    def begin(self, header: Header) -> None:
        """The lines that follow are of the file with this header.

        Raises KeyRequiredError where it is encrypted and there is no key, NotEncryptedError where
        it is not and there is one, CorruptionError where it is not of this store, and what
        `Keys.ring` raises.
        """
        path = journal_path(self._directory, header.first)
        keys = self._fs.keys
        if header.key is None and keys is not None:
            raise NotEncryptedError(path)
        if header.key is not None and keys is None:
            raise KeyRequiredError(path)
        self._cipher = None
        if keys is not None:
            self._cipher = LineCipher(keys.ring(self._fs, self._directory.parent), header, path)

    def plain(self, line: Header | Commit) -> Header | Commit:
        """A line with its messages in plain; a header begins a file, see `begin`.

        Raises CorruptionError where a commit does not authenticate.
        """
        if isinstance(line, Header):
            self.begin(line)
            return line
        return line if self._cipher is None else self._cipher.opened(line)
