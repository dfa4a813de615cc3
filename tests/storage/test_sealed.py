"""Sealed files: named by their name, there before a commit can name them, and gone in time."""

from __future__ import annotations

import errno
import hashlib

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import (
    CorruptionError,
    SealedFileMissingError,
    StorageError,
    StorageFullError,
)
from penin.storage.mapped import BLOCK_BYTES
from penin.storage.sealed import FOUND_MAX, SEALED_DIRECTORY, SealedFiles
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem
from tests.storage.owner import STORE

SEALED = STORE / SEALED_DIRECTORY
MISSING = f"{0:020}-{'ab' * 32}"


def content(file) -> bytes:
    return bytes(file.read(0, file.size_bytes))


def sealed_on(fs: CrashableFileSystem) -> SealedFiles:
    return SealedFiles(fs, STORE)


def put(files: SealedFiles, data: bytes, seq: int) -> str:
    sealed = files.put([data])
    files.settle(sealed.name, seq)
    return sealed.name


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5))
def test_what_was_put_is_found_by_its_name(each):
    fs = CrashableFileSystem()
    files = sealed_on(fs)
    for data in each:
        sealed = files.put([data])
        assert content(sealed.file) == data
        assert content(sealed_on(fs).get(sealed.name)) == data


def test_the_digest_is_that_of_the_digests_of_the_blocks(fs):
    blocks = [b"x" * BLOCK_BYTES, b"y"]
    digests = b"".join(blake3(block).digest() for block in blocks)
    sealed = sealed_on(fs).put(blocks)
    assert sealed.name == f"{0:020}-blake3-{blake3(digests).hexdigest()}"
    assert fs.content(SEALED / sealed.name) == b"".join(blocks)
    assert content(sealed_on(fs).get(sealed.name)) == b"".join(blocks)


def test_a_file_that_is_named_by_sha256_as_earlier_versions_did_is_found_and_checked(fs):
    blocks = [b"x" * BLOCK_BYTES, b"y"]
    digests = b"".join(hashlib.sha256(block).digest() for block in blocks)
    before = sealed_on(fs).put(blocks)
    name = f"{0:020}-{hashlib.sha256(digests).hexdigest()}"
    fs.rename(SEALED / before.name, SEALED / name)
    files = sealed_on(fs)
    files.open(5)
    found = files.get(name)
    assert content(found) == content(found.unchecked()) == b"".join(blocks)
    other = f"{0:020}-{'0' * 64}"
    fs.rename(SEALED / name, SEALED / other)
    with pytest.raises(CorruptionError, match="its digest is not the one"):
        files.get(other)
    files.retire(5)
    assert files.put([b"z"]).name.startswith(f"{1:020}-blake3-")


def test_making_the_object_and_asking_what_is_there_touches_nothing(fs):
    files = sealed_on(fs)
    assert files.size_bytes(0) == 0
    files.open(5)
    files.retire(5)
    assert not fs.exists(SEALED)


def test_a_put_that_returned_survives_a_power_cut(fs):
    sealed = sealed_on(fs).put([b"numbers"])
    for seed in range(20):
        assert content(sealed_on(fs.after_crash(seed)).get(sealed.name)) == b"numbers"


def test_a_crash_at_any_operation_leaves_a_whole_file_or_none(fs):
    name = sealed_on(fs.after_kill()).put([b"numbers"]).name
    for crash_at in range(1, 50):
        disk = fs.after_kill()
        disk.crash_at, disk.crash_effect = crash_at, "half"
        try:
            sealed_on(disk).put([b"numbers"])
        except Crash:
            pass
        else:
            break
        for seed in range(10):
            after = disk.after_crash(seed)
            files = sealed_on(after)
            files.open(0)
            names = after.names(SEALED) if after.exists(SEALED) else []
            assert names in ([], [name])
            if names:
                assert content(files.get(name)) == b"numbers"
            assert put(files, b"numbers", 1)[20:] == name[20:]
    else:
        pytest.fail("a put without an end")


def test_a_file_that_is_not_there_is_named(fs):
    with pytest.raises(SealedFileMissingError, match="names it, and it is not there") as raised:
        sealed_on(fs).get(MISSING)
    assert raised.value.path == SEALED / MISSING


