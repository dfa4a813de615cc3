"""What a running worker says of itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from penin.runtime.supervisor import Supervisor


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker at one moment. `dir` is the store, `store` its id."""

    pid: int
    phase: str
    dir: str
    store: str
    epoch: int
    fsync: str
    applied_seq: int
    durable_seq: int
    mailbox_messages: int
    mailbox_messages_max: int


def worker_status(supervisor: Supervisor) -> WorkerStatus:
    """What there is to say of a worker whose store is open."""
    actor, journal = supervisor.actor, supervisor.store.journal
    assert actor is not None  # it is built before anybody can ask
    return WorkerStatus(
        pid=os.getpid(),
        phase=supervisor.phase,
        dir=supervisor.store.name,
        store=journal.store,
        epoch=journal.epoch,
        fsync=supervisor.settings.fsync,
        applied_seq=actor.state.seq,
        durable_seq=actor.durable_seq,
        mailbox_messages=len(supervisor.mailbox),
        mailbox_messages_max=supervisor.settings.mailbox_messages_max,
    )
