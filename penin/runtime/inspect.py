"""Looking into one file: what it is, what is in it, and where it is damaged. Nothing is changed."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from penin.core.formats import decode_state
from penin.core.snapshot_reader import salvage_snapshot
from penin.core.snapshots import FORMAT, Envelope
from penin.core.state import State
from penin.core.summary import StateSummary, column_summary, sum_of_columns, summary_of
from penin.core.tensors import TENSORS_FORMAT
from penin.core.tensors_reader import SalvagedTensors, damaged_blocks, salvage_tensors
from penin.core.transitions import Transaction, decode_messages, transition_count
from penin.errors import CorruptionError, PeninError
from penin.runtime.files import given_file, kind_of, medium_of, shown_name
from penin.settings import Compression
from penin.storage.commits import JOURNAL_FORMAT, JOURNAL_VERSION, Commit, ForkedFrom
from penin.storage.compression import content_of, split_suffix, suffix_of
from penin.storage.filesystem import FileBlocks, FileSystem, OsFileSystem
from penin.storage.journal_file import JournalFileScan
from penin.storage.snapshots import JSON_SUFFIX, TENSORS_SUFFIX, SnapshotBlocks
from penin.storage.tail import Torn

ORIGINAL: Final = "original"
"""What the format of version 1 is called: it does not name itself."""
DAMAGES_MAX: Final = 100
"""How many damaged places are told."""


class Damage(msgspec.Struct, frozen=True):
    """A place that is damaged: a byte of the file, and what is wrong there."""

    position: int
    reason: str


class InspectedSnapshot(msgspec.Struct, frozen=True, tag_field="kind", tag="snapshot"):
    """A snapshot file. Where `damage` is told, what is said of the content is not proven.

    `size_bytes` is that of the file, which may be compressed; the positions of damage are those of
    its content. `digest` is none for version 1, which has none. What stands in a state file is None
    where the file has null for it, or where it cannot be read; `state` is None where nothing of it
    can be.
    """

    path: str
    format: str
    version: int | None
    size_bytes: int
    digest: Literal["right", "wrong", "none"]
    damage: list[Damage]
    store: str | None = None
    epoch: int | None = None
    seq: int | None = None
    at: str | None = None
    schema_version: int | None = None
    journal_hash: str | None = None
    state: StateSummary | None = None
    compression: Compression | None = None


class InspectedJournal(msgspec.Struct, frozen=True, tag_field="kind", tag="journal"):
    """A journal file, up to where it is torn or damaged.

    `first_seq` is the seq that it begins with, `last_seq` that of its last transition (None: there
    is none), `hash` that of its last line. `commits` are those with messages, `openings` those
    that open an epoch. `messages` counts by type, a transaction as one; `transitions` counts those
    inside transactions, too. `chain` tells whether each line is valid in its place.
    """

    path: str
    format: str
    version: int
    size_bytes: int
    chain: Literal["right", "broken"]
    damage: list[Damage]
    torn_tail: Torn | None
    store: str | None
    forked_from: ForkedFrom | None
    first_epoch: int | None
    last_epoch: int | None
    first_seq: int
    last_seq: int | None
    synced_seq: int
    first_at: str | None
    last_at: str | None
    commits: int
    openings: int
    messages: dict[str, int]
    transitions: dict[str, int]
    prev: str | None
    hash: str | None
    compression: Compression | None = None


Inspected = InspectedSnapshot | InspectedJournal


def inspect_file(path: Path, fs: FileSystem | None = None) -> Inspected:
    """What is in a snapshot or a journal file; `fs` has the key, where it is encrypted.

    Damage is told and not raised, as long as anything can be said of the file. Of a JSON snapshot
    the state is read into memory, of the others a few MiB at a time. Raises UsageError for what is
    no file, FormatError for a file that is none of ours or of a later version, CorruptionError
    where nothing else can be said, and StorageError.
    """
    file = given_file(path)
    fs = medium_of(file, OsFileSystem() if fs is None else fs)
    kind = kind_of(fs, file)
    compression = split_suffix(suffix_of(file))[1]
    if kind == "journal":
        journal = _inspect_journal(JournalFileScan(fs, file), path)
        return msgspec.structs.replace(journal, compression=compression)
    with FileBlocks(fs, file) as opened:
        blocks = content_of(opened, file)
        inspected = _inspect_tensors if kind == "tensors" else _inspect_json
        found = inspected(blocks, path)
        # Of tensors the content was mapped, and may be longer than the file.
        return msgspec.structs.replace(found, size_bytes=opened.size_bytes, compression=compression)


def _damage(error: CorruptionError) -> Damage:
    # Its reason is a sentence with the position in it.
    prefix = f"damaged at byte {error.position}: "
    return Damage(error.position, error.reason.removeprefix(prefix))


# -- snapshots --------------------------------------------------------------------------------


def _inspect_json(blocks: SnapshotBlocks, path: Path) -> InspectedSnapshot:
    try:
        state, envelope = decode_state(blocks, path, JSON_SUFFIX)
    except CorruptionError as error:
        return _damaged_json(blocks, path, error)
    original = envelope.version == 1
    return _inspected(
        InspectedSnapshot(
            shown_name(path),
            ORIGINAL if original else FORMAT,
            envelope.version,
            blocks.size_bytes,
            "none" if original else "right",
            [],
        ),
        envelope,
        state,
        summary_of(state),
    )


def _damaged_json(blocks: SnapshotBlocks, path: Path, error: CorruptionError) -> InspectedSnapshot:
    damage = [_damage(error)]
    salvaged = salvage_snapshot(_up_to_damage(blocks), path)
    if salvaged is not None:
        state, envelope = salvaged.state, salvaged.envelope
        if salvaged.position is not None:
            reason = "from here on, or from a little before, it cannot be read"
            damage.append(Damage(salvaged.position, reason))
        summary = summary_of(state)
        if not salvaged.has_documents:
            summary = msgspec.structs.replace(
                summary, histories=summary.histories or None, documents=summary.documents or None
            )
    else:
        found = _edited(blocks, path)
        if found is None:
            raise error
        state, envelope = found
        summary = summary_of(state)
    inspected = InspectedSnapshot(
        shown_name(path), FORMAT, envelope.version, blocks.size_bytes, "wrong", damage
    )
    return _inspected(inspected, envelope, state, summary)


def _up_to_damage(blocks: SnapshotBlocks) -> Iterator[bytes]:
    """What can be read of a file, which may be compressed and damaged."""
    with contextlib.suppress(CorruptionError):
        yield from blocks


def _edited(blocks: SnapshotBlocks, path: Path) -> tuple[State, Envelope] | None:
    """The state of a file in another layout than ours; None where it is not whole."""
    try:
        return decode_state(blocks, path, JSON_SUFFIX, accept_edited=True)
    except PeninError:  # the first error says it better
        return None


def _inspect_tensors(blocks: SnapshotBlocks, path: Path) -> InspectedSnapshot:
    mapped = blocks.map()
    positions: list[int] = []
    try:
        positions = damaged_blocks(mapped, path)
        state, envelope = decode_state(blocks, path, TENSORS_SUFFIX)
        summary = summary_of(state)
    except CorruptionError as error:
        return _damaged_tensors(mapped, path, positions, error)
    inspected = _tensors(mapped, path, envelope.version, _of_blocks(positions))
    return _inspected(inspected, envelope, state, summary)


def _damaged_tensors(
    mapped: memoryview, path: Path, positions: list[int], error: CorruptionError
) -> InspectedSnapshot:
    """What can be told of a file that is refused; raises `error` where that is nothing."""
    found = salvage_tensors(mapped, path)
    if found is None:
        raise error
    damage = _of_blocks(positions)
    if error.position not in positions:
        damage.append(_damage(error))
    if len(mapped) < found.size_bytes:
        damage.insert(0, Damage(len(mapped), f"it ends here, and had {found.size_bytes:,} bytes"))
    rest = None if found.state is None else summary_of(found.state)
    summary = StateSummary(
        found.history_maxlen,
        sum_of_columns([column_summary(*column) for column in found.columns]),
        None if rest is None else rest.histories,
        None if rest is None else rest.documents,
    )
    version = found.envelope.version
    return _inspected(_tensors(mapped, path, version, damage), found.envelope, found, summary)


def _of_blocks(positions: list[int]) -> list[Damage]:
    reason = "the digest of this block is not right"
    return [Damage(position, reason) for position in positions[:DAMAGES_MAX]]


def _tensors(
    mapped: memoryview, path: Path, version: int, damage: list[Damage]
) -> InspectedSnapshot:
    digest: Literal["right", "wrong"] = "wrong" if damage else "right"
    return InspectedSnapshot(shown_name(path), TENSORS_FORMAT, version, len(mapped), digest, damage)


def _inspected(
    inspected: InspectedSnapshot,
    envelope: Envelope,
    found: State | SalvagedTensors,
    summary: StateSummary,
) -> InspectedSnapshot:
    is_ours = inspected.format != ORIGINAL
    return msgspec.structs.replace(
        inspected,
        store=envelope.store,
        epoch=envelope.epoch,
        seq=found.seq if is_ours else None,
        at=envelope.at,
        schema_version=found.schema_version if is_ours else None,
        journal_hash=envelope.journal_hash,
        state=summary,
    )


# -- journal files ----------------------------------------------------------------------------


def _inspect_journal(scan: JournalFileScan, path: Path) -> InspectedJournal:
    messages: Counter[str] = Counter()
    transitions: Counter[str] = Counter()
    damage: list[Damage] = []
    commits = 0
    for position, commit in scan.commits():
        commits += 1
        try:
            _count(commit, messages, transitions)
        except (msgspec.MsgspecError, PeninError, ValueError) as error:
            damage.append(Damage(position, f"its hash is right and its messages are not: {error}"))
    chain: Literal["right", "broken"] = "right"
    if scan.damage is not None:
        chain = "broken"
        damage.append(_damage(scan.damage))
    header, end = scan.header, scan.position
    return InspectedJournal(
        path=shown_name(path),
        format=JOURNAL_FORMAT,
        version=JOURNAL_VERSION,
        size_bytes=scan.size_bytes,
        chain=chain,
        damage=damage[:DAMAGES_MAX],
        torn_tail=scan.tail,
        store=None if header is None else header.store,
        forked_from=None if header is None else header.forked_from,
        first_epoch=None if header is None else header.epoch,
        last_epoch=None if end is None else end.epoch,
        first_seq=scan.first_seq,
        last_seq=None if end is None or end.seq < scan.first_seq else end.seq,
        synced_seq=scan.synced,
        first_at=scan.first_at,
        last_at=scan.last_at,
        commits=commits,
        openings=scan.openings,
        messages=_by_name(messages),
        transitions=_by_name(transitions),
        prev=None if header is None else header.prev,
        hash=None if end is None else end.hash,
    )


def _count(commit: Commit, messages: Counter[str], transitions: Counter[str]) -> None:
    """Count the messages of a commit; raises what is no message of ours."""
    bodies = decode_messages(commit.messages)
    if sum(map(transition_count, bodies)) != commit.seq - commit.first + 1:
        msg = f"they do not fill seq {commit.first} to {commit.seq}"
        raise ValueError(msg)
    for body in bodies:
        messages[body.TYPE] += 1
        inside: list[Any] = body.transitions if isinstance(body, Transaction) else [body]
        transitions.update(transition.TYPE for transition in inside)


def _by_name(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
