"""Stores that are encrypted, with everything in them, and what of them is to be seen."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from penin.core import NumericVectorArtifact, bulk
from penin.core.formats import encode_state
from penin.core.migration import Schema
from penin.core.snapshots import Envelope
from penin.core.state import State
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.migrating import to_1
from tests.runtime.stores import STORE, open_on
from tests.storage.keyed import keyed

FORMATS = ("json", "safetensors")
CHOSEN = [
    {"format": "json"},
    {"format": "safetensors"},
    {"format": "json", "compress": "gzip"},
    {"format": "safetensors", "compress": "zstd"},
]
each = pytest.mark.parametrize("chosen", CHOSEN)
NEEDLES = (b"needle", b64encode(b"needle-1"), b64encode(b"\0needle-1"), b64encode(b"\0\0needle-1"))
KEYS = [f"needle {row}" for row in range(40)]
MATRIX = np.frombuffer(b"needle-1" * 4 * 40, np.float32).reshape(40, 8)


def bits(state: State) -> bytes:
    """All of a state; of two that differ in a bit, it is not the same."""
    return b"".join(map(bytes, encode_state(state.view(), Envelope(), ".json")))


async def fill(orchestrator: Any) -> None:
    await orchestrator.add_task({"needle": "needle"})
    await orchestrator.put_document("needle", {"needle": [1]})
    await orchestrator.add_knowledge("needle", NumericVectorArtifact([0.5, 1.5], {"needle": 1}))
    await orchestrator.extend_knowledge(KEYS, MATRIX)
    await orchestrator.append_history("needle", "needle")


def paths_in(fs: CrashableFileSystem, directory: Path = STORE) -> list[Path]:
    found = []
    for name in fs.names(directory):
        try:
            found += paths_in(fs, directory / name)
        except NotADirectoryError:
            found.append(directory / name)
    return found


def contents_of(fs: CrashableFileSystem) -> dict[Path, bytes]:
    """All files but the lock, in which stands who tried to open the store."""
    return {path: fs.content(path) for path in paths_in(fs) if path.name != "lock"}


async def made(**chosen: Any) -> CrashableFileSystem:
    """A store with everything in it, killed: snapshots, journal, sealed files, a migration."""
    fs = keyed()
    with pytest.MonkeyPatch.context() as patch:  # forty rows are several sealed files
        patch.setattr(bulk, "BULK_BYTES_MAX", 128)
        patch.setattr(bulk, "PART_BYTES", 500)
        async with open_on(fs, schema=Schema(0, {}), **chosen) as orchestrator:
            await fill(orchestrator)
            await orchestrator.checkpoint()
            await orchestrator.put_document("offset", 10)
            await orchestrator.put_document("needle", "another needle")
        async with open_on(fs, schema=Schema(1, {0: to_1})) as orchestrator:
            await orchestrator.extend_knowledge(
                [f"needle {row}" for row in range(40)], MATRIX[::-1]
            )
            return fs.after_kill()


async def scored(fs: CrashableFileSystem, directory: Path = STORE) -> None:
    async with open_on(fs, directory=directory) as orchestrator:
        await orchestrator.add_score(1.0)
