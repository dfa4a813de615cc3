"""Master keys for tests, and file systems that have one."""

from __future__ import annotations

from hashlib import sha256

from penin.storage.filesystem import OsFileSystem
from penin.storage.keys import DataKey, KeyRing, Keys
from tests.fakes.crashable_filesystem import CrashableFileSystem

STORE_ID = "6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3"


def master_of(name: str) -> bytes:
    return sha256(name.encode()).digest()


def keys_of(name: str = "first") -> Keys:
    """Keys with a master key that goes by this name, as another process would have them."""
    return Keys(f"file:{name}", lambda: master_of(name))


def keyed(fs: CrashableFileSystem | None = None, name: str = "first") -> CrashableFileSystem:
    """A disk, and who uses it has that master key."""
    disk = CrashableFileSystem() if fs is None else fs
    disk.keys = keys_of(name)
    return disk


def os_keyed(name: str = "first") -> OsFileSystem:
    """The real file system, with that master key."""
    return OsFileSystem(keys_of(name))


def a_ring(store: str = STORE_ID, keys: int = 1) -> KeyRing:
    """A ring with the same data keys each time."""
    return KeyRing(
        store, tuple(DataKey(f"{number:08x}", master_of(str(number))) for number in range(keys))
    )
