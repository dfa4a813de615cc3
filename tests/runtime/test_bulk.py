"""Large bulks: through sealed files, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import errno
import json
import random
from typing import Any

import numpy as np
import pytest

from penin.core import bulk
from penin.errors import (
    ClosedError,
    CorruptionError,
    RefusedError,
    SealedFileMissingError,
    StorageFullError,
)
from penin.runtime.backup import backup_at
from penin.runtime.open import Opening
from penin.runtime.past import state_at
from penin.settings import Settings
from penin.storage.commits import Commit, parse_line
from penin.storage.sealed import SEALED_DIRECTORY
from tests.fakes.crashable_filesystem import CrashableFileSystem, Effect
from tests.runtime.crashing import Diary, Life, live
from tests.runtime.stores import (
    JOURNAL,
    STORE,
    GatedFileSystem,
    open_on,
    pending,
    seen,
    state_on,
    until,
    within,
)
from tests.slices import operations

SEALED = STORE / SEALED_DIRECTORY
ROWS = 20


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Twenty rows of 32 bytes are three files, of three, three and two messages."""
    monkeypatch.setattr(bulk, "BULK_BYTES_MAX", 128)
    monkeypatch.setattr(bulk, "SEALED_ROWS_MAX", 3)
    monkeypatch.setattr(bulk, "PART_BYTES", 256)


def rows(count: int = ROWS, number: int = 0) -> dict[str, Any]:
    matrix = np.arange(count * 4, dtype=np.float64).reshape(count, 4) + 1000 * number
    return {"keys": [f"{number} {row}" for row in range(count)], "matrix": matrix}


def found(reader) -> dict[str, list[float]]:
    return {key: artifact.vector for key, artifact in reader.knowledge_base.items()}


def expected(count: int = ROWS, number: int = 0) -> dict[str, list[float]]:
    bulk_rows = rows(count, number)
    return dict(zip(bulk_rows["keys"], bulk_rows["matrix"].tolist(), strict=True))


def sealed_names(fs) -> list[str]:
    return fs.names(SEALED) if fs.exists(SEALED) else []


def in_sealed(path) -> bool:
    return path.parent == SEALED


async def test_a_large_bulk_is_in_files_that_the_journal_names() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        ack = await orchestrator.extend_knowledge(**rows())
        assert ack.seq == orchestrator.applied_seq == 8
        assert found(orchestrator.view) == expected()
        names = sealed_names(fs)
        lines = fs.content(JOURNAL / f"{1:020}.jsonl").splitlines(keepends=True)
        commits = [line for line in map(parse_line, lines) if isinstance(line, Commit)]
        messages = [message for commit in commits for message in json.loads(bytes(commit.messages))]
        named = list(dict.fromkeys(message["matrix"]["sealed"]["file"] for message in messages))
        assert sorted(named) == names
        written = b"".join(fs.content(SEALED / name) for name in named)
        assert written == rows()["matrix"].tobytes(), "once"
        killed = fs.after_kill()
    assert found(state_on(killed)) == expected()
    async with open_on(killed) as again:
        assert found(again.view) == expected()
        assert seen(again.view) == seen(state_on(killed))


async def test_a_small_bulk_is_in_the_journal_alone() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.extend_knowledge(**rows(4))
        assert found(orchestrator.view) == expected(4)
    assert not fs.exists(SEALED)


async def test_in_memory_there_are_no_files() -> None:
    async with Opening(":memory:", Settings(), None) as orchestrator:
        await orchestrator.extend_knowledge(**rows())
        assert found(orchestrator.view) == expected()


@pytest.mark.parametrize("format_", ["json", "safetensors"])
async def test_what_is_in_files_is_snapshotted_replaced_and_removed_like_all_else(format_) -> None:
    fs = CrashableFileSystem()
    async with open_on(fs, format=format_) as orchestrator:
        await orchestrator.extend_knowledge(**rows())
        await orchestrator.checkpoint()
        await orchestrator.extend_knowledge(**rows(10))
        for row in range(15):
            await orchestrator.remove_knowledge(f"0 {row}")
        await orchestrator.extend_knowledge(**rows(12, number=1))
        wanted = seen(orchestrator.view)
        assert seen(state_on(fs)) == wanted
        await orchestrator.checkpoint()
    assert seen(state_on(fs)) == wanted
    async with open_on(fs) as again:
        assert seen(again.view) == wanted


