"""A store that is opened with its owner's migrations: one rebase, or every file as it was."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from pathlib import Path
from typing import Any

import pytest

import penin
from penin import Draft, NumericVectorArtifact
from penin.core.migration import Schema
from penin.errors import (
    CorruptionError,
    FormatError,
    MigrationError,
    SealedFileMissingError,
    StorageFullError,
)
from penin.runtime.convert import convert
from penin.runtime.past import state_at
from penin.storage.commits import Commit, parse_line
from tests.core.original import original_save
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.migrating import (
    FORMATS,
    SCHEMA,
    SEALED,
    bits,
    check_migrated,
    killed,
    not_run,
    on_disk,
    recovering,
    state_of,
    to_1,
    to_2,
)
from tests.runtime.stores import JOURNAL, STORE, open_on, state_on, supervised


def files(fs: CrashableFileSystem) -> dict[Path, bytes]:
    """What is in every file of the store but the lock's."""
    found = {}
    for directory in (STORE, JOURNAL, STORE / "checkpoints", SEALED):
        for name in fs.names(directory) if fs.exists(directory) else ():
            with contextlib.suppress(OSError):  # a directory
                if name != "lock":
                    found[directory / name] = fs.content(directory / name)
    return found


def messages_on(fs: CrashableFileSystem) -> list[Any]:
    """The messages of the newest journal file."""
    lines = fs.content(JOURNAL / fs.names(JOURNAL)[-1]).splitlines(keepends=True)
    commits = [line for line in map(parse_line, lines) if isinstance(line, Commit)]
    return [message for commit in commits for message in json.loads(bytes(commit.messages))]


# -- what becomes of a store ----------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_store_is_migrated_as_one_transition_that_needs_no_function_again(format_):
    fs = await killed(format_)
    async with open_on(fs, schema=SCHEMA) as orchestrator:
        check_migrated(orchestrator.view)
        assert orchestrator.applied_seq == orchestrator.durable_seq == 8
        shown = bits(state_of(orchestrator))
        at_once = fs.after_kill()
        rebase = messages_on(at_once)[-1]
        assert (rebase["type"], rebase["schema_version"]) == ("rebase", 2)
        assert rebase["snapshot"]["format"] == format_
        assert rebase["snapshot"]["file"] in fs.names(SEALED)
        await orchestrator.add_score(0.5)
    assert on_disk(at_once) == shown
    async with open_on(at_once) as again:
        assert bits(state_of(again)) == shown
        assert (await again.add_score(0.5)).seq == 9
    async with open_on(fs, schema=SCHEMA) as again:
        assert again.applied_seq == 9, "once"


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_state_before_is_kept_beside_and_is_a_store_again(format_, tmp_path):
    fs = await killed(format_)
    before = on_disk(fs)
    async with open_on(fs, schema=SCHEMA):
        pass
    kept = fs.content(STORE / f"state.before-schema-2.{format_}")
    (tmp_path / f"before.{format_}").write_bytes(kept)
    memory = penin.OmegaMetaOrchestrator()
    assert await asyncio.to_thread(memory.load_state, tmp_path / f"before.{format_}") is True
    assert bits(memory._state) == before


@pytest.mark.parametrize("format_", FORMATS)
async def test_the_past_before_the_rebase_is_what_it_was(format_):
    fs = await killed(format_)
    before = on_disk(fs)
    async with open_on(fs, schema=SCHEMA) as orchestrator:
        shown = bits(state_of(orchestrator))
        await orchestrator.add_score(0.5)
    assert bits(state_at(STORE, seq=7, fs=fs).state) == before
    assert bits(state_at(STORE, seq=8, fs=fs).state) == shown


async def test_the_sealed_file_goes_with_the_journal_that_names_it():
    fs = await killed()
    async with open_on(fs, schema=SCHEMA) as orchestrator:
        (name,) = fs.names(SEALED)
        await orchestrator.checkpoint()
        assert fs.names(SEALED) == [name], "the way back from a damaged snapshot needs it"
        await orchestrator.add_score(0.5)
        await orchestrator.checkpoint()
        assert fs.names(SEALED) == []
    check_migrated(state_on(fs))
    assert fs.exists(STORE / "state.before-schema-2.json")


