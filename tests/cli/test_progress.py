"""The bars of commands that read a whole store, on a terminal; and none without one."""

from __future__ import annotations

import re

import pytest

import penin
from penin.cli.exits import ExitCode
from penin.runtime.backup import backup_at
from penin.runtime.progress import CountingFiles, Progress
from penin.storage.filesystem import OsFileSystem
from tests.cli.processes import on_a_terminal
from tests.cli.processes import penin as run_penin

COMMANDS = {
    "backup": (["backup", "copy"], "copying"),
    "restore": (["restore", "--seq", "9", "--to", "restored"], "restoring"),
    "checkpoints": (["checkpoints", "--verify"], "verifying"),
}


@pytest.fixture
def store(place):
    """One with two checkpoints and a journal after them."""
    with penin.open_sync(place / ".penin_omega") as orchestrator:
        for number in range(10):
            orchestrator.add_task({"filling": "x" * 100_000})
            if number in (3, 6):
                orchestrator.checkpoint()
    return place / ".penin_omega"


@pytest.mark.sliced
@pytest.mark.parametrize("name", COMMANDS)
def test_on_a_terminal_it_shows_how_far_it_is_how_fast_and_how_long_still(place, store, name):
    command, description = COMMANDS[name]
    code, shown = on_a_terminal(place, *command)
    assert code == ExitCode.SUCCESS
    assert description in shown
    assert re.search(r"[\d.]+ (of [\d.]+ )?MiB", shown)
    assert "left:" in shown


@pytest.mark.sliced
def test_without_a_terminal_there_is_no_bar(place, store):
    process = run_penin(place, "backup", "copy")
    assert process.code == ExitCode.SUCCESS
    assert len(process.err) == 1, "what was copied"


def test_a_backup_tells_beforehand_about_what_it_will_have_read_and_written(tmp_path, store):
    progress = Progress()
    files = CountingFiles(OsFileSystem(), progress)
    backup_at(store, tmp_path / "copy", files, progress)
    assert progress.total is not None
    assert 0.8 * progress.total < progress.done < 1.3 * progress.total