@pytest.mark.parametrize("name", ["../journal", f"{0:020}-{'AB' * 32}", "ab" * 32, ""])
def test_what_is_no_name_is_no_path(fs, name):
    with pytest.raises(CorruptionError, match="is not the name of a file"):
        sealed_on(fs).get(name)


@pytest.mark.parametrize("damaged", [b"numbert", b"number", b"numberss", b""])
def test_a_file_of_another_content_is_refused(fs, damaged):
    name = sealed_on(fs).put([b"numbers"]).name
    fs.replace_content(SEALED / name, damaged)
    with pytest.raises(CorruptionError, match="its digest is not the one") as raised:
        sealed_on(fs).get(name)
    assert raised.value.path == SEALED / name


@pytest.mark.parametrize(
    ("operation", "number", "kind"),
    [("write", errno.ENOSPC, StorageFullError), ("sync_file", errno.EIO, StorageError)],
)
def test_a_put_that_failed_leaves_nothing(fs, operation, number, kind):
    files = sealed_on(fs)
    fs.fail(operation, number)
    with pytest.raises(kind):
        files.put([b"numbers"])
    assert fs.names(SEALED) == []
    assert files.size_bytes(0) == 0
    assert content(files.put([b"numbers"]).file) == b"numbers"


def test_what_the_blocks_raise_is_raised(fs):
    def failing():
        yield b"n"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        sealed_on(fs).put(failing())
    assert fs.names(SEALED) == []


def test_files_go_when_no_commit_after_a_seq_names_them(fs):
    files = sealed_on(fs)
    first, second = put(files, b"first", 3), put(files, b"second", 7)
    assert files.size_bytes(2) == len(b"firstsecond")
    assert files.size_bytes(3) == len(b"second")
    files.retire(2)
    assert set(fs.names(SEALED)) == {first, second}
    files.retire(3)
    assert fs.names(SEALED) == [second]
    assert files.size_bytes(0) == len(b"second")
    files.retire(7)
    assert fs.names(SEALED) == []


def test_the_same_bytes_put_twice_are_two_files(fs):
    files = sealed_on(fs)
    first, second = put(files, b"numbers", 3), put(files, b"numbers", 5)
    files.retire(3)
    assert fs.names(SEALED) == [second]
    assert first[20:] == second[20:]


def test_a_number_is_not_given_twice_while_its_file_is_there(fs):
    names = []
    for _ in range(3):
        files = sealed_on(fs)
        files.open(1)
        names.append(put(files, b"numbers", 1))
    assert fs.names(SEALED) == names


def test_what_was_never_settled_stays_until_the_store_is_opened_again(fs):
    files = sealed_on(fs)
    name = files.put([b"numbers"]).name
    files.retire(100)
    assert fs.names(SEALED) == [name]
    again = sealed_on(fs)
    again.open(8)
    again.retire(7)
    assert fs.names(SEALED) == [name], "a commit up to 8 may name it"
    again.retire(8)
    assert fs.names(SEALED) == []


def test_opening_removes_what_is_half_done_and_leaves_what_is_not_ours(fs):
    files = sealed_on(fs)
    name = put(files, b"numbers", 1)
    for other in ("7.tmp", "README"):
        fs.close(fs.open_write(SEALED / other))
    sealed_on(fs).open(1)
    assert fs.names(SEALED) == sorted([name, "README"])


def test_a_file_that_is_gone_already_is_no_failure(fs):
    files = sealed_on(fs)
    fs.unlink(SEALED / put(files, b"numbers", 1))
    files.retire(1)
    assert files.size_bytes(0) == 0


def test_what_could_not_be_deleted_is_deleted_later(fs):
    files = sealed_on(fs)
    name = put(files, b"numbers", 1)
    fs.fail("unlink", errno.EACCES)
    with pytest.raises(StorageError) as raised:
        files.retire(1)
    assert raised.value.path == SEALED / name
    files.retire(1)
    assert fs.names(SEALED) == []


def test_a_replay_digests_a_file_once_for_many_commits(fs):
    names = [put(sealed_on(fs), bytes([number]), 1) for number in range(FOUND_MAX + 1)]
    files = sealed_on(fs)
    assert files.get(names[0]) is files.get(names[0])
    first = files.get(names[0])
    for name in names[1:]:
        files.get(name)
    assert files.get(names[0]) is not first, "a few are kept"
