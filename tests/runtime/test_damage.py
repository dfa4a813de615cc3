"""Damage anywhere in a store, in every format: the same state, a named error, or a stated prefix.

One small store with everything in it that a store can have: two checkpoints, the journal from the
older one on, sealed files, a `rebase`, and messages after the newest checkpoint. Every byte of each
file is changed, one at a time, and each file is cut at every length (all of them with
`PENIN_TESTS=long`, otherwise some that the seed chooses). Then everything is read that can be: the
state as it is now, by a reader and by a recovery, the older checkpoint by itself, and one between
the two checkpoints. What comes out is

- the state that was there,
- or a named error, at the latest when the damaged part is first read,
- or, where the newest journal file was cut or its last byte changed, the state after some earlier
  message, and the reader says that something is missing, unless the cut is between two lines;
- never another state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest

from penin.core import NumericVectorArtifact, bulk
from penin.core.formats import encode_state
from penin.core.migration import Schema
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import RefusedError, StorageError
from penin.runtime.past import read_state, state_at
from penin.runtime.recovery import recover
from penin.runtime.restore import Place
from penin.runtime.store import store_at
from penin.settings import Settings
from penin.storage.journal_names import journal_file
from penin.storage.reader import JournalReader
from penin.storage.snapshots import FileSnapshotStore
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.migrating import to_1
from tests.runtime.stores import JOURNAL, STORE, open_on
from tests.slices import some_of
from tests.storage.keyed import keyed

VARIANTS: dict[str, tuple[bool, dict[str, Any]]] = {
    "json": (False, {"format": "json"}),
    "tensors": (False, {"format": "safetensors"}),
    "json-gzip": (False, {"format": "json", "compress": "gzip"}),
    "tensors-zstd": (False, {"format": "safetensors", "compress": "zstd"}),
    "json-encrypted": (True, {"format": "json"}),
    "tensors-encrypted": (True, {"format": "safetensors"}),
    "json-zstd-encrypted": (True, {"format": "json", "compress": "zstd"}),
}
MATRIX = np.arange(36, dtype=np.float32).reshape(9, 4)
PLACES = 4
"""So many bytes and lengths of each file, where not all of them are tried."""


class Whole(NamedTuple):
    """A store that is whole, and what is in it."""

    fs: CrashableFileSystem
    states: dict[int, bytes]
    """Of every seq that is the end of a message and kept; the newest is the last."""
    checkpoints: list[int]

    @property
    def last_seq(self) -> int:
        return max(self.states)


def bits(state: State) -> bytes:
    """All of a state, every byte of it read."""
    return b"".join(map(bytes, encode_state(state.view(), Envelope(), ".json")))


async def _lived(fs: CrashableFileSystem, **chosen: Any) -> CrashableFileSystem:
    keys = [f"row {row}" for row in range(9)]
    async with open_on(fs, schema=Schema(0, {}), **chosen) as orchestrator:
        await orchestrator.put_document("offset", 7)
        await orchestrator.add_score(float("inf"))
        await orchestrator.checkpoint()
        await orchestrator.add_knowledge("a", NumericVectorArtifact([0.5, -1.5], {"n": 2**70}))
        await orchestrator.extend_knowledge(keys, MATRIX)
    async with open_on(fs, schema=Schema(1, {0: to_1})) as orchestrator:
        await orchestrator.add_task({"name": "first"})
        await orchestrator.checkpoint()
        await orchestrator.extend_knowledge(keys, MATRIX[::-1])
        async with orchestrator.transaction() as t:
            t.add_score(0.5)
            t.remove_knowledge("a")
        await orchestrator.append_history("rewards", 3)
        return fs.after_kill()


@cache
def whole(name: str) -> Whole:
    """The store of a variant, made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "BULK_BYTES_MAX", 48)
        patch.setattr(bulk, "PART_BYTES", 64)
        is_encrypted, chosen = VARIANTS[name]
        fs = asyncio.run(_lived(keyed() if is_encrypted else CrashableFileSystem(), **chosen))
    kept = [file.seq for file in FileSnapshotStore(fs, STORE).checkpoints()]
    last = read_state(STORE, fs).seq
    found = (state_at(STORE, seq=seq, fs=fs).state for seq in range(kept[0], last + 1))
    return Whole(fs, {state.seq: bits(state) for state in found}, kept)