async def test_files_go_with_the_journal_that_names_them() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.extend_knowledge(**rows())
        first = set(sealed_names(fs))
        await orchestrator.checkpoint()
        assert set(sealed_names(fs)) == first, "the way back from a damaged snapshot needs them"
        await orchestrator.extend_knowledge(**rows(number=1))
        second = set(sealed_names(fs)) - first
        await orchestrator.checkpoint()
        assert set(sealed_names(fs)) == second
        await orchestrator.add_score(0.5)
        await orchestrator.checkpoint()
        assert sealed_names(fs) == []
        assert found(orchestrator.view) == {**expected(), **expected(number=1)}, "mapped still"


async def test_what_a_checkpoint_has_to_pay_for_includes_the_files(monkeypatch) -> None:
    monkeypatch.setattr("penin.runtime.checkpointer.SMALL_BYTES", 0)
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        store = orchestrator._supervisor.store
        before = store.size_bytes(0)
        await orchestrator.extend_knowledge(**rows())
        assert store.size_bytes(0) - before > store.journal.size_bytes(0) - before
        assert store.size_bytes(8) == store.journal.size_bytes(8)


async def test_a_full_disk_refuses_what_is_not_stored_and_takes_it_later() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        fs.fail("write", errno.ENOSPC)
        with pytest.raises(StorageFullError):
            await orchestrator.extend_knowledge(**rows())
        await orchestrator.add_score(0.5)
        await orchestrator.extend_knowledge(**rows())
        assert found(orchestrator.view) == expected()
    assert found(state_on(fs)) == expected()


async def test_what_the_door_refuses_leaves_no_file() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        for wrong in ({"keys": ["x"] * ROWS}, {"metadata": [1] * ROWS}, {"keys": ["x"]}):
            with pytest.raises(RefusedError):
                await orchestrator.extend_knowledge(**{**rows(), **wrong})
        assert orchestrator.applied_seq == 0
        await orchestrator.extend_knowledge(**rows(number=1))
    assert len(sealed_names(fs)) == 3, "those of what was stored"
    async with open_on(fs) as again:
        assert found(again.view) == expected(number=1)


async def test_cancelled_while_a_file_is_written_nothing_is_stored_and_the_file_goes() -> None:
    fs = GatedFileSystem()
    async with open_on(fs) as orchestrator:
        gate = fs.hold("sync_file", in_sealed)
        loading = await pending(orchestrator.extend_knowledge(**rows()))
        await until(gate.reached)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        gate.open()
        await orchestrator.add_score(0.5)
        assert orchestrator.applied_seq == 1
        await orchestrator.checkpoint()
    async with open_on(fs.inner) as orchestrator:
        for score in (1.0, 2.0):
            await orchestrator.add_score(score)
            await orchestrator.checkpoint()
        assert sealed_names(fs.inner) == []
        assert found(orchestrator.view) == {}


async def test_closing_waits_for_a_file_that_is_being_written() -> None:
    fs = GatedFileSystem()
    opening = open_on(fs)
    orchestrator = await opening
    gate = fs.hold("sync_file", in_sealed)
    loading = await pending(orchestrator.extend_knowledge(**rows()))
    await until(gate.reached)
    closing = await pending(orchestrator.aclose())
    assert not closing.done()
    gate.open()
    await within(closing)
    with pytest.raises(ClosedError):
        await within(loading)
    with pytest.raises(ClosedError):
        await orchestrator.extend_knowledge(**rows())
    kept = found(state_on(fs.inner))
    assert kept.items() <= expected().items()
    assert not [name for name in sealed_names(fs.inner) if name.endswith(".tmp")]


async def test_two_bulks_at_once_and_of_the_same_numbers() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        same = rows() | {"keys": [f"other {row}" for row in range(ROWS)]}
        await asyncio.gather(
            orchestrator.extend_knowledge(**rows()), orchestrator.extend_knowledge(**same)
        )
        assert len(orchestrator.view.knowledge_base) == 2 * ROWS
        assert len(sealed_names(fs)) == 6
        killed = fs.after_kill()
    assert found(state_on(killed)) == found(state_on(fs))


async def killed_with_files() -> CrashableFileSystem:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.extend_knowledge(**rows())
        return fs.after_kill()


async def test_a_damaged_file_is_an_error_that_names_it() -> None:
    disk = await killed_with_files()
    for name in sealed_names(disk):
        damaged = disk.after_kill()
        content = bytearray(damaged.content(SEALED / name))
        content[random.Random(name).randrange(len(content))] ^= 1
        damaged.replace_content(SEALED / name, bytes(content))
        with pytest.raises(CorruptionError) as raised:
            async with open_on(damaged):
                pytest.fail("opened")
        assert raised.value.path == SEALED / name
        assert damaged.content(SEALED / name) == bytes(content), "nothing is overwritten"
        with pytest.raises(CorruptionError):
            state_on(damaged)


