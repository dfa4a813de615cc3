"""A store on a disk in memory, for the tests of the storage layer."""

from __future__ import annotations

import pytest

from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.owner import STORE, Owner


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fs() -> CrashableFileSystem:
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    return fs


@pytest.fixture
def owner(fs, clock) -> Owner:
    return Owner(fs, clock=clock).start()


@pytest.fixture
def lazy_owner(fs, clock) -> Owner:
    """An owner with `fsync="everysec"`."""
    return Owner(fs, fsync="everysec", clock=clock).start()