def files_of(fs: CrashableFileSystem) -> list[Path]:
    """Every file once, though it may have two names; but for the state before the migration."""
    found: dict[int, Path] = {}
    for part in ("", "checkpoints", "journal", "sealed"):
        for name in fs.names(STORE / part):
            path = STORE / part / name
            if "." in name or part == "sealed":
                found.setdefault(id(fs._file(path)), path)
    return [path for path in found.values() if not path.name.startswith("state.before-schema")]


def damages(kind: str, name: str, content: bytes) -> Iterator[bytes]:
    """What is in a file instead: with a byte changed, or cut."""
    for at in some_of(f"{kind} {name}", len(content), PLACES):
        if kind == "cut":
            yield content[:at]
        else:
            changed = bytearray(content)
            changed[at] ^= 1 << at % 8
            yield bytes(changed)


def recovered(fs: CrashableFileSystem) -> State:
    """What an opening for writing gives."""
    store = store_at(STORE, Settings(), fs)
    store.prepare(0.0, lambda _: None)
    try:
        return recover(store, Settings(), lambda: False).state
    finally:
        store.release()


def is_told(fs: CrashableFileSystem) -> bool:
    """Whether a reader says that something at the end is missing."""
    reader = JournalReader(fs, JOURNAL)
    reader.read_to_end(reader.files()[-1].first - 1)
    return reader.end is not None and (reader.end.tail is not None or reader.end.header_broken)


def check(store: Whole, fs: CrashableFileSystem, *, may_be_prefix: bool, is_between: bool) -> None:
    """Read everything that can be, and compare it."""
    now: list[Callable[[], State]] = [lambda: read_state(STORE, fs)]
    now.append(lambda: recovered(fs.after_kill()))
    for read in now:
        try:
            state = read()
            found = bits(state)
        except (StorageError, FileNotFoundError):
            continue
        assert found == store.states.get(state.seq), "another state"
        if state.seq != store.last_seq:
            assert may_be_prefix
            assert is_between or is_told(fs)
    older, newer = store.checkpoints
    between = max(seq for seq in store.states if seq < newer)
    for place, seq in ((Place(checkpoint=older), older), (Place(seq=between), between)):
        try:
            past = state_at(STORE, **msgspec.structs.asdict(place), fs=fs)
            found = bits(past.state)
        except (StorageError, FileNotFoundError, RefusedError):
            continue
        assert found == store.states[seq], f"another state at {place}"


@pytest.mark.sliced
@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", ["changed", "cut"])
def test_damage_anywhere_in_a_store_is_the_same_state_a_named_error_or_a_prefix(kind, name):
    store = whole(name)
    fs = store.fs
    paths = files_of(fs)
    assert {path.parent.name for path in paths} == {"store", "checkpoints", "journal", "sealed"}
    newest = max(path for path in paths if journal_file(path) is not None)
    for path in paths:
        content = fs.content(path)
        for damaged in damages(kind, f"{name} {path.name}", content):
            fs.replace_content(path, damaged)
            is_between = kind == "cut" and (not damaged or damaged.endswith(b"\n"))
            is_end = kind == "cut" or damaged[:-1] == content[:-1]
            check(store, fs, may_be_prefix=path == newest and is_end, is_between=is_between)
        fs.replace_content(path, content)
    check(store, fs, may_be_prefix=False, is_between=False)
    assert bits(read_state(STORE, fs)) == store.states[store.last_seq]