async def test_a_missing_file_is_an_error_that_names_it() -> None:
    disk = await killed_with_files()
    name = sealed_names(disk)[0]
    disk.unlink(SEALED / name)
    with pytest.raises(SealedFileMissingError, match="it is not there") as raised:
        async with open_on(disk):
            pytest.fail("opened")
    assert raised.value.path == SEALED / name


async def test_a_sealed_matrix_cannot_be_sent_by_a_name_that_somebody_knows() -> None:
    fs = CrashableFileSystem()
    async with open_on(fs) as orchestrator:
        await orchestrator.extend_knowledge(**rows())
        place = {"file": sealed_names(fs)[0], "start": 0, "size": 32}
        stolen = {"type": "extend_knowledge", "keys": ["x"], "matrix": {"dtype": "<f8"}}
        stolen["matrix"] |= {"sealed": place}  # type: ignore[operator]
        with pytest.raises(ValueError, match="matrix"):
            await orchestrator.send(stolen)


@pytest.mark.parametrize("format_", ["json", "safetensors"])
async def test_the_past_and_copies_of_the_store_have_what_is_in_files(format_) -> None:
    fs = CrashableFileSystem()
    async with open_on(fs, format=format_) as orchestrator:
        await orchestrator.extend_knowledge(**rows())
        await orchestrator.checkpoint()
        await orchestrator.extend_knowledge(**rows(number=1))
        await orchestrator.add_score(0.5)
        for seq, count in ((8, ROWS), (10, ROWS + 6), (17, 2 * ROWS)):
            assert len(state_at(STORE, seq=seq, fs=fs).state.knowledge_base) == count
        copy = STORE.parent / "copy"
        made = backup_at(STORE, copy, fs)
        assert found(state_on(fs, copy)) == {**expected(), **expected(number=1)}
        names = fs.names(copy / SEALED_DIRECTORY)
        assert names == sealed_names(fs)
        assert made.size_bytes > sum(len(fs.content(SEALED / name)) for name in names)
    name = sealed_names(fs)[0]
    fs.replace_content(SEALED / name, b"damaged")
    with pytest.raises(CorruptionError) as raised:
        backup_at(STORE, STORE.parent / "another", fs)
    assert raised.value.path == SEALED / name


# -- crashes ----------------------------------------------------------------------------------

EFFECTS: tuple[Effect, ...] = ("none", "half", "whole")
BULKS = 3


def lived_to(crash_at: int, seed: int) -> tuple[CrashableFileSystem, list[int]] | None:
    """A disk after a life of bulks that ended at an operation, and how many were acknowledged."""
    fs = CrashableFileSystem(seed=seed)
    fs.crash_at, fs.crash_effect = crash_at, EFFECTS[seed % 3]
    acknowledged = [0]

    async def bulks(life: Life) -> None:
        for number in range(BULKS):
            await life.orchestrator.extend_knowledge(**rows(number=number))
            acknowledged[0] = number + 1
            if number == 1:
                await life.checkpoint()

    lived = live(fs, bulks, Diary())
    return (lived, acknowledged) if lived._dead else None


def check(disk: CrashableFileSystem, acknowledged: int) -> None:
    async def main() -> None:
        async with open_on(disk) as orchestrator:
            kept = found(orchestrator.view)
            sent = {k: v for number in range(BULKS) for k, v in expected(number=number).items()}
            assert list(kept.items()) == list(sent.items())[: len(kept)], "a prefix, in order"
            assert len(kept) >= acknowledged * ROWS
            await orchestrator.extend_knowledge(**rows(number=BULKS))
            assert not [name for name in disk.names(SEALED) if name.endswith(".tmp")]
        assert found(state_on(disk)) == {**kept, **expected(number=BULKS)}

    asyncio.run(main())


LONG = [pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2)]


@pytest.mark.parametrize("seed", [0, *LONG])
def test_a_crash_at_any_operation_loses_no_bulk_that_was_acknowledged(seed):
    for crash_at in operations(str(seed), 400):
        outcome = lived_to(crash_at, seed + crash_at)
        if outcome is None:
            return
        lived, (acknowledged,) = outcome
        check(lived.after_kill(), acknowledged)
        check(lived.after_crash(seed), acknowledged)
    pytest.fail("a life without an end")
