"""Stores whose snapshots are compressed: made, opened again, read, converted, restored."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import penin
from penin.core.snapshots import Envelope, encode_snapshot
from penin.errors import CorruptionError, FormatError, RefusedTypeError, RefusedValueError
from penin.runtime.backup import backup_at
from penin.runtime.convert import convert
from penin.runtime.ledger import verify_chain
from penin.runtime.open import Opening
from penin.runtime.past import read_checkpoint, read_state, state_at
from penin.settings import Settings, compression_of
from penin.storage.encryption import ENCRYPTED_SUFFIX
from penin.storage.snapshots import SUFFIXES, FileSnapshotStore
from tests.core.samples import filled
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.logs.fakes import HostLogger
from tests.runtime.stores import STORE

COMPRESSED = [
    ({"compress": "gzip"}, ".json.gz"),
    ({"compress": "zstd:9"}, ".json.zst"),
    ({"compress": "gzip:1", "format": "safetensors"}, ".safetensors.gz"),
    ({"compress": "zstd", "format": "safetensors"}, ".safetensors.zst"),
]
each = pytest.mark.parametrize(("chosen", "suffix"), COMPRESSED)


def json_of(directory: Path) -> bytes:
    """All of the state, in an order and a form that is the same for the same state."""
    return b"".join(encode_snapshot(read_state(directory).view(), Envelope()))


@each
async def test_a_store_stays_compressed_as_it_was_made(chosen: Any, suffix: str) -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, Settings(**chosen), None, fs) as orchestrator:
        assert fs.exists(STORE / f"state{suffix}"), "the first snapshot says how"
        await orchestrator.add_score(0.5)
        killed = fs.after_kill()
    for disk in (fs, killed):
        async with Opening(STORE, Settings(), None, disk) as orchestrator:
            assert list(orchestrator.view.score_history) == [0.5]
            await orchestrator.extend_knowledge(["a", "b"], np.eye(2, dtype=np.float32))
        states = [name for name in disk.names(STORE) if name.startswith("state")]
        assert states == [f"state{suffix}"]
        kept = disk.names(STORE / "checkpoints")
        assert len(kept) == 2
        assert all(name.endswith(f"Z{suffix}") for name in kept)
        assert list(read_state(STORE, disk).knowledge_base) == ["a", "b"]


async def test_another_compression_is_refused_with_the_way_to_it() -> None:
    plain, gzip, zstd = Settings(), Settings(compress="gzip:3"), Settings(compress="zstd")
    for made, asked, way in (
        (plain, zstd, "is json, not json.zst; .* --format json --compress zstd"),
        (gzip, zstd, "is json.gz, not json.zst; .* --format json --compress zstd"),
        (Settings(format="safetensors"), gzip, "--format safetensors --compress gzip"),
        (zstd, Settings(format="safetensors"), "is json.zst, not safetensors; .* safetensors$"),
    ):
        fs = CrashableFileSystem()
        async with Opening(STORE, made, None, fs) as orchestrator:
            await orchestrator.add_score(0.5)
            journal_alone = fs.after_kill()
        for disk in (fs, journal_alone):
            with pytest.raises(FormatError, match=way):
                async with Opening(STORE, asked, None, disk):
                    pytest.fail("opened")


async def test_the_level_can_be_another_one_each_time() -> None:
    fs = CrashableFileSystem()
    for level in (1, 9, 5):
        async with Opening(STORE, Settings(compress=f"gzip:{level}"), None, fs) as orchestrator:
            await orchestrator.add_score(level)
    assert list(read_state(STORE, fs).score_history) == [1.0, 9.0, 5.0]


@pytest.mark.parametrize(
    "text", ["", "none", "zstd:", "zstd:20", "gzip:10", "gzip:0", "zstd:-1", "zstd:3:4", "Gzip"]
)
def test_a_compression_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(RefusedValueError, match="compress"):
        Settings(compress=text)


def test_a_compression_is_a_kind_and_perhaps_a_level() -> None:
    with pytest.raises(RefusedTypeError, match="compress"):
        Settings(compress=9)  # type: ignore[arg-type]
    assert compression_of("zstd:19") == ("zstd", 19)
    assert compression_of("gzip") == ("gzip", None)
    assert compression_of(None) == (None, None)


async def test_a_damaged_snapshot_gives_way_to_the_one_before() -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, Settings(compress="zstd"), None, fs) as orchestrator:
        await orchestrator.add_score(0.5)
    path = STORE / "state.json.zst"
    whole = fs.content(path)
    fs.replace_content(path, whole[: len(whole) // 2])
    log = HostLogger()
    async with Opening(STORE, Settings(), log, fs) as orchestrator:
        assert list(orchestrator.view.score_history) == [0.5]
    said = [fields["cause"] for _, name, fields in log.calls if name == "snapshot.set_aside"]
    assert len(said) == 2, "the newest checkpoint is the same file"
    assert all("cut here" in cause for cause in said)
    aside = [name for name in fs.names(STORE) if name.startswith("state.json.zst.corrupt-")]
    assert len(aside) == 1


def written(directory: Path) -> list[Path]:
    """A store of three checkpoints, whose older journal files are compressed; these."""
    settings = Settings(compress="zstd", keep_last=3)
    with penin.open_sync(directory, settings=settings) as orchestrator:
        for number in range(3):
            for _ in range(20):
                orchestrator.add_score(number / 7)
            orchestrator.checkpoint()
    return sorted((directory / "journal").glob("*.zst"))


def test_verify_and_the_ledger_read_a_compressed_journal(tmp_path: Path) -> None:
    compressed = written(tmp_path / "store")
    assert len(compressed) == 2, "the journal goes back to the oldest checkpoint"
    report = penin.verify(tmp_path / "store")
    assert (report.problems, report.notes) == ([], [])
    assert [snapshot.verdict for snapshot in report.snapshots] == ["unchecked", "same", "same"]
    chain = verify_chain(tmp_path / "store")
    assert chain.is_whole
    assert chain.head.seq == 60
    penin.backup(tmp_path / "store", tmp_path / "copy")
    assert penin.verify(tmp_path / "copy").is_sound
    assert penin.restore(tmp_path / "copy", tmp_path / "old", seq=31).seq == 31


@pytest.mark.parametrize("at", [4, 30, -1])
def test_damage_in_a_compressed_journal_is_named_and_what_comes_behind_is_read(
    tmp_path: Path, at: int
) -> None:
    damaged = written(tmp_path / "store")[0]
    content = bytearray(damaged.read_bytes())
    content[at] ^= 1
    damaged.write_bytes(bytes(content))
    report = penin.verify(tmp_path / "store")
    assert not report.is_sound
    assert report.problems[0].path == str(damaged)
    chain = verify_chain(tmp_path / "store")
    assert chain.damage[0].path == damaged
    assert chain.head.seq == 60, "what comes behind it"
    if at != -1:  # which is of the checksum at the end: each line before it has its own hash
        with pytest.raises(CorruptionError) as raised:
            state_at(tmp_path / "store", seq=31)
        assert raised.value.path == damaged
    assert penin.load(tmp_path / "store").seq == 60, "the newest snapshot does not need it"


async def test_a_damaged_checkpoint_is_told_with_its_path() -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, Settings(compress="zstd"), None, fs) as orchestrator:
        await orchestrator.add_score(0.5)
    newest = FileSnapshotStore(fs, STORE).checkpoints()[-1]
    whole = fs.content(newest.path)
    fs.replace_content(newest.path, whole[: len(whole) // 2])
    with pytest.raises(CorruptionError, match=r"Z\.json\.zst: damaged at byte 0: .* cut here"):
        read_checkpoint(fs, newest)


async def test_without_the_library_a_store_is_refused_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, Settings(compress="zstd"), None, fs) as orchestrator:
        await orchestrator.add_score(0.5)
    before = {name: fs.content(STORE / "journal" / name) for name in fs.names(STORE / "journal")}
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(penin.errors.UsageError, match=r"penin\[zstd\]"):
        async with Opening(STORE, Settings(), None, fs):
            pytest.fail("opened")
    after = {name: fs.content(STORE / "journal" / name) for name in fs.names(STORE / "journal")}
    assert after == before


def test_converting_through_every_format_and_compression_keeps_every_bit(tmp_path: Path) -> None:
    source = tmp_path / "saved.json.zst"
    filled().save_state(source)
    plain = (suffix for suffix in SUFFIXES if not suffix.endswith(ENCRYPTED_SUFFIX))
    for number, suffix in enumerate(plain):
        form = "json" if suffix.startswith(".json") else "safetensors"
        compress = {".gz": "gzip:2", "zst": "zstd:2"}.get(suffix[-3:])
        place = tmp_path / str(number)
        convert(source, place, format=form, compress=compress)  # type: ignore[arg-type]
        assert (place / f"state{suffix}").exists()
        assert json_of(place) == json_of(tmp_path / "0")
        source = place / f"state{suffix}" if number % 2 else place


@each
def test_a_copy_and_a_restored_store_are_compressed_too(
    tmp_path: Path, chosen: Any, suffix: str
) -> None:
    with penin.open_sync(tmp_path / "one", settings=Settings(**chosen)) as orchestrator:
        orchestrator.add_score(0.25)
        orchestrator.checkpoint()
        seq = orchestrator.add_score(0.5).seq
        orchestrator.add_score(0.75)
        penin.backup(tmp_path / "one", tmp_path / "two")
        penin.restore(tmp_path / "one", tmp_path / "three", seq=seq)
    assert list(penin.load(tmp_path / "two").score_history) == [0.25, 0.5, 0.75]
    assert list(penin.load(tmp_path / "three").score_history) == [0.25, 0.5]
    for name in ("two", "three"):
        assert (tmp_path / name / f"state{suffix}").exists()
        with penin.open_sync(tmp_path / name) as orchestrator:
            orchestrator.add_score(1.0)


@each
def test_a_compressed_state_that_was_saved_becomes_a_store(
    tmp_path: Path, chosen: Any, suffix: str
) -> None:
    path = tmp_path / f"state{suffix}"
    filled().save_state(path)
    with penin.open_sync(tmp_path, settings=Settings(**chosen)) as orchestrator:
        assert orchestrator.get("ints") == filled().knowledge_base["ints"]
    assert len(list(tmp_path.glob(f"state.original-*{suffix}"))) == 1


@each
async def test_the_journal_that_is_kept_is_compressed_and_every_past_is_there(
    chosen: Any, suffix: str
) -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, Settings(**chosen, keep_last=3), None, fs) as orchestrator:
        for number in range(10):
            await orchestrator.add_score(number)
            if number % 2:
                await orchestrator.checkpoint()
        end = f".jsonl.{suffix.rpartition('.')[2]}"
        journal = fs.names(STORE / "journal")
        assert [name[18:] for name in journal] == [f"07{end}", f"09{end}", "11.jsonl"]
        for seq in range(6, 11):
            assert list(state_at(STORE, seq=seq, fs=fs).state.score_history)[-1] == seq - 1
        await orchestrator.add_score(10.0)
    assert list(read_state(STORE, fs).score_history) == [float(number) for number in range(11)]
    backup_at(STORE, STORE.with_name("copy"), fs)
    assert [name for name in fs.names(STORE.with_name("copy") / "journal") if end in name]


async def test_what_cannot_be_compressed_is_told_and_compressed_after_the_next_checkpoint() -> None:
    fs, logger = CrashableFileSystem(), HostLogger()
    async with Opening(STORE, Settings(compress="gzip"), logger, fs) as orchestrator:
        await orchestrator.add_score(0.5)
        # The snapshot, its names, and what goes before: two renames, and the third is the one.
        fs.fail("rename", errno.EIO, at=3)
        assert await orchestrator.checkpoint() == 1
        await orchestrator.add_score(1.0)
        assert fs.names(STORE / "journal")[0].endswith(".jsonl")
        assert await orchestrator.checkpoint() == 2
        assert fs.names(STORE / "journal")[0].endswith(".jsonl.gz")
    events = [event for _, event, _ in logger.calls]
    assert events.count("checkpoint.uncompressed") == 1


async def test_a_plain_store_keeps_a_plain_journal() -> None:
    fs = CrashableFileSystem()
    async with Opening(STORE, Settings(), None, fs) as orchestrator:
        for number in range(3):
            await orchestrator.add_score(number)
            await orchestrator.checkpoint()
    assert all(name.endswith(".jsonl") for name in fs.names(STORE / "journal"))


async def test_a_store_in_memory_takes_the_setting_too() -> None:
    async with penin.open(":memory:", settings=Settings(compress="gzip")) as orchestrator:
        await orchestrator.add_score(0.5)
        assert await orchestrator.checkpoint() == 1
        await orchestrator.add_score(1.0)
