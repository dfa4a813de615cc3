"""What the log says of a recovery, in the words of the table of events."""

from __future__ import annotations

from penin.errors import CorruptionError, PeninError
from penin.logs import EventLog
from penin.runtime.recovery import Recovered
from penin.runtime.store import Store
from penin.storage.lock import Holder


def log_waiting(log: EventLog, store: Store, holder: Holder | None, wait_s: float) -> None:
    """The lock is held by somebody else."""
    fields: dict[str, object] = {}
    if holder is not None:
        fields = {"pid": holder.pid, "host": holder.host}
    log.info("store.waiting", dir=store.name, wait_s=wait_s, **fields)


def log_unrecovered(log: EventLog, error: PeninError) -> None:
    """The store cannot be opened."""
    fields: dict[str, object] = {}
    if isinstance(error, CorruptionError):
        fields = {"path": str(error.path), "position": error.position}
    log.error("recovery.failed", cause=str(error), **fields)


def log_recovered(
    log: EventLog, store: Store, recovered: Recovered, fsync: str, seconds: float
) -> None:
    """The state is back, and open for writing."""
    state, repairs = recovered.state, recovered.repairs
    if recovered.original is not None:
        log.info("store.converted", dir=store.name, original=str(recovered.original), seq=state.seq)
    for damaged in recovered.set_aside:
        log.warning(
            "snapshot.set_aside",
            path=str(damaged.path),
            set_aside=str(damaged.aside),
            cause=damaged.cause,
        )
    optional: dict[str, object] = {
        "snapshot_seq": recovered.snapshot_seq,
        "first_replayed_seq": recovered.first_replayed_seq,
        "last_replayed_seq": recovered.last_replayed_seq,
    }
    if repairs.torn is not None:
        optional["cut_bytes"] = repairs.torn.size
        optional["set_aside"] = str(repairs.torn_path)
    log.info(
        "recovery.finished",
        loaded="no previous state" if recovered.is_new else "previous state",
        seconds=round(seconds, 6),
        knowledge_base_size=len(state.knowledge_base),
        task_history_size=len(state.task_history),
        score_history_size=len(state.score_history),
        **{name: value for name, value in optional.items() if value is not None},
    )
    _log_migrated(log, recovered)
    journal = store.journal
    log.info(
        "store.opened",
        dir=store.name,
        store=journal.store,
        epoch=journal.epoch,
        seq=state.seq,
        fsync=fsync,
    )


def log_closed(log: EventLog, store: Store, seq: int) -> None:
    """The lock is given up."""
    log.info("store.closed", dir=store.name, seq=seq, durable_seq=store.journal.durable_seq)


def _log_migrated(log: EventLog, recovered: Recovered) -> None:
    """The state is of another schema version now, unless there was nothing in it."""
    migrated = recovered.migrated
    if migrated is None or migrated.original is None:
        return
    found = migrated.difference
    documents = found.documents
    log.info(
        "schema.migrated",
        schema_version=migrated.version,
        previous=migrated.found,
        seq=migrated.seq,
        documents=len(documents.added) + len(documents.changed) + len(documents.removed),
        histories=len(found.histories),
        metadata=len(found.knowledge_base.changed),
        original=str(migrated.original),
        seconds=round(migrated.seconds, 6),
    )
