"""What a running worker says of itself."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from penin.core.reader import StateReader
from penin.core.values import to_wire
from penin.runtime.metrics import MetricsView

if TYPE_CHECKING:
    from penin.runtime.supervisor import Supervisor


class HistoryStatus(msgspec.Struct, frozen=True):
    """A history: how many items it has, and how many it keeps (None: all)."""

    size: int
    maxlen: int | None


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker at one moment. `dir` is the store, `store` its id, `at` the time of its last commit.

    In `statistics` what JSON has no word for is a tagged value.
    """

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
    at: str | None
    schema_version: int
    statistics: dict[str, Any]
    histories: dict[str, HistoryStatus]
    documents: int
    message_ids: HistoryStatus
    max_knowledge: int | None
    max_store_bytes: int | None
    metrics: MetricsView | None = None  # of a worker that says none, None


def worker_status(supervisor: Supervisor) -> WorkerStatus:
    """What there is to say of a worker whose store is open."""
    actor, journal = supervisor.actor, supervisor.store.journal
    assert actor is not None  # it is built before anybody can ask
    reader = StateReader(actor.state)
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
        at=actor.at,
        schema_version=reader.schema_version,
        statistics=to_wire(reader.get_statistics(), "statistics", escape=True),
        histories={
            name: HistoryStatus(len(history), history.maxlen)
            for name, history in reader.histories.items()
        },
        documents=len(reader.documents),
        message_ids=HistoryStatus(len(actor.state.message_ids), actor.state.message_ids.maxlen),
        max_knowledge=supervisor.settings.max_knowledge,
        max_store_bytes=supervisor.settings.max_store_bytes,
        metrics=supervisor.metrics.view(),
    )
