"""Every event that PENIN logs, as data: the documented table, which the code is held to.

Beside the fields of the table, every line has `timestamp`, `level` and `event`, and the context
variables (`structlog.contextvars`) of whoever caused the event: for a transition its sender's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Level = Literal["debug", "info", "warning", "error"]


class Event(NamedTuple):
    """One row of the table. `fields` are always there, `optional` where they apply."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


EVENTS: Final[dict[str, Event]] = {
    "state.transition": Event(
        "info",
        "A transition was applied; what it promises under `fsync` held before.",
        ("seq", "type", "source", "result"),
        ("key", "name", "count", "maxlen", "failed_seq", "id", "source_name", "line", "trace"),
    ),
    "supervisor.phase": Event(
        "info",
        "The supervisor went from one phase to the next.",
        ("phase", "previous"),
        ("reason", "seconds"),
    ),
    "store.waiting": Event(
        "info",
        "Another process has the store open; its lock is waited for.",
        ("dir", "wait_s"),
        ("pid", "host"),
    ),
    "store.opened": Event(
        "info",
        "The store is locked and open for writing.",
        ("dir",),
        ("store", "epoch", "seq", "fsync"),
    ),
    "store.converted": Event(
        "info",
        "A state of the original format, or one saved outside a store, became this store.",
        ("dir", "original"),
        ("seq",),
    ),
    "schema.migrated": Event(
        "info",
        "The owner's migrations brought the state to another schema version, as one transition.",
        (
            "schema_version",
            "previous",
            "seq",
            "documents",
            "histories",
            "metadata",
            "original",
            "seconds",
        ),
    ),
    "store.closed": Event(
        "info",
        "The last write is done and the lock is given up.",
        ("dir", "seq"),
        ("durable_seq",),
    ),
    "recovery.started": Event("info", "The newest snapshot is about to be read.", ("dir",)),
    "recovery.finished": Event(
        "info",
        "The state is what it was; `loaded` says whether there was one at all.",
        (
            "loaded",
            "seconds",
            "knowledge_base_size",
            "task_history_size",
            "score_history_size",
        ),
        (
            "snapshot_seq",
            "first_replayed_seq",
            "last_replayed_seq",
            "cut_bytes",
            "set_aside",
        ),
    ),
    "snapshot.set_aside": Event(
        "warning",
        "A damaged snapshot was given another name; an older one and the journal after it gave the "
        "same state.",
        ("path", "set_aside", "cause"),
    ),
    "recovery.abandoned": Event(
        "info", "A signal came while recovering; nothing was written.", ("signal",), ("seconds",)
    ),
    "recovery.failed": Event(
        "error",
        "The store cannot be opened; nothing was changed.",
        ("cause",),
        ("path", "position", "exception"),
    ),
    "checkpoint.finished": Event(
        "info",
        "A snapshot is durable and the journal that it covers is retired.",
        ("reason", "seq", "bytes", "seconds"),
    ),
    "checkpoint.large_json": Event(
        "info",
        "The snapshot is large for JSON: a store of the format safetensors is faster (said once).",
        ("bytes", "limit"),
    ),
    "reclaim.failed": Event(
        "error",
        "The space of replaced vectors was not given back: a mapped snapshot is damaged.",
        ("path", "cause"),
    ),
    "index.built": Event(
        "info",
        "An approximate index was built or brought up to date, and is asked from now on.",
        ("metric", "dimension", "seq", "count", "seconds"),
    ),
    "index.loaded": Event(
        "info",
        "An approximate index of an earlier run is asked from now on.",
        ("metric", "dimension", "seq", "count"),
    ),
    "index.dropped": Event(
        "warning",
        "An approximate index on the disk cannot be used and is removed; it is built again when "
        "it is asked for.",
        ("path", "cause"),
    ),
    "index.failed": Event(
        "warning",
        "An approximate index could not be built; recall is exact, or as it was, meanwhile.",
        ("cause",),
        ("metric", "dimension", "delay_s"),
    ),
    "checkpoint.skipped": Event(
        "debug",
        "A checkpoint was due, and nothing had changed or it would not have paid for itself.",
        ("reason", "seq"),
    ),
    "checkpoint.failed": Event(
        "error",
        "A checkpoint did not happen; the journal has everything, and it is tried again.",
        ("reason", "seq", "cause"),
        ("seconds", "exception"),
    ),
    "checkpoint.unretired": Event(
        "warning",
        "The checkpoint is there; what it makes superfluous could not be deleted yet.",
        ("seq", "cause"),
    ),
    "checkpoint.uncompressed": Event(
        "warning",
        "The checkpoint is there; the journal that is kept before it could not be compressed yet.",
        ("seq", "cause"),
    ),
    "checkpoint.unsigned": Event(
        "warning",
        "The checkpoint is there; the head of the ledger could not be signed.",
        ("seq", "cause"),
    ),
    "bounds.near": Event(
        "warning",
        "Nine tenths of what a bound allows are reached (said once, until it is less again).",
        ("bound", "used", "limit"),
    ),
    "bounds.reached": Event(
        "warning",
        "A bound is reached: messages are refused, with `when_full` or until there is room.",
        ("bound", "used", "limit"),
    ),
    "journal.failed": Event(
        "error",
        "Writing the journal failed with an unknown outcome; the actor has stopped for good.",
        ("path", "cause"),
        ("seq", "exception"),
    ),
    "storage.full": Event(
        "warning",
        "There is no room; messages are refused, certainly not stored, and reads go on.",
        ("cause",),
        ("path", "seq"),
    ),
    "storage.has_room": Event("info", "There is room again; messages are stored.", (), ("seq",)),
    "actor.failed": Event(
        "error",
        "A bug of ours: something raised while applying, and the actor has stopped for good.",
        ("cause",),
        ("seq", "type", "exception"),
    ),
    "signal.received": Event("info", "A signal came.", ("signal",), ("phase", "action")),
    "worker.started": Event("info", "A worker runs.", ("worker",), ("failures",)),
    "worker.returned": Event("info", "A worker has done its work.", ("worker",), ("seconds",)),
    "worker.failed": Event(
        "error",
        "A worker raised.",
        ("worker", "cause", "failures"),
        ("seconds", "exception"),
    ),
    "worker.restarting": Event(
        "warning",
        "A worker that raised is started again after a pause.",
        ("worker", "delay_s", "failures"),
    ),
    "worker.gave_up": Event(
        "error",
        "A worker failed too often; the process stops.",
        ("worker", "failures", "within_s"),
        ("cause",),
    ),
    "worker.cancelled": Event(
        "warning",
        "A worker was still running when its time to stop was over.",
        ("worker",),
        ("grace_s", "seconds"),
    ),
    "worker.abandoned": Event(
        "warning",
        "Everything is saved, and something of a worker has not ended; it is left behind.",
        ("worker", "cause"),
    ),
    "watchdog.withheld": Event(
        "error",
        "The service manager gets no sign of life while this lasts; in the end it kills the "
        "process.",
        ("cause",),
    ),
    "service_manager.unheard": Event(
        "warning",
        "The service manager cannot be told how it is; it is tried again, and this is said once.",
        ("path", "cause"),
    ),
    "ingress.opened": Event("info", "A way in is open.", ("source",), ("name",)),
    "ingress.ended": Event(
        "info",
        "A way in has ended.",
        ("source",),
        ("name", "taken", "repeated", "refused", "seconds"),
    ),
    "ingress.failed": Event(
        "error",
        "Refused lines cannot be kept in their file; everything stops.",
        ("path", "cause"),
    ),
    "socket.failed": Event(
        "warning",
        "The socket of the store could not be made; the worker runs without.",
        ("path", "cause"),
    ),
    "connection.refused": Event(
        "warning", "A process of another user wanted to use the socket.", ("uid", "pid")
    ),
    "connection.failed": Event(
        "error",
        "A bug of ours: something raised while a connection was served, which was closed.",
        ("cause",),
        ("exception",),
    ),
    "metrics.served": Event("info", "Metrics and health can be asked for over HTTP.", ("address",)),
    "message.refused": Event(
        "warning",
        "A message from outside was refused at the door; nothing changed.",
        ("source", "field", "reason"),
        ("name", "line", "id"),
    ),
    "message.repeated": Event(
        "debug",
        "A message with the `id` of an earlier one was answered as that one, and not applied.",
        ("seq", "id"),
    ),
    "log.unopened": Event(
        "warning",
        "SIGHUP came, and the log file could not be opened anew; the one before goes on.",
        ("path", "cause"),
    ),
    "log.dropped": Event(
        "warning",
        "The log could not keep up; this many events are missing here (the journal has all).",
        ("count",),
    ),
}

