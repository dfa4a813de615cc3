"""A process as in a container: the first one of its namespace, with mounts of its own."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.cli.processes import PATIENCE_S, Penin

_UNSHARE = (
    *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"),
    *("--kill-child", "--mount-proc"),
)


def contained(setup: str) -> tuple[str, ...]:
    """The command that runs another one in namespaces, after `setup`, a line of shell in there."""
    return (*_UNSHARE, "sh", "-ec", f'{setup}; exec "$@"', "sh")


def volume(path: Path, size: str = "16m") -> str:
    """The line of shell that mounts a volume of its own, in memory, at a directory."""
    return f"mount -t tmpfs -o size={size} volume '{path}'"


def read_only(path: Path) -> str:
    """The line of shell that makes all of the system read-only, and a directory in any case."""
    itself = f"mount --bind '{path}' '{path}'; mount -o remount,bind,ro '{path}'"
    return f"{itself}; mount -o remount,bind,ro /"


@cache
def _refusal(setup: str) -> str | None:
    try:
        tried = subprocess.run(
            [*contained(setup), "true"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except OSError as error:
        return str(error)
    return None if tried.returncode == 0 else tried.stderr.strip()


def need(setup: str) -> None:
    """Skip the test, with the reason, where this system lets nobody make such namespaces."""
    refusal = _refusal(setup)
    if refusal is not None:
        pytest.skip(f"no such namespaces here: {refusal}")


class Contained(Penin):
    """`penin` as the first process of a container; `pid` and signals are those of it."""

    def __init__(self, directory, *arguments, setup="true", **environment):
        need(setup)
        self.within = contained(setup)
        super().__init__(directory, *arguments, **environment)
        self._outer_pid = self.pid

    def enter(self):
        """Learn which process it is, from outside; once it has said something."""
        children = Path(f"/proc/{self._outer_pid}/task/{self._outer_pid}/children")
        [self.pid] = map(int, children.read_text().split())

    def inside(self, path):
        """A path of the container, from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def signal(self, number):
        os.kill(self.pid, number)
