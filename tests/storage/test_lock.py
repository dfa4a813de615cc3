"""The lock of a store, with real processes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from penin.errors import LockedError, StorageError
from penin.storage.filesystem import OsFileSystem
from penin.storage.lock import Holder, StoreLock
from tests.fakes.crashable_filesystem import CrashableFileSystem

CHILD = """
import sys
from pathlib import Path
from penin.storage.filesystem import OsFileSystem
from penin.storage.lock import StoreLock
lock = StoreLock(OsFileSystem(), Path(sys.argv[1]))
lock.acquire(0)
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def holding_child(directory):
    command = [sys.executable, "-c", CHILD, str(directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        try:
            yield child
        finally:
            child.kill()


@pytest.fixture
def lock(tmp_path):
    lock = StoreLock(OsFileSystem(), tmp_path)
    yield lock
    lock.release()


def test_a_store_that_another_process_holds_is_locked_and_says_by_whom(tmp_path, lock):
    with holding_child(tmp_path) as child:
        with pytest.raises(LockedError) as caught:
            lock.acquire(0)
        assert (caught.value.pid, caught.value.host) == (child.pid, socket.gethostname())
        who = f"process {child.pid} on {socket.gethostname()} (this host) has it open"
        assert str(caught.value) == (
            f"{tmp_path / 'lock'}: locked: {who}; stop it (kill {child.pid}), or wait longer: "
            "lock_wait_s (--lock-wait-s) was 0 s"
        )
        assert lock.holder() == Holder(child.pid, socket.gethostname())


def test_a_holder_on_another_host_is_to_be_stopped_there(tmp_path, lock):
    with holding_child(tmp_path):
        (tmp_path / "lock").write_text("7 penin-worker-0\n")
        with pytest.raises(
            LockedError, match=r"process 7 on penin-worker-0 \(another host"
        ) as error:
            lock.acquire(0)
        assert (error.value.pid, error.value.host) == (7, "penin-worker-0")
        (tmp_path / "lock").write_bytes(b"what?")
        with pytest.raises(LockedError, match="another process has it open; stop it"):
            lock.acquire(0)


def test_writing_down_the_holder_again_changes_nothing_and_tells_of_a_disk_that_fails(tmp_path):
    fs = CrashableFileSystem()
    fs.make_directory(tmp_path)
    lock = StoreLock(fs, tmp_path)
    lock.acquire(0)
    lock.write_holder_again()
    assert lock.holder() == Holder(os.getpid(), socket.gethostname())
    for operation in ("write", "sync_file"):
        fs.fail(operation, errno.EROFS)
        with pytest.raises(OSError, match=os.strerror(errno.EROFS)):
            lock.write_holder_again()
    lock.release()


def test_the_lock_of_a_killed_process_is_free(tmp_path, lock):
    with holding_child(tmp_path) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        lock.acquire(0)
        assert lock.holder() == Holder(os.getpid(), socket.gethostname())


def test_the_lock_is_waited_for(tmp_path, lock):
    with holding_child(tmp_path) as child:
        waited = []

        def sleep(interval_s):
            waited.append(interval_s)
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "released\n"

        lock.acquire(60, sleep=sleep)
        assert len(waited) == 1


def test_the_wait_is_bounded(tmp_path, lock):
    with holding_child(tmp_path):
        now_s = 0.0

        def sleep(interval_s):
            nonlocal now_s
            now_s += interval_s

        with pytest.raises(LockedError):
            lock.acquire(1.0, sleep=sleep, clock=lambda: now_s)
        assert now_s == pytest.approx(1.0)


def test_a_second_lock_in_the_same_process_is_refused_as_such(tmp_path, lock):
    lock.acquire(0)
    other = StoreLock(OsFileSystem(), tmp_path)
    with pytest.raises(LockedError, match="this process"):
        other.acquire(0)
    lock.release()
    other.acquire(0)
    other.release()


def test_the_same_store_by_another_path_is_the_same_store(tmp_path, lock):
    (tmp_path / "store").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "store")
    one = StoreLock(OsFileSystem(), tmp_path / "store")
    one.acquire(0)
    with pytest.raises(LockedError, match="this process"):
        StoreLock(OsFileSystem(), tmp_path / "alias").acquire(0)
    one.release()


def test_of_many_threads_one_gets_the_lock(tmp_path):
    locks = [StoreLock(OsFileSystem(), tmp_path) for _ in range(8)]
    barrier = threading.Barrier(len(locks))
    got = []

    def take(lock):
        barrier.wait()
        with contextlib.suppress(LockedError):
            lock.acquire(0)
            got.append(lock)

    threads = [threading.Thread(target=take, args=(lock,)) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].release()


def test_the_file_is_never_replaced_and_says_nothing_once_released(tmp_path, lock):
    lock.acquire(0)
    inode = (tmp_path / "lock").stat().st_ino
    assert (tmp_path / "lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    lock.release()
    lock.release()
    assert (tmp_path / "lock").read_text() == ""
    assert lock.holder() is None
    lock.acquire(0)
    assert (tmp_path / "lock").stat().st_ino == inode


def test_a_forked_child_keeps_the_lock_and_does_not_take_itself_for_the_holder(tmp_path, lock):
    script = """
import os, sys
from pathlib import Path
from penin.errors import LockedError
from penin.storage.filesystem import OsFileSystem
from penin.storage.lock import StoreLock
fs, directory = OsFileSystem(), Path(sys.argv[1])
lock = StoreLock(fs, directory)
lock.acquire(0)
if os.fork() == 0:
    try:
        StoreLock(fs, directory).acquire(0)
    except LockedError as error:
        print(error.pid == os.getppid() and "(this host) has it open" in str(error), flush=True)
    os._exit(0)
os.wait()
if os.fork() == 0:
    print(os.getpid(), flush=True)
    sys.stdin.readline()
os._exit(0)
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == "True\n"
        parent.stdout.readline()
        parent.wait()
        with pytest.raises(LockedError) as caught:
            lock.acquire(0)
        assert caught.value.pid == parent.pid
        assert f"process {parent.pid} on" in str(caught.value)
        assert "a child that it left behind" in str(caught.value)
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.read() == ""  # the child has ended
        lock.acquire(60)


def test_a_symlink_in_the_place_of_the_lock_is_refused(tmp_path, lock):
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError):
        lock.acquire(0)
    assert not (tmp_path / "elsewhere").exists()


def test_what_is_written_in_the_file_may_be_anything(tmp_path, lock):
    (tmp_path / "lock").write_bytes(b"\xff\xfe what?")
    assert lock.holder() is None
    lock.acquire(0)
