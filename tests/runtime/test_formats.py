"""Stores whose snapshots are tensors: made, opened again, read, converted, damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import penin
from penin.core.snapshots import Envelope, encode_snapshot
from penin.errors import CorruptionError, FinalCheckpointError, FormatError, LockedError
from penin.runtime import checkpointer
from penin.runtime.convert import convert
from penin.runtime.open import Opening
from penin.runtime.past import read_state
from penin.settings import Settings
from tests.core.samples import filled
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.logs.fakes import HostLogger
from tests.runtime.stores import STORE, supervised

TENSORS = Settings(format="safetensors")
STATE = STORE / "state.safetensors"


def json_of(directory: Path) -> bytes:
    """All of the state, in an order and a form that is the same for the same state."""
    return b"".join(encode_snapshot(read_state(directory).view(), Envelope()))


def rows(count: int, first: int = 0) -> dict[str, Any]:
    keys = [f"row {number}" for number in range(first, first + count)]
    return {"keys": keys, "matrix": np.arange(count * 4, dtype=np.float32).reshape(count, 4)}


async def test_the_format_is_that_which_the_store_was_made_with() -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, TENSORS, None, fs) as orchestrator:
        assert fs.exists(STATE), "the first snapshot says which format it is"
        await orchestrator.add_score(0.5)
        killed = fs.after_kill()
    for disk in (fs, killed):
        async with Opening(STORE, Settings(), None, disk) as orchestrator:
            assert list(orchestrator.view.score_history) == [0.5]
            await orchestrator.extend_knowledge(**rows(5))
        assert disk.exists(STATE)
        assert not disk.exists(STORE / "state.json")
        assert len(safetensors.numpy.load(disk.content(STATE))) > 5
        assert [name[-12:] for name in disk.names(STORE / "checkpoints")] == [".safetensors"] * 2


async def test_another_format_is_refused_with_the_way_to_it() -> None:
    for made, asked in ((Settings(), TENSORS), (TENSORS, Settings(format="json"))):
        fs = CrashableFileSystem()
        async with Opening(STORE, made, None, fs) as orchestrator:
            await orchestrator.add_score(0.5)
            journal_alone = fs.after_kill()
        for disk in (fs, journal_alone):
            with pytest.raises(FormatError, match="penin convert"):
                async with Opening(STORE, asked, None, disk):
                    pytest.fail("opened")


@pytest.mark.parametrize("made", [TENSORS, Settings(compress="gzip"), Settings()])
async def test_a_store_whose_snapshot_was_removed_is_not_said_to_be_of_another_format(made) -> None:
    fs = CrashableFileSystem()
    for _ in range(2):
        async with Opening(STORE, made, None, fs) as orchestrator:
            await orchestrator.add_score(0.5)
    (snapshot,) = (name for name in fs.names(STORE) if name.startswith("state."))
    fs.unlink(STORE / snapshot)
    with pytest.raises(FormatError, match="no snapshot beside a journal"):
        async with Opening(STORE, made, None, fs):
            pytest.fail("opened")


async def test_a_store_with_snapshots_of_both_formats_is_refused() -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, TENSORS, None, fs) as orchestrator:
        await orchestrator.add_score(0.5)
    fs.link(STATE, STORE / "state.json")
    with pytest.raises(FormatError, match="both"):
        async with Opening(STORE, Settings(), None, fs):
            pytest.fail("opened")


async def test_what_was_mapped_can_be_read_changed_and_checkpointed() -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, TENSORS, None, fs) as orchestrator:
        await orchestrator.extend_knowledge(**rows(100))
    async with Opening(STORE, Settings(), None, fs) as orchestrator:
        artifact = await orchestrator.get("row 7")
        assert artifact is not None
        assert artifact.vector == [28.0, 29.0, 30.0, 31.0]
        assert await orchestrator.get("row 7") == artifact
        assert await orchestrator.get("row 100") is None
        for number in range(60):
            await orchestrator.remove_knowledge(f"row {number}")
        await orchestrator.extend_knowledge(**rows(3, first=98))
        await orchestrator.checkpoint()
        assert artifact.vector == [28.0, 29.0, 30.0, 31.0], "of a row that was removed"
    async with Opening(STORE, Settings(), None, fs) as orchestrator:
        base = orchestrator.view.knowledge_base
        assert list(base) == [f"row {number}" for number in range(60, 101)]
        assert base["row 98"].vector == [0.0, 1.0, 2.0, 3.0]


async def test_damage_that_is_found_later_is_named_and_does_not_travel() -> None:
    fs, logger = CrashableFileSystem(), HostLogger()
    async with Opening(STORE, TENSORS, None, fs) as orchestrator:
        # More than a MiB, so that the first vectors have a block of their own.
        await orchestrator.extend_knowledge(
            [str(row) for row in range(600)], np.ones((600, 512), np.float64)
        )
    damaged = bytearray(fs.content(STATE))
    damaged[5000] ^= 1
    fs.replace_content(STATE, bytes(damaged))

    orchestrator = await Opening(STORE, Settings(), logger, fs)
    with pytest.raises(CorruptionError, match="damaged at byte 4096"):
        await orchestrator.get("0")
    with pytest.raises(CorruptionError, match="damaged at byte 4096"):
        orchestrator.view.knowledge_base["0"]
    assert await orchestrator.get("599") is not None
    await orchestrator.add_score(0.5)
    with pytest.raises(CorruptionError, match="damaged at byte 4096"):
        await orchestrator.checkpoint()
    with pytest.raises(FinalCheckpointError, match="damaged at byte 4096"):
        await orchestrator.aclose()
    assert "checkpoint.failed" in [event for _, event, _ in logger.calls]
    assert fs.content(STATE) == damaged
    assert STATE.name in fs.names(STORE)
    assert not [name for name in fs.names(STORE) if "tmp" in name]


def test_load_reads_both_formats_beside_a_writer(tmp_path: Path) -> None:
    with penin.open_sync(tmp_path / "store", settings=TENSORS) as orchestrator:
        orchestrator.extend_knowledge(**rows(50))
        orchestrator.checkpoint()
        orchestrator.add_score(0.5)
        loaded = penin.load(tmp_path / "store")
        assert len(loaded.knowledge_base) == 50
        assert list(loaded.score_history) == [0.5]


@pytest.mark.parametrize("first", ["json", "safetensors"])
def test_converting_both_ways_keeps_every_bit(tmp_path: Path, first: Any) -> None:
    second: Any = {"json": "safetensors", "safetensors": "json"}[first]
    filled().save_state(tmp_path / "saved.json")
    convert(tmp_path / "saved.json", tmp_path / "one", format=first)
    convert(tmp_path / "one" / f"state.{first}", tmp_path / "two", format=second)
    made = convert(tmp_path / "two", tmp_path / "three", format=first)

    expected = json_of(tmp_path / "one")
    assert json_of(tmp_path / "two") == json_of(tmp_path / "three") == expected
    assert (tmp_path / "two" / f"state.{second}").exists()
    with penin.open_sync(tmp_path / "three", settings=Settings(format=first)) as orchestrator:
        assert orchestrator.applied_seq == made.seq


def test_a_store_is_converted_with_its_journal_while_it_is_open(tmp_path: Path) -> None:
    with penin.open_sync(tmp_path / "one") as orchestrator:
        orchestrator.add_score(0.25)
        orchestrator.checkpoint()
        orchestrator.add_score(0.5)
        with pytest.raises(LockedError):
            convert(tmp_path / "one", tmp_path / "one")
        made = convert(tmp_path / "one", tmp_path / "two", format="safetensors")
        newest = max((tmp_path / "one" / "journal").iterdir())
        last = json.loads(newest.read_text().splitlines()[-1])
    assert list(penin.load(tmp_path / "two").score_history) == [0.25, 0.5]
    header = (tmp_path / "two" / "journal" / f"{made.seq + 1:020d}.jsonl").read_text()
    assert json.loads(header.splitlines()[0])["forked_from"]["hash"] == last["hash"]


def test_a_state_that_was_saved_as_tensors_becomes_a_store(tmp_path: Path) -> None:
    path = tmp_path / "store" / "state.safetensors"
    filled().save_state(path)
    with penin.open_sync(tmp_path / "store") as orchestrator:
        assert orchestrator.get("ints") == filled().knowledge_base["ints"]
    assert len(list(path.parent.glob("state.original-*.safetensors"))) == 1


async def test_a_large_json_snapshot_is_noted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointer, "LARGE_JSON_BYTES", 5000)
    for settings, times in ({}, 1), ({"format": "safetensors"}, 0):
        async with supervised(**settings) as running:
            for number in range(4):
                await running.orchestrator.put_document(str(number), "x" * 2000)
                await running.orchestrator.checkpoint()
            assert len(running.log.of("checkpoint.large_json")) == times
