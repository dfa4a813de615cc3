"""Encrypted stores: nothing of them is to be read without the key, and with it all is as ever."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import penin
from penin.core import door
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import (
    CorruptionError,
    KeyRequiredError,
    NotEncryptedError,
    PeninError,
    StorageError,
    WrongKeyError,
)
from penin.ingress.rejected import RejectedLines, read_rejected
from penin.runtime.backup import backup_at
from penin.runtime.convert import convert, new_store
from penin.runtime.past import read_state, read_store, state_at
from penin.runtime.progress import Progress
from penin.runtime.repair import plan_repair, repair
from penin.runtime.restore import Place, restore_at
from penin.runtime.verify import verify_store
from penin.settings import Settings
from penin.storage.keys import KEYS_NAME
from tests.core import strategies
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem, Effect
from tests.runtime import indexes
from tests.runtime.crashing import Diary, Life, live, recovered
from tests.runtime.encrypted import (
    CHOSEN,
    FORMATS,
    MATRIX,
    NEEDLES,
    bits,
    each,
    made,
    paths_in,
    scored,
)
from tests.runtime.stores import STORE, open_on, state_on
from tests.slices import operations
from tests.storage.keyed import keyed, master_of, os_keyed

pytestmark = pytest.mark.sliced


@each
async def test_no_file_shows_anything_and_with_the_key_all_is_there(chosen: Any) -> None:
    fs = await made(**chosen)
    paths = paths_in(fs)
    kinds = {path.relative_to(STORE).parts[0] for path in paths}
    assert kinds >= {"journal", "checkpoints", "sealed", KEYS_NAME, "lock"}
    assert any(path.name.startswith("state.before-schema-1.") for path in paths)
    for path in paths:
        assert not any(needle in fs.content(path) for needle in NEEDLES), path
    before = bits(read_state(STORE, fs))
    async with open_on(fs) as orchestrator:
        assert orchestrator.view.documents["needle"] == "another needle"
        row = orchestrator.view.knowledge_base["needle 3"].array
        assert row.tobytes() == MATRIX[::-1][3].tobytes()
        await orchestrator.add_score(1.0)
        await orchestrator.remove_document("none")
    assert bits(read_state(STORE, fs)) != before
    names = [path.name for path in paths_in(fs) if path.parent.name != "sealed"]
    assert all(name.endswith((".enc", ".jsonl", "lock", KEYS_NAME)) for name in names)


@each
def test_any_checkpoint_and_any_moment_can_be_restored_and_stays_encrypted(
    chosen: Any,
) -> None:
    fs = asyncio.run(made(**chosen))
    target = Path("/restored")
    seq = read_state(STORE, fs).seq - 1
    restored = restore_at(STORE, target, Place(seq=seq), fs=fs)
    assert restored.seq <= seq
    assert bits(read_state(target, fs)) == bits(state_at(STORE, seq=seq, fs=fs).state)
    for path in paths_in(fs, target):
        assert b"needle" not in fs.content(path)
    ring, own = (fs.content(place / KEYS_NAME) for place in (STORE, target))
    assert ring != own, "with data keys of its own"
    (name,) = fs.names(target / "journal")
    header = fs.content(target / "journal" / name).splitlines()[0]
    assert json.loads(header)["forked_from"]["store"] == restored.forked_from


@each
def test_a_backup_opens_by_itself_with_the_same_key(chosen: Any) -> None:
    fs = asyncio.run(made(**chosen))
    copy = Path("/copy")
    assert backup_at(STORE, copy, fs).seq == read_state(STORE, fs).seq
    assert fs.content(copy / KEYS_NAME) == fs.content(STORE / KEYS_NAME)
    assert bits(read_state(copy, fs)) == bits(read_state(STORE, fs))
    asyncio.run(scored(fs, copy))
    assert read_state(copy, fs).seq == read_state(STORE, fs).seq + 1


@each
def test_a_damaged_snapshot_is_set_aside_and_the_ladder_leads_to_the_same(
    chosen: Any,
) -> None:
    fs = asyncio.run(made(**chosen))
    expected = bits(read_state(STORE, fs))
    (name,) = [name for name in fs.names(STORE) if name.startswith("state.") and "be" not in name]
    data = bytearray(fs.content(STORE / name))
    data[-20] ^= 4
    fs.replace_content(STORE / name, bytes(data))
    fs.replace_content(STORE / "checkpoints" / fs.names(STORE / "checkpoints")[-1], bytes(data))
    plan = plan_repair(STORE, fs=fs)
    assert plan.is_needed
    with pytest.raises(KeyRequiredError):
        repair(plan, Path("/repaired"))
    repair(plan, Path("/repaired"), fs)
    assert bits(read_state(Path("/repaired"), fs)) == expected
    asyncio.run(scored(fs))
    assert bits(state_at(STORE, seq=plan.seq, fs=fs).state) == expected
    assert [name for name in fs.names(STORE) if ".corrupt-" in name]


@given(
    st.lists(strategies.messages(), max_size=8),
    st.lists(
        st.tuples(
            st.sampled_from(FORMATS),
            st.sampled_from([None, "gzip", "gzip:9", "zstd", "zstd:1"]),
            st.sampled_from([None, "first", "second"]),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_any_state_comes_back_through_any_chain_of_format_compression_and_encryption(
    messages, chain
):
    state = State()
    for message in messages:
        state.apply(message.body, state.seq + 1)
    expected, envelope = bits(state), Envelope()
    for form, compress, key in chain:
        disk = CrashableFileSystem()
        fs = disk if key is None else keyed(disk, key)
        new_store(STORE, Settings(format=form, compress=compress), state, envelope, fs=fs)
        state, envelope = read_store(STORE, fs.after_kill())
        assert bits(state) == expected


@given(
    st.lists(strategies.messages(), max_size=6),
    st.lists(strategies.messages(), max_size=6),
    st.sampled_from(CHOSEN),
)
def test_what_was_acknowledged_is_what_the_key_gives_back(before, after, chosen):
    fs = keyed()

    async def main() -> None:
        async with open_on(fs, **chosen) as orchestrator:
            for message in before:
                await orchestrator.send(message)
            await orchestrator.checkpoint()
            for message in after:
                await orchestrator.send(message)
            killed = fs.after_kill()
            shown = bits(orchestrator._actor.state)
        assert bits(read_state(STORE, killed)) == shown == bits(read_state(STORE, fs))

    asyncio.run(main())


@pytest.mark.parametrize("effect", ["none", "half", "whole"])
def test_a_crash_at_any_operation_of_making_one_leaves_it_whole_or_to_be_made_again(
    effect: Effect,
) -> None:
    state, settings, number, ended = State(), Settings(), 0, False
    state.apply(door.add_score(1.0).body, 1)
    while not ended:
        number += 1
        disk = keyed()
        disk.crash_at, disk.crash_effect = number, effect
        with contextlib.suppress(Crash):
            new_store(STORE, settings, state, Envelope(), digest="a" * 64, fs=disk)
            ended = True
        for left in (disk.after_crash(number), disk.after_kill()):
            with contextlib.suppress(StorageError):  # there is one already
                new_store(STORE, settings, state, Envelope(), digest="a" * 64, fs=left)
            assert bits(read_state(STORE, left.after_kill())) == bits(state)
    assert number > 15


def test_a_store_is_converted_into_an_encrypted_one_and_back(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b64encode(master_of("first")))
    (tmp_path / "other").write_bytes(b64encode(master_of("second")))
    key, other = f"file:{tmp_path / 'key'}", f"file:{tmp_path / 'other'}"
    one, two, three, four = (tmp_path / name for name in ("one", "two", "three", "four"))
    with penin.open_sync(one) as orchestrator:
        orchestrator.put_document("needle", 1)
    convert(one, two, key_from=key, format="safetensors")
    convert(two, three, key_from=other, source_key_from=key)
    convert(three, four, source_key_from=other)
    assert penin.load(four).documents["needle"] == 1
    assert penin.load(two, key_from=key).documents["needle"] == 1
    assert penin.load(three, key_from=other).documents["needle"] == 1
    ids = [verify_store(one, Progress()).store]
    for place, named in ((two, key), (three, other), (four, None)):
        report = penin.verify(place, key_from=named)
        assert report.is_sound
        (journal,) = (place / "journal").iterdir()
        header = json.loads(journal.read_bytes().splitlines()[0])
        assert header["forked_from"]["store"] == ids[-1]
        ids.append(report.store)
        assert report.notes == []
    with pytest.raises(WrongKeyError):
        convert(three, tmp_path / "five", key_from=key)
    with pytest.raises(NotEncryptedError):
        convert(four, tmp_path / "five", key_from=key, source_key_from=key)
    convert(two / "state.safetensors.enc", tmp_path / "six", source_key_from=key)
    penin.backup(two, tmp_path / "seven", key_from=key)
    penin.restore(tmp_path / "seven", tmp_path / "eight", seq=1, key_from=key)
    assert penin.load(tmp_path / "eight", key_from=key).documents["needle"] == 1


@each
def test_everything_in_it_is_verified_with_the_key(chosen: Any, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b64encode(master_of("first")))
    place, key = tmp_path / "store", f"file:{tmp_path / 'key'}"
    with penin.open_sync(place, settings=Settings(key_from=key, **chosen)) as orchestrator:
        orchestrator.put_document("needle", 1)
        orchestrator.checkpoint()
        orchestrator.extend_knowledge(["a", "b"], np.eye(2))
    report = penin.verify(place, key_from=key)
    assert report.is_sound
    assert report.notes == []
    assert {snapshot.verdict for snapshot in report.snapshots} <= {"same", "unchecked"}
    with pytest.raises(KeyRequiredError):
        penin.verify(place)
    (journal, newest) = sorted((place / "journal").iterdir())
    for path in (journal, *(place / "checkpoints").iterdir()):
        data = path.read_bytes()
        path.write_bytes(data[:-90] + bytes([data[-90] ^ 1]) + data[-89:])
        assert not penin.verify(place, key_from=key).is_sound
        path.write_bytes(data)
    assert newest.read_bytes().count(b"\n") == 1


def test_an_encrypted_store_is_opened_with_a_key_from_its_settings(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b64encode(master_of("first")))
    settings = Settings(key_from=f"file:{tmp_path / 'key'}")
    for _ in range(2):
        with penin.open_sync(tmp_path / "store", settings=settings) as orchestrator:
            orchestrator.put_document("needle", 1)
    assert not any(b"needle" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


async def quiet(life: Life) -> None:
    """Everything that makes, fills and retires a file."""
    await life.send(2)
    await life.checkpoint()
    await life.send(1, padding=900)
    await life.checkpoint()
    await life.send()


@pytest.mark.parametrize("effect", ["none", "half", "whole"])
def test_a_crash_at_any_operation_of_an_encrypted_life_loses_nothing(effect: Effect) -> None:
    longest = len(live(keyed(), quiet, Diary()).operations)
    assert longest > 60
    for number in operations(f"encrypted life {effect}", longest):
        disk, diary = keyed(), Diary()
        disk.crash_at, disk.crash_effect = number, effect
        disk = live(disk, quiet, diary)
        for left in (disk.after_crash(number), disk.after_kill()):
            numbers = recovered(left)
            assert numbers == [float(n) for n in range(1, len(numbers) + 1)]
            assert diary.acknowledged <= len(numbers) <= diary.sent


async def test_a_first_opening_that_finds_no_room_is_done_again() -> None:
    for operation in ("write", "sync_file", "rename", "link"):
        for number in range(1, 5):
            fs = keyed()
            fs.fail(operation, errno.ENOSPC, at=number)
            try:
                async with open_on(fs) as orchestrator:
                    await orchestrator.add_score(1.0)
            except PeninError:
                pass
            fs = fs.after_kill()
            async with open_on(fs) as orchestrator:
                await orchestrator.add_score(2.0)
            assert state_on(fs).score_history[-1] == 2.0


async def test_an_index_is_encrypted_and_found_again(tmp_path, monkeypatch) -> None:
    (tmp_path / "key").write_bytes(b64encode(master_of("first")))
    key = f"file:{tmp_path / 'key'}"
    monkeypatch.setattr("penin.runtime.indexer.NEWER_MIN", 10)
    for _ in range(2):
        async with indexes.running_on(tmp_path / "store", key_from=key) as running:
            if not running.orchestrator.view.knowledge_base:
                keys, matrix = indexes.names(300), indexes.vectors(300)
                await running.orchestrator.extend_knowledge(keys, matrix)
                await indexes.built(running)
            assert await indexes.asked(running)
    data = (tmp_path / "store" / "index" / indexes.NAME).read_bytes()
    assert data.startswith(b'{"format":"penin-encrypted"')
    assert b"k299" not in data


def test_rejected_lines_are_encrypted_and_come_back_byte_for_byte(tmp_path: Path) -> None:
    fs = os_keyed()
    new_store(tmp_path / "store", Settings(), State(), Envelope(), fs=fs)
    place = tmp_path / "store"
    lines = [b"needle\xff\r", b"", b'{"needle"']

    async def reject() -> None:
        async with RejectedLines(place, fs) as rejected:
            for line in lines:
                await rejected.append(line)
            await rejected.append(b"nee", ends_line=False)
            await rejected.append(b"dle", ends_line=False)

    for _ in range(2):
        asyncio.run(reject())
    path = place / "rejected.jsonl"
    kept = path.read_bytes()

    async def reject_without_the_key() -> None:
        async with RejectedLines(place) as rejected:
            await rejected.append(b"needle")

    with pytest.raises(KeyRequiredError):
        asyncio.run(reject_without_the_key())
    assert path.read_bytes() == kept
    assert b"needle" not in path.read_bytes()
    expected = b"".join(line + b"\n" for line in [*lines, b"needle"]) * 2
    assert b"".join(read_rejected(place, fs)) == expected
    with path.open("ab") as file:
        file.write(b'{"key":"was cut')
    assert b"".join(read_rejected(place, fs)) == expected
    data = bytearray(path.read_bytes())
    data[data.index(b'"data":"') + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptionError, match="damaged at byte 0: it does not authenticate"):
        b"".join(read_rejected(place, fs))
