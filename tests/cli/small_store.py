"""A small store with the same bytes each time, so that what is said of it can be compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from penin.core import NumericVectorArtifact, door
from penin.core.formats import encode_state
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.core.transitions import Message
from penin.storage.commits import ZERO_HASH, encode_commit, encode_header
from penin.storage.journal_names import journal_path
from penin.storage.snapshots import checkpoint_name

STORE_ID = "6f1c7d0e-2b34-4a58-9c6d-7e8f90a1b2c3"


def before_checkpoint() -> list[list[Message]]:
    """The commits that a snapshot holds: seq 1 to 7."""
    single = np.array([0.25, 1.0, -2.0], np.float32)
    return [
        [door.add_score(0.85)],
        [
            door.add_task({"generation": 1}),
            door.transaction(
                [
                    door.add_knowledge("champion", NumericVectorArtifact([0.5, -1.5], {"a": 1})),
                    door.put_document("budget", {"left": 2**70}),
                ]
            ),
        ],
        [
            door.add_knowledge("single", NumericVectorArtifact(single)),
            door.add_score(0.25),
            door.append_history("losses", [1.5, "x"]),
        ],
    ]


def after_checkpoint() -> list[list[Message]]:
    """The commits after it: seq 8 to 12."""
    return [
        [door.add_knowledge("champion", NumericVectorArtifact([0.5, -1.25], {"a": 1}))],
        [
            door.add_score(1.5),
            door.remove_knowledge("single"),
            door.put_document("cursor", "line 7"),
        ],
        [door.add_knowledge("new", NumericVectorArtifact([1, 2]))],
    ]


def write_store(directory: Path, suffix: str = ".json") -> None:
    """Make the store, as a worker that was killed after seq 12 leaves it."""
    journal = directory / "journal"
    journal.mkdir(parents=True)
    writer = _Writer(journal)
    writer.begin_file(epoch=0)
    writer.commit([])
    for messages in before_checkpoint():
        writer.commit(messages)
    envelope = Envelope(STORE_ID, 1, writer.at, writer.hash)
    snapshot = b"".join(encode_state(writer.state.view(), envelope, suffix))
    (directory / f"state{suffix}").write_bytes(snapshot)
    (directory / "checkpoints").mkdir()
    name = checkpoint_name(writer.state.seq, writer.at, suffix)
    (directory / "checkpoints" / name).write_bytes(snapshot)
    writer.begin_file(epoch=1)
    for messages in after_checkpoint():
        writer.commit(messages)


class _Writer:
    """Writes journal files, a commit each minute, and keeps the state that they lead to."""

    def __init__(self, journal: Path) -> None:
        self.state = State()
        self.hash = ZERO_HASH
        self._journal = journal
        self._minute = 0

    @property
    def at(self) -> str:
        return f"2026-01-31T12:{self._minute:02d}:00.000000Z"

    def begin_file(self, epoch: int) -> None:
        first = self.state.seq + 1
        line, self.hash = encode_header(
            store=STORE_ID, epoch=epoch, first=first, forked_from=None, prev=self.hash
        )
        self._path = journal_path(self._journal, first)
        self._path.write_bytes(line)

    def commit(self, messages: list[Message]) -> None:
        before = self.state.seq
        for message in messages:
            self.state.apply(message.body, self.state.seq + 1)
        self._minute += bool(messages)
        line, self.hash = encode_commit(
            epoch=1,
            first=before + 1,
            seq=self.state.seq,
            synced=before,
            at=self.at,
            messages=[message.raw for message in messages],
            prev=self.hash,
        )
        with self._path.open("ab") as file:
            file.write(line)