async def test_a_new_store_is_of_that_version_without_a_migration():
    for settings in ({}, {"format": "safetensors"}, {"history_maxlen": 7}):
        fs = CrashableFileSystem()
        async with open_on(fs, schema=Schema(3, {0: not_run}), **settings) as orchestrator:
            assert orchestrator.view.schema_version == 3
            first = json.loads(bytes(next(iter(commits_of(fs))).messages))
            assert first == [{"type": "rebase", "schema_version": 3}]
            after_kill = fs.after_kill()
        assert not fs.exists(SEALED)
        assert [name for name in fs.names(STORE) if "before" in name] == []
        async with open_on(after_kill, schema=Schema(3, {0: not_run})) as again:
            assert again.view.schema_version == 3
            assert again.applied_seq == 1 + ("history_maxlen" in settings)


def commits_of(fs: CrashableFileSystem) -> list[Commit]:
    lines = fs.content(JOURNAL / f"{1:020}.jsonl").splitlines(keepends=True)
    parsed = [line for line in map(parse_line, lines) if isinstance(line, Commit)]
    return [commit for commit in parsed if commit.seq >= commit.first]


async def test_a_store_in_memory_is_new():
    async with penin.open(":memory:", schema_version=3) as orchestrator:
        assert orchestrator.view.schema_version == 3
        assert (await orchestrator.add_score(0.5)).seq == 2


async def test_a_store_that_was_opened_and_holds_nothing_is_new():
    fs = CrashableFileSystem()
    async with open_on(fs):
        pass
    async with open_on(fs, schema=Schema(3, {})) as orchestrator:
        assert orchestrator.view.schema_version == 3


async def test_without_a_version_nothing_is_asked_and_the_store_keeps_its_own():
    fs = await killed()
    async with open_on(fs, schema=SCHEMA):
        pass
    async with open_on(fs) as orchestrator:
        assert orchestrator.view.schema_version == 2
        await orchestrator.put_document("x", 1)
    assert state_on(fs).schema_version == 2


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_file_of_the_original_format_is_converted_and_migrated(format_, tmp_path):
    tasks = [{"name": "first"}, {"name": "second"}]
    knowledge = {key: NumericVectorArtifact([0.5], {"run": 7}) for key in ("a", "b")}
    (tmp_path / "store").mkdir()
    original_save(tmp_path / "store" / "state.json", knowledge, tasks, [1, True])

    def first(draft: Draft) -> None:
        draft.documents["offset"] = 10
        to_1(draft)

    store = tmp_path / "store"
    if format_ == "safetensors":
        await asyncio.to_thread(convert, store / "state.json", tmp_path / "new", format=format_)
        store = tmp_path / "new"
    steps = {0: first, 1: to_2}
    async with penin.open(store, schema_version=2, migrations=steps) as orchestrator:
        check_migrated(orchestrator.view)
        assert list(orchestrator.view.score_history) == [1, True]
    assert len(list((tmp_path / "store").glob("state.original-*"))) == (format_ == "json")
    assert len(list(store.glob("state.before-schema-2.*"))) == 1


async def test_several_migrations_keep_several_states_before():
    fs = await killed()
    async with open_on(fs, schema=Schema(1, {0: to_1})):
        pass
    async with open_on(fs, schema=SCHEMA) as orchestrator:
        check_migrated(orchestrator.view)
    kept = [name for name in fs.names(STORE) if "before" in name]
    assert kept == ["state.before-schema-1.json", "state.before-schema-2.json"]


# -- what is refused ------------------------------------------------------------------------------


def raising(_draft: Draft) -> None:
    raise ValueError("not mine")


@pytest.mark.parametrize(
    ("schema", "error", "words"),
    [
        (Schema(2, {0: to_1, 1: raising}), MigrationError, "1 to 2: it raised ValueError"),
        (Schema(2, {0: to_1}), MigrationError, "1 to 2: there is no migrations"),
        (
            Schema(1, {0: lambda draft: draft.tasks.append(1)}),
            MigrationError,
            r"0 to 1: task_history\[2\]: int is not a JSON object",
        ),
    ],
)
async def test_what_cannot_be_migrated_leaves_every_file_as_it_was(schema, error, words):
    fs = await killed()
    before = files(fs)
    with pytest.raises(error, match=words) as raised:
        async with open_on(fs, schema=schema):
            pytest.fail("opened")
    assert str(raised.value).startswith("/store: ")
    assert files(fs) == before
    async with open_on(fs, schema=SCHEMA) as orchestrator:
        check_migrated(orchestrator.view)


