"""`penin status`: what a store holds, for people and for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    files_of,
    option,
    store_directory,
)
from penin.cli.tables import print_json, print_rows
from penin.cli.terminal import counted

MaxKnowledgeOption = Annotated[
    int | None,
    option(
        "max_knowledge",
        "A bound that the artifacts are shown beside; without it that of the worker that runs.",
        min=1,
    ),
]
MaxStoreBytesOption = Annotated[
    int | None,
    option(
        "max_store_bytes",
        "A bound that the bytes are shown beside; without it that of the worker that runs.",
        min=1,
    ),
]

if TYPE_CHECKING:
    from penin.cli.locks import LockState
    from penin.cli.store_status import BoundStatus, StoreStatus, WorkerAnswer


def status(
    *,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    max_knowledge: MaxKnowledgeOption = None,
    max_store_bytes: MaxStoreBytesOption = None,
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    from penin.cli.store_status import read_status, with_bounds

    found = read_status(store_directory(dir), files_of(key_from))
    found = with_bounds(found, max_knowledge, max_store_bytes)
    if json:
        print_json(found)
    else:
        print_rows(_rows(found))
    return ExitCode.SUCCESS


def _rows(found: StoreStatus) -> list[tuple[str, str]]:
    statistics, checkpoint, journal = found.statistics, found.checkpoint, found.journal
    rows = [
        ("store", found.dir),
        ("id", found.store or "none yet: not opened by this version"),
        ("epoch", "none" if found.epoch is None else str(found.epoch)),
        ("seq", f"{found.seq:,}" + (f" at {found.last_commit_at}" if found.last_commit_at else "")),
        ("schema version", str(found.schema_version)),
        ("knowledge base", counted(statistics["knowledge_base_size"], "artifact")),
    ]
    for name, history in found.histories.items():
        bound = "all kept" if history.maxlen is None else f"the newest {history.maxlen:,} kept"
        rows.append((name, f"{counted(history.size, 'item')} ({bound})"))
    rows += [
        ("average score", f"{statistics['avg_score']:g}"),
        ("documents", f"{found.documents:,}"),
    ]
    if found.message_ids.size:
        known = f"{found.message_ids.size:,} (the last {found.message_ids.maxlen:,} are known)"
        rows.append(("message ids", known))
    if checkpoint is None:
        rows.append(("checkpoint", "none yet"))
    else:
        at = f" at {checkpoint.at}" if checkpoint.at else ""
        size = counted(checkpoint.size_bytes, "byte")
        rows.append(("checkpoint", f"seq {checkpoint.seq:,}{at}, {size}, {checkpoint.kept} kept"))
    files = f"{counted(journal.size_bytes, 'byte')} in {counted(journal.files, 'file')}"
    if journal.incomplete_bytes:
        files += f", {journal.incomplete_bytes:,} of them an incomplete commit at the end"
    rows.append(("journal", files))
    for index in found.indexes:
        text = f"seq {index.seq:,}, {counted(index.vectors, 'vector')} of {index.dimension}"
        size = counted(index.size_bytes, "byte")
        rows.append(("index", f"{index.metric}: {text}, {size}"))
    if found.rejected_bytes:
        rows.append(("rejected.jsonl", counted(found.rejected_bytes, "byte")))
    rows += [(each.bound, _bound(each)) for each in found.bounds]
    rows += [("damaged", f"{damaged.path}: {damaged.cause}") for damaged in found.damaged]
    rows += [("set aside", path) for path in found.set_aside]
    if found.worker is not None:
        rows.append(("worker", _worker(found.worker)))
    formats = journal.format if checkpoint is None else f"{checkpoint.format}, {journal.format}"
    rows += [("format", formats), ("lock", _holder(found.lock))]
    return rows


def _worker(worker: WorkerAnswer) -> str:
    waiting = f"{worker.mailbox_messages:,} of {worker.mailbox_messages_max:,} messages waiting"
    durable = f"durable to seq {worker.durable_seq:,} (fsync {worker.fsync})"
    return f"process {worker.pid}, {worker.phase}, {durable}, {waiting}"


def _bound(found: BoundStatus) -> str:
    text = f"{found.used:,} of {found.limit:,}"
    return text if found.stands == "within" else f"{text}: {found.stands}"


def _holder(lock: LockState) -> str:
    written = "" if lock.pid is None else f"process {lock.pid} on {lock.host}"
    if lock.held is None:
        return f"cannot be told from here; last taken by {written}" if written else "unknown"
    if lock.held:
        return f"held by {written or 'a process that has not written itself down'}"
    return f"free ({written} ended without giving it up)" if written else "free"
