"""The process that builds an index: it never outlives its parent, and its failures are told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import penin
from penin.runtime import indexer as module
from penin.runtime.index_build import build
from penin.runtime.index_files import IndexFiles, IndexKind
from tests.runtime.indexes import (
    DIMENSION,
    NAME,
    asked,
    built,
    index_of,
    names,
    running_on,
    vectors,
)
from tests.runtime.stores import within


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Indexes of few vectors too, and no pause after a failure."""
    monkeypatch.setattr(module, "NEWER_MIN", 10)
    monkeypatch.setattr(module, "RETRY_MIN_S", 0.0)


@pytest.fixture
async def running(tmp_path):
    async with running_on(tmp_path / "store") as opened:
        data = [{"n": number} for number in range(500)]
        await opened.orchestrator.extend_knowledge(names(500), vectors(500), data)
        yield opened


@pytest.fixture
async def held(monkeypatch):
    """Every child is stopped (SIGSTOP) as soon as it is there; gives their process ids."""
    started: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    original = subprocess.Popen.__init__

    def stopped(self, *arguments, **options):
        original(self, *arguments, **options)
        os.kill(self.pid, signal.SIGSTOP)
        loop.call_soon_threadsafe(started.put_nowait, self.pid)

    monkeypatch.setattr(subprocess.Popen, "__init__", stopped)
    return started


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_child_that_is_killed_is_logged_and_tried_again(running, held):
    await asked(running)
    os.kill(await within(held.get()), signal.SIGKILL)
    await running.log.comes("index.failed")
    (failed,) = running.log.of("index.failed")
    assert failed["cause"] == "the process that builds it ended with -9"
    assert failed["dimension"] == DIMENSION
    await asked(running)
    os.kill(await within(held.get()), signal.SIGCONT)
    await running.log.comes("index.built")
    await running.orchestrator.add_score(1.0)


async def test_what_the_child_says_is_the_cause(running, monkeypatch):
    index_of(running).write_text("in the way")
    await asked(running)
    await running.log.comes("index.failed")
    assert "Not a directory" in running.log.of("index.failed")[0]["cause"]
    index_of(running).unlink()
    monkeypatch.setattr(IndexFiles, "temporary", lambda *_: Path("/nowhere/x"))
    await asked(running)
    await running.log.comes("index.failed", 2)
    cause = "[Errno 2] No such file or directory: '/nowhere/x'"
    assert running.log.of("index.failed")[1]["cause"] == cause


async def test_closing_does_not_wait_for_an_index_and_leaves_no_process(tmp_path, held):
    async with running_on(tmp_path) as running:
        await running.orchestrator.extend_knowledge(names(100), vectors(100))
        await asked(running)
        pid = await within(held.get())
        assert is_there(pid)
    assert running.log.of("index.failed") == []
    assert running.supervisor.phase == "stopped"
    while is_there(pid):  # noqa: ASYNC110  # it was killed, and a thread waits for it
        await asyncio.sleep(0)


async def test_a_failed_journal_ends_the_building_too(tmp_path, held):
    async with running_on(tmp_path) as running:
        await running.orchestrator.extend_knowledge(names(100), vectors(100))
        await asked(running)
        pid = await within(held.get())
        running.supervisor.fail(penin.PeninError("the disk is gone"))
        await within(running.task)
    while is_there(pid):  # noqa: ASYNC110  # as above
        await asyncio.sleep(0)


PARENT = """
import asyncio, os, signal, subprocess, sys
import numpy as np
import penin
from penin.runtime import indexer

indexer.NEWER_MIN = 10
original = subprocess.Popen.__init__

def stopped(self, *arguments, **options):
    original(self, *arguments, **options)
    os.kill(self.pid, signal.SIGSTOP)
    print(self.pid, flush=True)

subprocess.Popen.__init__ = stopped

async def main():
    async with penin.open(sys.argv[1]) as orchestrator:
        matrix = np.random.default_rng(1).standard_normal((200, 16))
        await orchestrator.extend_knowledge([str(n) for n in range(200)], matrix)
        await orchestrator.nearest(matrix[0], approximate=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def child_of_a_killed_parent(directory):
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(directory)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    return pid


async def test_after_the_parent_was_killed_the_child_ends_and_the_next_opening_builds(tmp_path):
    pid = await asyncio.to_thread(child_of_a_killed_parent, tmp_path)
    os.kill(pid, signal.SIGCONT)
    while is_there(pid):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0)
    async with running_on(tmp_path) as running:
        await built(running)
        assert [path.name for path in index_of(running).iterdir()] == [NAME]


def test_a_child_ends_when_its_stdin_does(tmp_path):
    """Its store is read for ever."""
    os.mkfifo(tmp_path / "state.json")
    command = [sys.executable, "-m", "penin.runtime.index_build", str(tmp_path), "dot", "3", "x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait() == 3


def test_a_kind_that_is_not_there_any_more_has_no_index(tmp_path):
    with penin.open_sync(tmp_path) as orchestrator:
        orchestrator.extend_knowledge(["x", "y"], np.eye(2))
    build(tmp_path, IndexKind("cosine", 3), tmp_path / "output")
    assert not (tmp_path / "output").exists()
    build(tmp_path, IndexKind("cosine", 2), tmp_path / "output")
    assert (tmp_path / "output").exists()