async def test_a_store_of_a_later_version_is_left_alone():
    fs = await killed()
    async with open_on(fs, schema=SCHEMA):
        pass
    before = files(fs)
    with pytest.raises(FormatError, match="version 2; this program works with 1"):
        async with open_on(fs, schema=Schema(1, {0: to_1})):
            pytest.fail("opened")
    assert files(fs) == before


async def test_a_file_of_the_original_format_is_not_converted_where_a_migration_raises(tmp_path):
    original_save(tmp_path / "state.json", {}, [{"name": "first"}], [])
    before = (tmp_path / "state.json").read_bytes()
    with pytest.raises(MigrationError):
        async with penin.open(tmp_path, schema_version=1, migrations={0: raising}):
            pytest.fail("opened")
    assert (tmp_path / "state.json").read_bytes() == before
    assert {path.name for path in tmp_path.rglob("*")} == {"state.json", "journal", "lock"}


async def test_the_other_ways_to_open_take_the_same(tmp_path):
    def opened() -> None:
        with penin.open_sync(tmp_path / "a", schema_version=3, migrations={}) as orchestrator:
            orchestrator.add_score(0.5)
        assert penin.load(tmp_path / "a").schema_version == 3
        with pytest.raises(MigrationError), penin.open_sync(tmp_path / "a", schema_version=4):
            pytest.fail("opened")

    await asyncio.to_thread(opened)


@pytest.mark.parametrize("number", range(1, 12))
async def test_a_full_disk_is_told_and_the_next_opening_goes_on(number):
    fs = await killed()
    fs.fail("write", errno.ENOSPC, at=number)
    try:
        async with open_on(fs, schema=SCHEMA) as orchestrator:
            check_migrated(orchestrator.view)
    except (StorageFullError, penin.errors.FinalCheckpointError):
        pass
    async with open_on(fs, schema=SCHEMA) as orchestrator:
        check_migrated(orchestrator.view)


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_damaged_or_missing_snapshot_of_a_rebase_is_an_error_that_names_it(format_):
    fs = await killed(format_)
    async with open_on(fs, schema=SCHEMA):
        disk = fs.after_kill()
    (name,) = disk.names(SEALED)
    data = bytearray(disk.content(SEALED / name))
    data[len(data) // 2] ^= 1
    disk.replace_content(SEALED / name, bytes(data))
    for opened in (lambda: state_on(disk), lambda: recovering(disk)):
        with pytest.raises(CorruptionError) as raised:
            opened()
        assert raised.value.path == SEALED / name
    disk.unlink(SEALED / name)
    for opened in (lambda: state_on(disk), lambda: recovering(disk)):
        with pytest.raises(SealedFileMissingError):
            opened()


async def test_a_stop_while_the_functions_run_writes_nothing():
    fs = await killed()
    before = files(fs)
    ran: list[int] = []
    with pytest.raises(penin.PeninError, match="abandoned"):
        recovering(fs, Schema(1, {0: lambda _draft: ran.append(0)}), stop=lambda: bool(ran))
    assert ran == [0]
    assert files(fs) == before


# -- the log --------------------------------------------------------------------------------------


async def test_the_log_says_what_changed():
    fs = await killed()
    async with supervised(fs, schema=SCHEMA) as running:
        (event,) = running.log.of("schema.migrated")
        assert event.pop("seconds") >= 0
        assert event == {
            "schema_version": 2,
            "previous": 0,
            "seq": 8,
            "documents": 1,
            "histories": 1,
            "metadata": 1,
            "original": str(STORE / "state.before-schema-2.json"),
        }
        assert running.log.of("store.opened")[0]["seq"] == 8
    async with supervised(fs, schema=SCHEMA) as running:
        assert running.log.of("schema.migrated") == []


async def test_the_log_says_why_a_store_is_not_opened():
    async with supervised(await killed(), schema=Schema(1, {0: raising})) as running:
        (event,) = running.log.of("recovery.failed")
        assert "schema version 0 to 1: it raised ValueError('not mine')" in event["cause"]