FIELDS: Final[dict[str, str]] = {
    "address": "the host and the port",
    "action": "what the signal led to",
    "bound": "`max_knowledge` or `max_store_bytes`",
    "bytes": "the size of the snapshot, in bytes",
    "cause": "what went wrong, in a sentence",
    "count": "how many: keys, items or scores of a bulk transition; vectors in an index; events "
    "that are missing",
    "cut_bytes": "the length of the torn tail that was cut off, in bytes",
    "delay_s": "the pause, in seconds; of an index, before it may be tried again",
    "limit": "the size from which on this is said, in bytes; of a bound, what it allows",
    "dimension": "how many numbers a vector has",
    "dir": "the absolute path of the store",
    "documents": "how many documents are new, changed or gone",
    "durable_seq": "the last transition that is certainly on the disk",
    "epoch": "how often the store has been opened for writing",
    "exception": "the traceback",
    "failed_seq": "the transition on whose `if_seq` the transaction failed",
    "failures": "how often the worker has failed within the stated time",
    "field": "the path of what was refused, such as `task.items[3].price`",
    "first_replayed_seq": "the first transition taken from the journal",
    "fsync": "`always` or `everysec`",
    "grace_s": "the time that the worker was given, in seconds",
    "histories": "how many histories are new, changed or gone",
    "host": "the host that the lock's holder wrote down: information, not proof",
    "id": "the message's own `id`",
    "key": "the key in the knowledge base",
    "knowledge_base_size": "the number of artifacts",
    "last_replayed_seq": "the last transition taken from the journal",
    "line": "the line in the file or stream, from 1",
    "loaded": "`no previous state` the first time, `previous state` after that",
    "maxlen": "the new bound of the history",
    "metadata": "how many artifacts have other metadata",
    "metric": "`cosine`, `dot` or `euclidean`",
    "name": "the history or document of a transition; the file or the sender of a way in",
    "original": "the absolute path of the kept original",
    "path": "the absolute path of the file",
    "phase": "starting, recovering, running, draining, stopped or failed",
    "pid": "the process that the lock's holder wrote down (information, not proof), or that "
    "connected",
    "position": "the byte in the file",
    "previous": "the phase before; the schema version before",
    "reason": "why: of a checkpoint `timer`, `transitions`, `request`, `signal`, `bytes` or "
    "`shutdown`; of a refusal or a phase, in words",
    "refused": "the number of messages that were refused",
    "repeated": "how many of those that were taken were known by their `id`",
    "result": "`ok`, `missing` or `conflict`",
    "schema_version": "the version of the owner's data",
    "score_history_size": "the number of scores",
    "seconds": "how long it took",
    "seq": "the number of the transition, or of the last one that it is about",
    "set_aside": "the absolute path of the file that keeps what was cut off, or of what is damaged",
    "signal": "the signal's name, such as `SIGTERM`",
    "snapshot_seq": "the last transition in the snapshot",
    "source": "who sent it: `python`, `stdin`, `file`, `socket`, `eviction` or as its `from` says",
    "source_name": "the sender's file or connection",
    "store": "the id of the store",
    "taken": "the number of messages that were taken",
    "task_history_size": "the number of tasks",
    "trace": "the trace that the message belongs to",
    "type": "the type of the transition",
    "uid": "the user that a process belongs to",
    "used": "how much of it there is",
    "wait_s": "how long the lock is waited for, in seconds",
    "within_s": "the stated time, in seconds",
    "worker": "the worker, as `module:function`",
}


