"""Running a worker in a process of its own, and killing it at moments that its files show."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURVIVED = 0
KILLED = -9


def run_worker(store: Path, *arguments: str, kill_after_changes: int | None = None) -> int:
    """Run the digits in `store`; the exit code, which is KILLED if it was.

    It gets SIGKILL as soon as the files of the store were seen to change so many times (a file
    is made, grows, is renamed or removed), unless it ends before. Checkpoints are frequent, so
    that some of these moments lie in one.
    """
    command = [sys.executable, "-m", "penin", "run", "examples.evolve_digits:evolve"]
    command += ["--dir", str(store), "--log-level", "warning"]
    command += ["--checkpoint-transitions-max", "20", "--", *arguments]
    with subprocess.Popen(command, cwd=ROOT) as worker:
        try:
            if kill_after_changes is not None:
                _await_changes(store, kill_after_changes, worker)
                worker.kill()
            return worker.wait(timeout=100)
        finally:
            worker.kill()


def _await_changes(store: Path, changes: int, worker: subprocess.Popen[bytes]) -> None:
    """Return when so many changes were seen, or the worker has ended."""
    deadline_s = time.monotonic() + 100
    seen = _files(store)
    while changes > 0 and worker.poll() is None:
        now = _files(store)
        if now != seen:
            changes -= 1
            seen = now
        assert time.monotonic() < deadline_s, "the worker neither writes nor ends"


def _files(store: Path) -> dict[Path, tuple[int, int]]:
    """Path -> inode and size of each file, as far as they stay where they are while we look."""
    files = {}
    for directory, _, names in os.walk(store):
        for name in names:
            path = Path(directory, name)
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                files[path] = found.st_ino, found.st_size
    return files
