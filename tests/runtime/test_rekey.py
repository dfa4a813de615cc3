"""`penin.rekey`: another master key, and nothing else is written; a crash at every operation."""

from __future__ import annotations

import asyncio
import contextlib
from base64 import b64encode
from pathlib import Path

import pytest

import penin
from penin.errors import (
    LockedError,
    NotEncryptedError,
    RefusedValueError,
    StorageFullError,
    UsageError,
    WrongKeyError,
)
from penin.runtime.past import read_state
from penin.runtime.rekey import rekey_at
from penin.settings import Settings
from penin.storage.keys import KEYS_NAME
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem, Effect
from tests.runtime.stores import JOURNAL, STORE, open_on
from tests.storage.keyed import keyed, keys_of, master_of

SCORES = [1.0, 2.0, 3.0]


async def lived(fs: CrashableFileSystem, *scores: float) -> None:
    async with open_on(fs) as orchestrator:
        for score in scores:
            await orchestrator.add_score(score)


@pytest.fixture
def fs() -> CrashableFileSystem:
    """A store that the key `first` opens."""
    disk = keyed()
    asyncio.run(lived(disk, *SCORES))
    return disk.after_kill()


def scores_with(disk: CrashableFileSystem, name: str) -> list[float]:
    return list(read_state(STORE, keyed(disk.after_kill(), name)).histories["score_history"])


def test_the_new_key_opens_the_store_and_the_old_one_does_not(fs):
    before = {name: fs.content(JOURNAL / name) for name in fs.names(JOURNAL)}
    done = rekey_at(STORE, keys_of("second"), fs)
    assert done.data_keys == 2
    assert scores_with(fs, "second") == SCORES
    with pytest.raises(WrongKeyError):
        scores_with(fs, "first")
    assert {name: fs.content(JOURNAL / name) for name in fs.names(JOURNAL)} == before


def test_what_is_begun_from_then_on_has_the_new_data_key(fs):
    new = rekey_at(STORE, keys_of("second"), fs).new_key.encode()
    disk = keyed(fs.after_kill(), "second")
    asyncio.run(lived(disk, 4.0))
    newest = disk.content(JOURNAL / disk.names(JOURNAL)[-1])
    assert b'"key":"%b"' % new in newest
    assert b'"key":"%b"' % new in disk.content(STORE / "state.json.enc")
    assert b'"key":"%b"' % new not in disk.content(JOURNAL / disk.names(JOURNAL)[0])
    assert scores_with(disk, "second") == [*SCORES, 4.0]


@pytest.mark.parametrize("effect", ["none", "half", "whole"])
def test_a_crash_at_any_operation_leaves_a_store_that_one_of_the_two_keys_opens(fs, effect: Effect):
    number, ended = 0, False
    while not ended:
        number += 1
        disk = fs.after_kill()
        disk.crash_at, disk.crash_effect = number, effect
        with contextlib.suppress(Crash):
            rekey_at(STORE, keys_of("second"), disk)
            ended = True
        disk.crash_at = None
        for left in (disk.after_crash(number), disk.after_kill()):
            opening = []
            for name in ("first", "second"):
                with contextlib.suppress(WrongKeyError):
                    assert scores_with(left, name) == SCORES
                    opening.append(name)
            (name,) = opening
            assert not ended or name == "second"
            again = keyed(left.after_kill(), name)
            rekey_at(STORE, keys_of("third"), again)
            asyncio.run(lived(keyed(again, "third"), 4.0))
            assert scores_with(again, "third") == [*SCORES, 4.0]
            assert not [name for name in again.names(STORE) if name.endswith(".tmp")]
    assert number > 5


def test_what_fails_leaves_the_old_key(fs):
    fs.fail("write", 28, at=2)  # after what stands in the lock
    with pytest.raises(StorageFullError):
        rekey_at(STORE, keys_of("second"), fs)
    assert scores_with(fs, "first") == SCORES
    with pytest.raises(WrongKeyError):
        rekey_at(STORE, keys_of("second"), keyed(fs.after_kill(), "third"))


async def test_a_store_that_somebody_has_open_is_left_alone(fs, monkeypatch):
    async with open_on(fs):
        with pytest.raises(LockedError):
            await asyncio.to_thread(rekey_at, STORE, keys_of("second"), fs)
    assert fs.exists(STORE / KEYS_NAME)


def test_a_plain_store_has_no_key_to_be_changed(tmp_path: Path):
    (tmp_path / "key").write_bytes(b64encode(master_of("first")))
    (tmp_path / "new").write_bytes(b64encode(master_of("second")))
    key, new = f"file:{tmp_path / 'key'}", f"file:{tmp_path / 'new'}"
    with penin.open_sync(tmp_path / "plain") as orchestrator:
        orchestrator.add_score(1.0)
    with pytest.raises(NotEncryptedError):
        penin.rekey(tmp_path / "plain", key_from=key, new_key_from=new)
    with pytest.raises(FileNotFoundError):
        penin.rekey(tmp_path / "none", key_from=key, new_key_from=new)
    with pytest.raises(RefusedValueError):
        penin.rekey(tmp_path / "plain", key_from=key, new_key_from="new")
    settings = Settings(key_from=key)
    with penin.open_sync(tmp_path / "one", settings=settings) as orchestrator:
        orchestrator.add_score(1.0)
    with pytest.raises(UsageError):
        penin.rekey(tmp_path / "one", key_from=key, new_key_from="file:/nowhere")
    penin.rekey(tmp_path / "one", key_from=key, new_key_from=new)
    assert list(penin.load(tmp_path / "one", key_from=new).score_history) == [1.0]