def undocumented(event: str, level: str, fields: Iterable[str]) -> str | None:
    """What the table does not say about such an event, as a sentence; None if it says all of it.

    `exc_info`, which turns into `exception`, counts as that.
    """
    row = EVENTS.get(event)
    if row is None:
        return f"{event} is not in the table"
    if row.level != level:
        return f"{event} is {row.level} in the table, not {level}"
    given = {"exception" if field == "exc_info" else field for field in fields}
    unknown = given - set(row.fields) - set(row.optional)
    if unknown:
        return f"{event} has no field {', '.join(sorted(unknown))} in the table"
    missing = set(row.fields) - given
    if missing:
        return f"{event} lacks {', '.join(sorted(missing))}"
    return None


def events_markdown() -> str:
    """The table of events and the table of their fields, as Markdown, for the documentation."""
    lines = ["| event | level | meaning | fields |", "|---|---|---|---|"]
    for name, row in EVENTS.items():
        fields = [f"`{field}`" for field in row.fields]
        fields += [f"*`{field}`*" for field in row.optional]
        lines.append(f"| `{name}` | {row.level} | {row.meaning} | {', '.join(fields)} |")
    lines += ["", "| field | meaning |", "|---|---|"]
    lines += [f"| `{field}` | {meaning} |" for field, meaning in sorted(FIELDS.items())]
    return "\n".join(lines) + "\n"
