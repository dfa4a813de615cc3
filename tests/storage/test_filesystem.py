"""The real file system and the crashable one keep the same contract."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from penin.errors import StorageError, StorageFullError
from penin.storage import filesystem
from penin.storage.filesystem import (
    FileSystem,
    OsFileSystem,
    read_file,
    storage_error,
    write_all,
    write_file_durably,
    write_synced,
)
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem

ROOT = Path("/root")


@pytest.fixture(params=["os", "crashable"])
def place(request, tmp_path) -> tuple[FileSystem, Path]:
    if request.param == "os":
        return OsFileSystem(), tmp_path
    fs = CrashableFileSystem()
    fs.make_directory(ROOT)
    return fs, ROOT


def test_what_is_written_at_an_offset_is_read_at_that_offset(place):
    fs, root = place
    fd = fs.open_write(root / "file")
    assert fs.write(fd, b"world", 6) == 5
    assert fs.write(fd, memoryview(b"hello"), 0) == 5
    assert fs.read(fd, 100, 0) == b"hello\0world"
    assert fs.read(fd, 3, 6) == b"wor"
    assert fs.read(fd, 3, 11) == b""
    assert fs.size(fd) == 11
    fs.truncate(fd, 2)
    fs.sync_file(fd)
    fs.close(fd)
    assert read_file(fs, root / "file") == b"he"


def test_a_directory_takes_the_name_of_nothing_or_of_an_empty_one(place):
    fs, root = place
    for name in ("one", "empty", "full"):
        fs.make_directory(root / name)
    fs.close(fs.open_write(root / "one" / "file"))
    fs.close(fs.open_write(root / "full" / "file"))
    with pytest.raises(OSError, match="not empty"):
        fs.rename(root / "one", root / "full")
    fs.rename(root / "one", root / "empty")
    fs.rename(root / "empty", root / "new")
    assert fs.names(root / "new") == ["file"]
    assert fs.names(root) == ["full", "new"]


def test_only_an_empty_directory_is_removed(place):
    fs, root = place
    fs.make_directory(root / "one")
    fs.close(fs.open_write(root / "one" / "file"))
    with pytest.raises(OSError, match="not empty"):
        fs.remove_directory(root / "one")
    with pytest.raises(IsADirectoryError):
        fs.unlink(root / "one")
    with pytest.raises(NotADirectoryError):
        fs.names(root / "one" / "file")
    fs.unlink(root / "one" / "file")
    fs.remove_directory(root / "one")
    assert fs.names(root) == []


def test_opening_exclusively_refuses_what_exists(place):
    fs, root = place
    fs.close(fs.open_write(root / "file", exclusive=True))
    with pytest.raises(FileExistsError):
        fs.open_write(root / "file", exclusive=True)
    fs.close(fs.open_write(root / "file"))


def test_what_is_not_there_is_not_found(place):
    fs, root = place
    with pytest.raises(FileNotFoundError):
        fs.open_read(root / "none")
    with pytest.raises(FileNotFoundError):
        fs.unlink(root / "none")
    with pytest.raises(FileNotFoundError):
        fs.rename(root / "none", root / "other")
    with pytest.raises(FileNotFoundError):
        fs.names(root / "none")
    assert not fs.exists(root / "none")


def test_a_rename_replaces_and_a_link_does_not(place):
    fs, root = place
    write_file_durably(fs, root / "a", [b"a"])
    write_file_durably(fs, root / "b", [b"b"])
    with pytest.raises(FileExistsError):
        fs.link(root / "a", root / "b")
    fs.link(root / "a", root / "c")
    fs.rename(root / "a", root / "b")
    assert fs.names(root) == ["b", "c"]
    assert read_file(fs, root / "b") == b"a"
    one, other = fs.open_read(root / "b"), fs.open_read(root / "c")
    assert fs.identity(one) == fs.identity(other)
    fs.close(one)
    fs.close(other)


def test_directories_are_made_with_their_parents_and_again_without_harm(place):
    fs, root = place
    fs.make_directory(root / "a" / "b")
    fs.make_directory(root / "a" / "b")
    assert fs.names(root / "a") == ["b"]
    assert fs.names(root / "a" / "b") == []


def test_a_lock_is_held_by_one_descriptor_until_it_is_closed(place):
    fs, root = place
    first, second = fs.open_write(root / "lock"), fs.open_write(root / "lock")
    assert fs.lock(first)
    assert fs.lock(first)
    assert not fs.lock(second)
    fs.close(first)
    assert fs.lock(second)
    fs.close(second)


def test_the_store_is_readable_by_its_owner_alone(tmp_path):
    fs = OsFileSystem()
    fs.make_directory(tmp_path / "store" / "journal")
    write_file_durably(fs, tmp_path / "store" / "file", [b"secret"])
    assert stat.S_IMODE((tmp_path / "store").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "store" / "journal").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "store" / "file").stat().st_mode) == 0o600


def test_no_symlink_is_followed(tmp_path):
    fs = OsFileSystem()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(b"theirs")
    (tmp_path / "file").symlink_to(tmp_path / "outside" / "file")
    (tmp_path / "directory").symlink_to(tmp_path / "outside")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for call in (fs.open_read, fs.open_write):
        with pytest.raises(OSError, match="symbolic links"):
            call(tmp_path / "file")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        fs.names(tmp_path / "directory")
    with pytest.raises(OSError, match="symbolic links"):
        fs.open_write(tmp_path / "dangling")
    assert fs.exists(tmp_path / "dangling")
    write_file_durably(fs, tmp_path / "file", [b"ours"])
    assert (tmp_path / "outside" / "file").read_bytes() == b"theirs"
    assert (tmp_path / "file").read_bytes() == b"ours"


def test_descriptors_are_closed_on_exec(tmp_path):
    fs = OsFileSystem()
    fd = fs.open_write(tmp_path / "file")
    assert not os.get_inheritable(fd)
    fs.close(fd)


class FullSyncFcntl:
    """The part of `fcntl` that macOS has and Linux has not."""

    F_FULLFSYNC = 51

    def __init__(self, refusal: int | None = None) -> None:
        self.calls: list[int] = []
        self._refusal = refusal

    def fcntl(self, fd: int, command: int) -> int:
        self.calls.append(command)
        if self._refusal is not None:
            raise OSError(self._refusal, os.strerror(self._refusal))
        return 0


@pytest.mark.parametrize("refusal", [None, errno.ENOTSUP])
def test_a_full_sync_is_used_where_there_is_one_and_may_be_refused(tmp_path, monkeypatch, refusal):
    stand_in = FullSyncFcntl(refusal)
    monkeypatch.setattr(filesystem, "fcntl", stand_in)
    fs = OsFileSystem()
    fd = fs.open_write(tmp_path / "file")
    fs.sync_file(fd)
    fs.close(fd)
    assert stand_in.calls == [51]


def test_a_full_sync_that_fails_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(filesystem, "fcntl", FullSyncFcntl(errno.EIO))
    fs = OsFileSystem()
    fd = fs.open_write(tmp_path / "file")
    with pytest.raises(OSError, match="Input/output"):
        fs.sync_file(fd)
    fs.close(fd)


def test_without_fcntl_files_are_read_and_written_and_the_lock_says_what_is_missing(tmp_path):
    script = """
