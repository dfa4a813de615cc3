"""A file that is appended to: what is final and what is not."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from penin.errors import JournalFailedError, StorageFullError
from penin.storage.append_file import AppendFile
from tests.fakes.crashable_filesystem import Crash

PATH = Path("/store/file")


@pytest.fixture
def file(fs) -> AppendFile:
    return AppendFile(fs, PATH, fs.open_write(PATH), 0)


def test_an_append_is_one_write_and_a_sync_one_sync(fs, file):
    del fs.operations[:]
    file.append(b"one")
    file.append(b"two")
    assert file.unsynced
    file.sync()
    file.sync()
    assert fs.operations == ["write", "write", "sync_file"]
    assert not file.unsynced
    assert file.size == 6
    assert fs.content(PATH) == b"onetwo"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("partial", [None, 2])
def test_without_room_the_file_is_cut_back_and_synced_and_goes_on(fs, file, number, partial):
    file.append(b"one")
    fs.fail("write", number, partial=partial)
    with pytest.raises(StorageFullError):
        file.append(b"two and more")
    assert fs.content(PATH) == b"one"
    assert fs.operations[-2:] == ["truncate", "sync_file"]
    assert not file.unsynced
    file.append(b"three")
    file.sync()
    assert fs.content(PATH) == b"onethree"


@pytest.mark.parametrize("then", ["truncate", "sync_file"])
def test_a_failed_cut_is_final(fs, file, then):
    fs.fail("write", errno.ENOSPC, partial=2)
    fs.fail(then, errno.EIO)
    with pytest.raises(JournalFailedError):
        file.append(b"one")
    assert_final(fs, file)


def test_any_other_failed_write_is_final(fs, file):
    fs.fail("write", errno.EIO)
    with pytest.raises(JournalFailedError):
        file.append(b"one")
    assert_final(fs, file)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failed_sync_is_final_whatever_it_says(fs, file, number):
    file.append(b"one")
    fs.fail("sync_file", number)
    with pytest.raises(JournalFailedError):
        file.sync()
    assert_final(fs, file)


def test_what_breaks_a_write_off_is_final_and_goes_on_its_way(fs, file):
    fs.crash_at = len(fs.operations) + 1
    with pytest.raises(Crash):
        file.append(b"one")
    with pytest.raises(JournalFailedError):
        file.check()


def assert_final(fs, file) -> None:
    operations = list(fs.operations)
    for call in (lambda: file.append(b"two"), file.sync, file.check):
        with pytest.raises(JournalFailedError, match="outcome is unknown"):
            call()
    file.close()
    assert fs.operations == operations, "the file was touched again"
    assert fs.open_descriptors == 0


def test_closing_syncs_what_is_unsynced_once(fs, file):
    file.append(b"one")
    file.close()
    file.close()
    assert fs.operations[-1] == "sync_file"
    assert fs.open_descriptors == 0


def test_a_sync_that_fails_while_closing_is_told_and_the_file_is_closed(fs, file):
    file.append(b"one")
    fs.fail("sync_file", errno.EIO)
    with pytest.raises(JournalFailedError):
        file.close()
    assert fs.open_descriptors == 0
