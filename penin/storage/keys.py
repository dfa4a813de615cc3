r"""The keys of an encrypted store: the master key of its owner, and the ring of data keys.

What is encrypted in a store is encrypted with data keys. They lie in `keys.json`, together wrapped
by the master key, which is never written anywhere. So another master key needs only another
`keys.json`, of a few hundred bytes. It is one line:

    {"format":"penin-keys","version":1,"store":"<uuid>","keys":["<8 hex>",…],
     "wrapped":"<base64>","hash":"<64 hex>"}\n

`keys` names the data keys, oldest first: new files are written with the last one. `wrapped` is a
nonce of 12 bytes, then the data keys of 32 bytes each behind each other, encrypted with AES-256-GCM
under the master key; everything before `,"wrapped"` is the associated data. `hash` is that of a
journal line, and tells damage from another master key. Rules:

1. `keys.json` is replaced as a whole, atomically and durably, with the lock of the store held. A
   data key that was ever in it stays in it.
2. A data key itself encrypts nothing: each file has a key of its own that is derived from it
   (`DataKey.derived`, HKDF-SHA256), from what no other file has.
3. No key is in a `repr`, an error or a log.

Other modules: `penin.storage.encryption` (whole files) and `penin.storage.journal_encryption`.
"""

from __future__ import annotations

import secrets
import uuid
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
from pybase64 import b64decode, b64encode

from penin.errors import (
    CorruptionError,
    FormatError,
    KeyRequiredError,
    NotEncryptedError,
    StorageError,
    UsageError,
    WrongKeyError,
)
from penin.storage.commits import HASH_TAIL_BYTES, stated_hash
from penin.storage.filesystem import read_file, storage_error, write_file_durably

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from penin.storage.filesystem import FileSystem

KEYS_NAME: Final = "keys.json"
KEYS_FORMAT: Final = "penin-keys"
KEYS_VERSION: Final = 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
DATA_KEYS_MAX: Final = 10_000
"""So that `keys.json` is small, and one that is not was not written here."""

_ID_BYTES: Final = 4
_DIRECTORIES: Final = ("checkpoints", "journal", "sealed", "index")


def require_cryptography() -> None:
    """Raise UsageError where what encrypts and signs is not installed. The first call imports."""
    try:
        import cryptography.hazmat.primitives.ciphers.aead  # noqa: F401, PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            "encryption and signatures need cryptography, which is not installed: "
            "pip install 'penin[crypto]'"
        ) from error


