"""Bringing a store to another schema version: by its owner's migrations, as one `rebase`.

The functions run before anything is written, on the state that was recovered. Then, in this order:
the state as it was is kept beside, the new one is written to a sealed file, read back, and named by
a commit of one `rebase`. Each is durable before the next begins, so a crash leaves the store at the
version before or at the new one; in the first case the next opening does all of it again.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec

from penin.core.difference import Difference
from penin.core.formats import encode_state
from penin.core.migration import Outcome, Schema, migrated
from penin.core.replay import loaded
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.transitions import Rebase, RebaseLoaded, SnapshotFile, encode_body
from penin.runtime.clock import now_text
from penin.runtime.store import Store
from penin.storage.mapped import whole_blocks
from penin.storage.snapshots import JSON_SUFFIX


class Migrated(msgspec.Struct, frozen=True):
    """A migration that was made: `original` is the snapshot of the state before it."""

    found: int
    version: int
    seq: int
    at: str
    difference: Difference
    original: Path | None
    seconds: float


class Upgrade:
    """What is to become of the state of one store; nothing is written before `store_it`.

    Making one runs the owner's functions, and raises what `migrated` raises.
    """

    def __init__(self, state: State, schema: Schema | None, place: str) -> None:
        self._begun_s = time.monotonic()
        self._state = state
        self._outcome = None if schema is None else migrated(state, schema, place)

    def store_it(self, store: Store, at: str) -> Migrated | None:
        """Change the state and the store, whose journal is open; None where nothing is to be done.

        `at` is the time of the last commit before. Durable on return. Raises StorageError; then
        nothing but an epoch and perhaps a kept original has changed in the store, or, with
        JournalFailedError, it is unknown whether the rebase is there.
        """
        state, outcome = self._state, self._outcome
        if outcome is None:
            return None
        seq, now = state.seq + 1, now_text()
        original = None
        body = Rebase(schema_version=outcome.version)
        ready = body
        if not outcome.is_new:
            original = _keep_original(store, state, outcome, at)
            ready = _seal(store, state, outcome, seq)
            body = Rebase(schema_version=outcome.version, snapshot=ready.snapshot)
        store.journal.append(seq, seq, now, [encode_body(body)])
        store.journal.sync()
        state.apply(ready, seq)
        if body.snapshot is not None and store.sealed is not None:
            store.sealed.settle(body.snapshot.file, seq)
        seconds = time.monotonic() - self._begun_s
        difference = outcome.difference
        return Migrated(outcome.found, outcome.version, seq, now, difference, original, seconds)


def _keep_original(store: Store, state: State, outcome: Outcome, at: str) -> Path:
    journal, snapshots = store.journal, store.snapshots
    envelope = Envelope(journal.store, journal.epoch, at, journal.head_hash)
    blocks = encode_state(state.view(), envelope, snapshots.suffix, store.level)
    return snapshots.keep(f"before-schema-{outcome.version}", state.seq, blocks)


def _seal(store: Store, state: State, outcome: Outcome, seq: int) -> RebaseLoaded:
    """Write the new state to a sealed file, and read it back: so replay will give the same."""
    is_json = store.snapshots.suffix.startswith(JSON_SUFFIX)
    format_: Literal["json", "safetensors"] = "json" if is_json else "safetensors"
    assert store.sealed is not None, "a store in memory is new whenever it is opened"
    outcome.put_into(state, seq)
    view = msgspec.structs.replace(state.view(), seq=seq)
    # Outside of any store, as a file of `save_state`: the hash of its commit is not known yet.
    blocks = encode_state(view, Envelope(), f".{format_}")
    sealed = store.sealed.put(whole_blocks(blocks))
    snapshot = SnapshotFile(sealed.name, format_)
    body = Rebase(schema_version=outcome.version, snapshot=snapshot)
    return loaded(body, snapshot, lambda _name: sealed.file.unchecked())