import os, sys
from pathlib import Path
sys.modules["fcntl"] = None
del os.pread, os.pwrite, os.fdatasync
from penin.errors import UnsupportedPlatformError
from penin.storage.filesystem import OsFileSystem, read_file, write_file_durably
fs, path = OsFileSystem(), Path(sys.argv[1])
write_file_durably(fs, path, [b"one ", b"two"])
assert read_file(fs, path) == b"one two"
fd = fs.open_read(path)
try:
    fs.lock(fd)
except UnsupportedPlatformError:
    print("unsupported")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "unsupported\n"


def test_write_all_goes_on_after_a_short_write():
    fs = CrashableFileSystem()
    fs.make_directory(ROOT)
    fd = fs.open_write(ROOT / "file")
    fs.fail("write", errno.ENOSPC, partial=3)
    with pytest.raises(OSError, match="No space"):
        write_all(fs, fd, b"0123456789", 0)
    assert fs.content(ROOT / "file") == b"012"


class StubbornFileSystem(CrashableFileSystem):
    """Takes at most four bytes a write, and after `limit` bytes none, without saying why."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._left = limit

    def write(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        taken = super().write(fd, data[: min(4, self._left)], offset)
        self._left -= taken
        return taken


def test_write_all_writes_all_in_pieces_and_does_not_turn_for_ever():
    fs = StubbornFileSystem(limit=12)
    fs.make_directory(ROOT)
    fd = fs.open_write(ROOT / "file")
    write_all(fs, fd, b"0123456789", 0)
    assert fs.content(ROOT / "file") == b"0123456789"
    with pytest.raises(OSError, match="does not say why"):
        write_all(fs, fd, b"abcdef", 10)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_no_room_is_told_from_other_errors(number):
    assert isinstance(storage_error(ROOT, OSError(number, "full")), StorageFullError)
    assert type(storage_error(ROOT, OSError(errno.EIO, "broken"))) is StorageError


def test_what_cannot_be_written_whole_is_removed(place):
    fs, root = place

    def chunks():
        yield b"some"
        raise KeyError("a bug of the encoder")

    with pytest.raises(KeyError):
        write_synced(fs, root / "file", chunks())
    assert fs.names(root) == []


def test_after_a_crash_there_is_the_old_file_or_the_new_one_whole():
    old, new = b"old" * 500, b"new" * 600
    seen = set()
    for crash_at in range(1, 50):
        for seed in range(20):
            fs = CrashableFileSystem(seed=seed)
            fs.make_directory(ROOT)
            write_file_durably(fs, ROOT / "file", [old])
            before = len(fs.operations)
            fs.crash_at, fs.crash_effect = before + crash_at, ("none", "half", "whole")[seed % 3]
            try:
                write_file_durably(fs, ROOT / "file", [new[:700], new[700:]])
            except Crash:
                content = fs.after_crash(seed).content(ROOT / "file")
                assert content in (old, new)
                seen.add(content)
            else:
                assert fs.after_crash(seed).content(ROOT / "file") == new
    assert seen == {old, new}