class DataKey:
    """One data key: its id, which is no secret, and what is derived from it, which is."""

    def __init__(self, id: str, secret: bytes) -> None:  # its word in the file
        self.id = id
        self._secret = secret

    def __repr__(self) -> str:
        return f"<DataKey {self.id}>"

    def derived(self, salt: bytes, purpose: bytes) -> Any:
        """The AES-256-GCM of one file; no other has the same `salt` and `purpose`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        return AESGCM(HKDF(SHA256(), KEY_BYTES, salt, purpose).derive(self._secret))

    def secret_for_wrapping(self) -> bytes:
        """The key itself; for `keys.json` alone."""
        return self._secret


class KeyRing:
    """The data keys of the store with the id `store`; at least one."""

    def __init__(self, store: str, keys: tuple[DataKey, ...]) -> None:
        self.store = store
        self.keys = keys

    def __repr__(self) -> str:
        return f"<KeyRing of {self.store}, {len(self.keys)} keys>"

    @property
    def current(self) -> DataKey:
        """The one that new files are written with."""
        return self.keys[-1]

    def get(self, id: str) -> DataKey | None:  # as above
        """The data key of that id; None where the ring has none."""
        return next((key for key in self.keys if key.id == id), None)

    def extended(self) -> KeyRing:
        """The same ring with a new data key, which is the current one."""
        taken = {key.id for key in self.keys}
        while (name := secrets.token_hex(_ID_BYTES)) in taken:
            pass
        return KeyRing(self.store, (*self.keys, DataKey(name, secrets.token_bytes(KEY_BYTES))))


class Keys:
    """The master key of an owner, who may have several stores, and the rings that it opens.

    `source` says where it comes from (`file:…`); it holds no secret. `load` gives the master key
    when the first ring is needed, and raises UsageError where there is none. A ring is read once.
    """

    def __init__(self, source: str, load: Callable[[], bytes]) -> None:
        self.source = source
        self._load = load
        self._master: bytes | None = None
        self._rings: dict[Path, KeyRing] = {}

    def __repr__(self) -> str:
        return "<Keys>"

    def ring(self, fs: FileSystem, directory: Path) -> KeyRing:
        """The ring of the store in a directory.

        Raises NotEncryptedError where it has none, WrongKeyError where another master key wrapped
        it, CorruptionError, FormatError for a later version, UsageError, StorageError.
        """
        ring = self._rings.get(directory)
        if ring is None:
            ring = self._rings[directory] = read_ring(fs, directory, self.master)
        return ring

    def begin(self, fs: FileSystem, directory: Path) -> KeyRing:
        """The ring of a store that is being made; made where there is none yet, durably."""
        if fs.exists(directory / KEYS_NAME):
            return self.ring(fs, directory)
        ring = KeyRing(str(uuid.uuid4()), ()).extended()
        write_ring(fs, directory, ring, self.master())
        self._rings[directory] = ring  # perhaps there was another one before, which is gone
        return ring

    def master(self) -> bytes:
        """The master key; raises UsageError where it cannot be had."""
        require_cryptography()
        if self._master is None:
            self._master = self._load()
        return self._master


def is_encrypted(fs: FileSystem, directory: Path) -> bool:
    """Whether the store in a directory is an encrypted one."""
    return fs.exists(directory / KEYS_NAME)


def check_encryption(fs: FileSystem, directory: Path) -> None:
    """Raise unless there is a key for an encrypted store, and none for a plain one.

    KeyRequiredError or NotEncryptedError. Whether it is the right key is told by `Keys.ring`.
    """
    if is_encrypted(fs, directory):
        if fs.keys is None:
            raise KeyRequiredError(directory)
    elif fs.keys is not None:
        raise NotEncryptedError(directory)


def store_of(path: Path) -> Path:
    """The directory of the store that a file in it lies in."""
    parent = path.parent
    return parent.parent if parent.name in _DIRECTORIES else parent


def ring_of(fs: FileSystem, path: Path) -> KeyRing:
    """The ring that is for an encrypted file of a store; see `Keys.ring`.

    Raises KeyRequiredError where no key was given.
    """
    if fs.keys is None:
        raise KeyRequiredError(path)
    return fs.keys.ring(fs, store_of(path))


# -- keys.json --------------------------------------------------------------------------------


class _Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    version: int
    store: str
    keys: list[str]
    wrapped: str
    hash: str


class _Versioned(msgspec.Struct):
    format: str | None = None
    version: int | None = None


def read_ring(fs: FileSystem, directory: Path, master: Callable[[], bytes]) -> KeyRing:
    """Read and unwrap the ring of a store; raises like `Keys.ring`."""
    path = directory / KEYS_NAME
    try:
        line = read_file(fs, path)
    except FileNotFoundError as error:
        raise NotEncryptedError(directory) from error
    except OSError as error:
        raise storage_error(path, error) from error
    if stated_hash(line) != sha256(line[:-HASH_TAIL_BYTES]).hexdigest():
        raise CorruptionError(path, 0, "its hash is wrong")
    try:
        card = _card(line, path)
        wrapped = b64decode(card.wrapped, validate=True)
    except (msgspec.DecodeError, ValueError) as error:
        reason = f"its hash is right and its members are not: {error}"
        raise CorruptionError(path, 0, reason) from error
    data = line[: line.rindex(b',"wrapped"')]
    secrets_ = _unwrapped(wrapped, data, master(), path)
    if len(secrets_) != KEY_BYTES * len(card.keys) or not card.keys:
        raise CorruptionError(path, 0, "it names another number of keys than it holds")
    each = (secrets_[start : start + KEY_BYTES] for start in range(0, len(secrets_), KEY_BYTES))
    return KeyRing(card.store, tuple(map(DataKey, card.keys, each)))


def _card(line: bytes, path: Path) -> _Card:
    found = msgspec.json.decode(line, type=_Versioned)
    if found.format != KEYS_FORMAT or found.version != KEYS_VERSION:
        raise FormatError(
            path,
            f"its format is {found.format!r} version {found.version}; this version reads "
            f"{KEYS_FORMAT!r} version {KEYS_VERSION}",
        )
    return msgspec.json.decode(line, type=_Card)


def _unwrapped(wrapped: bytes, data: bytes, master: bytes, path: Path) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # an extra
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    try:
        return AESGCM(master).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], data)
    except (InvalidTag, ValueError) as error:
        raise WrongKeyError(path) from error


def write_ring(fs: FileSystem, directory: Path, ring: KeyRing, master: bytes) -> None:
    """Put a ring in place, wrapped by a master key, atomically and durably.

    For the owner of the store, who has its lock. Raises StorageError; then the one before is
    there, or, where only the last sync failed, perhaps the new one.
    """
    require_cryptography()
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # an extra

    if len(ring.keys) > DATA_KEYS_MAX:
        raise StorageError(directory, f"its ring has more than {DATA_KEYS_MAX} data keys")
    named = {
        "format": KEYS_FORMAT,
        "version": KEYS_VERSION,
        "store": ring.store,
        "keys": [key.id for key in ring.keys],
    }
    data = msgspec.json.encode(named)[:-1]
    nonce = secrets.token_bytes(NONCE_BYTES)
    each = b"".join(key.secret_for_wrapping() for key in ring.keys)
    wrapped = b64encode(nonce + AESGCM(master).encrypt(nonce, each, data))
    body = data + b',"wrapped":"' + wrapped + b'"'
    line = body + b',"hash":"' + sha256(body).hexdigest().encode() + b'"}\n'
    try:
        write_file_durably(fs, directory / KEYS_NAME, [line])
    except OSError as error:
        raise storage_error(directory / KEYS_NAME, error) from error
