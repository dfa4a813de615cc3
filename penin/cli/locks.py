"""Who holds the lock of a store, found out without touching it.

A probe with `flock` would be seen by a writer that starts at the same moment, and `fcntl` does not
see `flock` locks. The kernel's own list has them (`/proc/locks`), and reading it takes nothing. It
shows the locks of this host only, and of this container where there is one.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from penin.storage.filesystem import OsFileSystem
from penin.storage.lock import StoreLock

LOCKS_PATH: Final = Path("/proc/locks")


class LockState(msgspec.Struct, frozen=True):
    """Whether the lock is held (None: cannot be told from here), and what its last holder wrote.

    `pid` and `host` are information, not proof: a child that was forked off can hold the lock of a
    parent that is dead.
    """

    held: bool | None
    pid: int | None
    host: str | None


def lock_state(directory: Path, locks_path: Path = LOCKS_PATH) -> LockState:
    """The lock of the store in a directory, as it is now. Takes nothing and changes nothing."""
    written = StoreLock(OsFileSystem(), directory).holder()
    pid, host = (None, None) if written is None else (written.pid, written.host)
    try:
        status = (directory / "lock").stat(follow_symlinks=False)
    except OSError:
        return LockState(held=False, pid=None, host=None)
    try:
        lines = locks_path.read_text("ascii", "replace").splitlines()
    except OSError:
        return LockState(None, pid, host)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    held = _is_held(lines, device, status.st_ino, pid)
    if not held and host is not None and host != socket.gethostname():
        return LockState(None, pid, host)  # its locks are not in this host's list
    return LockState(held, pid, host)


def _is_held(lines: list[str], device: str, inode: int, pid: int | None) -> bool:
    """Whether the kernel's list has the lock.

    Some file systems (btrfs, overlays) tell programs another device than they tell the kernel: then
    the number of the file and the process that wrote itself down have to do.
    """
    for line in lines:
        fields = line.replace("->", " ").split()
        if len(fields) < 6 or fields[1] != "FLOCK":  # noqa: PLR2004  # up to the file's identity
            continue
        holder, identity = fields[4], fields[5]
        if "->" in line or not identity.endswith(f":{inode}"):
            continue  # somebody who waits for it
        if identity == f"{device}:{inode}" or (pid is not None and holder == str(pid)):
            return True
    return False
