"""A directory that is there whole or not at all."""

from __future__ import annotations

import errno
import stat

import pytest

from penin.errors import LockedError, StorageError, StorageFullError
from penin.storage.filesystem import OsFileSystem, read_file, write_synced
from penin.storage.staging import staged
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.storage.owner import STORE

TARGET = STORE / "copy"
PARTIAL = STORE / ".copy.partial"


def build(fs, directory, *, content=b"x" * 1500):
    """Something with a directory in it."""
    with staged(fs, directory) as partial:
        write_synced(fs, partial / "file", [content])
        fs.make_directory(partial / "inside")
        write_synced(fs, partial / "inside" / "another", [content[:10]])


def is_whole(fs, directory, *, content=b"x" * 1500):
    return (
        read_file(fs, directory / "file") == content
        and read_file(fs, directory / "inside" / "another") == content[:10]
    )


@pytest.fixture(params=["os", "crashable"])
def place(request, tmp_path):
    if request.param == "os":
        return OsFileSystem(), tmp_path
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    return fs, STORE


def test_what_was_built_is_there_under_its_name_and_under_no_other(place):
    fs, root = place
    build(fs, root / "copy")
    assert is_whole(fs, root / "copy")
    assert fs.names(root) == ["copy"]


def test_files_and_directories_are_the_owners_alone(tmp_path):
    build(OsFileSystem(), tmp_path / "copy")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"copy": 0o700, "inside": 0o700, "file": 0o600, "another": 0o600, "lock": 0o600}


def test_parents_are_made_and_an_empty_directory_is_taken(place):
    fs, root = place
    build(fs, root / "a" / "b" / "copy")
    assert is_whole(fs, root / "a" / "b" / "copy")
    fs.make_directory(root / "empty")
    build(fs, root / "empty")
    assert is_whole(fs, root / "empty")


def test_what_is_there_already_is_not_touched(place):
    fs, root = place
    build(fs, root / "copy")
    with pytest.raises(StorageError, match="not empty"):
        build(fs, root / "copy", content=b"other")
    with pytest.raises(StorageError, match="not a directory"):
        build(fs, root / "copy" / "file")
    assert is_whole(fs, root / "copy")
    assert fs.names(root) == ["copy"]


def test_what_appears_there_meanwhile_is_not_touched(place):
    fs, root = place

    def build_beside_another():
        with staged(fs, root / "copy") as partial:
            write_synced(fs, partial / "file", [b"mine"])
            build(fs, root / "other", content=b"yours")
            fs.rename(root / "other", root / "copy")

    with pytest.raises(StorageError):
        build_beside_another()
    assert read_file(fs, root / "copy" / "file") == b"yours"
    assert fs.names(root) == ["copy"]


def test_an_error_leaves_nothing(place):
    fs, root = place

    def build_and_fail():
        with staged(fs, root / "copy") as partial:
            fs.make_directory(partial / "inside")
            write_synced(fs, partial / "inside" / "file", [b"x"])
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        build_and_fail()
    assert fs.names(root) == []
    build(fs, root / "copy")


def test_two_do_not_build_the_same_at_once(place):
    fs, root = place
    with staged(fs, root / "copy") as partial:
        write_synced(fs, partial / "file", [b"first"])
        with pytest.raises(LockedError):
            build(fs, root / "copy")
        assert read_file(fs, partial / "file") == b"first"
    assert read_file(fs, root / "copy" / "file") == b"first"


@pytest.mark.parametrize("operation", ["mkdir", "rename", "sync_directory", "create"])
@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, StorageError), (28, StorageFullError)])
def test_what_the_disk_refuses_is_an_error_of_ours(operation, number, kind):
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    fs.fail(operation, number)
    with pytest.raises(kind):
        build(fs, TARGET)
    assert not fs.exists(TARGET) or operation == "sync_directory"


def test_whatever_the_crash_there_is_all_of_it_or_nothing_and_it_can_be_done_again():
    for crash_at in range(1, 200):
        for seed in range(6):
            fs = CrashableFileSystem(seed=seed)
            fs.make_directory(STORE)
            fs.crash_at = len(fs.operations) + crash_at
            fs.crash_effect = ("none", "half", "whole")[seed % 3]
            try:
                build(fs, TARGET)
            except Crash:
                has_ended = False
            else:
                has_ended = True
            for disk in (fs.after_kill(), fs.after_crash(seed)):
                there = disk.exists(TARGET)
                assert there or not has_ended
                assert not there or is_whole(disk, TARGET)
                if not there:
                    build(disk, TARGET, content=b"again" * 99)
                    assert is_whole(disk.after_crash(seed), TARGET, content=b"again" * 99)
                    assert PARTIAL.name not in disk.names(STORE)
            if has_ended and seed == 5:
                return
    pytest.fail("a building without an end")
