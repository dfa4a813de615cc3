"""The machine under the benchmarks: what it is, and bringing it into the same state every time."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOAD_MAX: Final = 0.5
"""With more load than this before it starts, a benchmark measures its neighbours as well."""

VOLATILE: Final = frozenset({"tmpfs", "ramfs"})
"""File systems in memory, on which a sync costs nothing and a ratio means nothing."""

_BLOCK: Final = bytes(1 << 20)

sync_file: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)
"""Makes the bytes of a descriptor durable: fdatasync, or fsync where there is no such call."""


def file_system(path: Path) -> str:
    """The type of the file system that holds `path` (`ext4`), or `unknown`."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    path = path.resolve()
    best, kind = Path("/"), "unknown"
    for line in mounts.read_text().splitlines():
        _device, point, mounted_kind, *_options = line.split(" ")
        mount = Path(point.replace("\\040", " "))
        # The last one wins: a later mount on the same point hides an earlier one.
        if path.is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, mounted_kind
    return kind


def load() -> float:
    """How many processes wanted a processor in the last minute; 0 before a benchmark on its own."""
    return round(os.getloadavg()[0], 2)


def describe(directory: Path) -> dict[str, str | int | float]:
    """What the figures depend on besides the code, for a person and for the JSON file."""
    return {
        "file_system": file_system(directory),
        "processors": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        "load": load(),
    }


def warm_page_cache(directory: Path, mebibytes: int) -> None:
    """Writes a file of that size and removes it, so that the memory for as much is at hand.

    A virtual machine gets its memory from the host page by page, at the first touch, and some give
    it back when it was idle. Then the first store of a round would pay for the pages of all: writes
    to a new file are ten times slower into memory that was never touched.
    """
    path = directory / "warm-up"
    with path.open("wb", buffering=0) as file:
        for _ in range(mebibytes):
            file.write(_BLOCK)
    path.unlink()
