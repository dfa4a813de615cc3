"""What is refused of encrypted stores: no key, another key, and whatever is plain."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import penin
from penin.errors import (
    CorruptionError,
    FormatError,
    KeyRequiredError,
    NotEncryptedError,
    RefusedValueError,
    StorageError,
    WrongKeyError,
)
from penin.ingress.rejected import read_rejected
from penin.runtime.backup import backup_at
from penin.runtime.ledger import Selection, read_entries, read_head, verify_chain
from penin.runtime.past import read_state, state_at
from penin.runtime.repair import plan_repair
from penin.runtime.restore import Place, restore_at
from penin.settings import Settings
from penin.storage.keys import KEYS_NAME
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.encrypted import (
    FORMATS,
    bits,
    contents_of,
    each,
    made,
    scored,
)
from tests.runtime.stores import JOURNAL, STORE, open_on
from tests.storage.keyed import keyed, os_keyed

pytestmark = pytest.mark.sliced


@each
def test_without_the_key_or_with_another_nothing_is_read_or_changed(chosen: Any) -> None:
    fs = asyncio.run(made(**chosen))
    content = contents_of(fs)

    def readings(disk: CrashableFileSystem) -> list[Any]:
        elsewhere = Path("/elsewhere")
        return [
            lambda: read_state(STORE, disk),
            lambda: state_at(STORE, seq=2, fs=disk),
            lambda: list(read_entries(STORE, Selection(), disk)),
            lambda: plan_repair(STORE, fs=disk),
            lambda: backup_at(STORE, elsewhere, disk),
            lambda: restore_at(STORE, elsewhere, Place(seq=2), fs=disk),
            lambda: list(read_rejected(STORE, disk)),
        ][: 7 if disk.keys is None else 6]

    for name, error in ((None, KeyRequiredError), ("second", WrongKeyError)):
        disk = fs.after_kill()
        disk.keys = None if name is None else keyed(CrashableFileSystem(), name).keys
        for reading in readings(disk):
            with pytest.raises(error):
                reading()
        with pytest.raises(error):
            asyncio.run(scored(disk))
        assert contents_of(disk) == content
        # The chain is there for everybody.
        assert verify_chain(STORE, fs=disk).is_whole
        assert read_head(STORE, disk) == read_head(STORE, fs)


@pytest.mark.parametrize("format_", FORMATS)
async def test_with_a_key_a_plain_store_is_refused_and_left_as_it_is(format_: Any) -> None:
    fs = CrashableFileSystem()
    async with open_on(fs, format=format_) as orchestrator:
        await orchestrator.add_score(1.0)
        without_checkpoint = fs.after_kill()
    for plain in (fs, without_checkpoint):
        content = contents_of(plain)
        disk = keyed(plain)
        for reading in (
            lambda disk=disk: read_state(STORE, disk),
            lambda disk=disk: state_at(STORE, seq=1, fs=disk),
            lambda disk=disk: backup_at(STORE, Path("/copy"), disk),
            lambda disk=disk: plan_repair(STORE, fs=disk),
        ):
            with pytest.raises(StorageError) as raised:
                reading()
            assert isinstance(raised.value, NotEncryptedError)
        with pytest.raises(NotEncryptedError, match="penin convert"):
            async with open_on(disk):
                pytest.fail("opened")
        assert contents_of(disk) == content


async def test_an_original_file_is_refused_with_a_key(tmp_path: Path) -> None:
    state: dict[str, object] = {"knowledge_base": {}, "task_history": [], "score_history": []}
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(NotEncryptedError):
        read_state(tmp_path, os_keyed())


async def test_no_plain_file_takes_the_place_of_an_encrypted_one() -> None:
    fs = await made(format="json")
    plain = CrashableFileSystem()
    async with open_on(plain) as orchestrator:
        await orchestrator.add_score(666.0)
    journal = JOURNAL / f"{1:020d}.jsonl"
    forged = plain.content(STORE / "state.json")

    disk = fs.after_kill()  # beside it
    _put(disk, STORE / "state.json", forged)
    with pytest.raises(FormatError, match="are both there"):
        read_state(STORE, disk)
    disk.unlink(STORE / "state.json.enc")  # instead of it
    with pytest.raises(NotEncryptedError):
        read_state(STORE, disk)
    disk = fs.after_kill()  # under its name: as any other damage
    disk.replace_content(STORE / "state.json.enc", forged)
    assert bits(read_state(STORE, disk)) == bits(read_state(STORE, fs))
    for name in disk.names(STORE / "checkpoints"):
        disk.replace_content(STORE / "checkpoints" / name, forged)
    with pytest.raises(CorruptionError):
        read_state(STORE, disk)
    disk = fs.after_kill()  # the journal, with a chain of its own
    for name in disk.names(JOURNAL):
        disk.unlink(JOURNAL / name)
    _put(disk, journal, plain.content(journal))
    with pytest.raises((CorruptionError, FormatError)):
        read_state(STORE, disk)
    disk.unlink(STORE / KEYS_NAME)  # and no trace of a ring
    with pytest.raises((CorruptionError, FormatError)):
        read_state(STORE, disk)


def _put(fs: CrashableFileSystem, path: Path, data: bytes) -> None:
    fs.close(fs.open_write(path))
    fs.replace_content(path, data)


async def test_files_of_another_store_with_the_same_master_key_are_refused() -> None:
    fs, other = await made(format="safetensors"), await made(format="safetensors")
    for name in ("state.safetensors.enc", KEYS_NAME):
        disk = fs.after_kill()
        disk.replace_content(STORE / name, other.content(STORE / name))
        if name != KEYS_NAME:
            assert bits(read_state(STORE, disk)) == bits(read_state(STORE, fs)), "by the ladder"
            continue
        with pytest.raises((CorruptionError, FormatError)):
            read_state(STORE, disk)


async def test_in_memory_there_is_nothing_to_encrypt() -> None:
    with pytest.raises(RefusedValueError, match="key_from: a store in memory"):
        async with penin.open(":memory:", settings=Settings(key_from="env:X")):
            pytest.fail("opened")
