"""The table of exit codes, the help, and the entry points."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import penin
from penin import errors
from penin.cli import main
from penin.cli.exits import (
    MEANINGS,
    ExitCode,
    exit_code_of,
    exits_markdown,
    exits_text,
    restart_prevent,
)
from penin.cli.options import SETTINGS_HELP, environment_name
from penin.settings import Settings
from tests.cli.processes import REPOSITORY

PATH = Path("x")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.WorkerGaveUpError("w", 3, 1.0), ExitCode.WORKER_GAVE_UP),
        (errors.FinalCheckpointError("x"), ExitCode.CHECKPOINT_FAILED),
        (errors.LockedError(PATH, None, None, where="unknown", waited_s=1.0), ExitCode.LOCKED),
        (errors.CorruptionError(PATH, 0, "x"), ExitCode.CORRUPT),
        (errors.JournalGapError(PATH, 0, "x"), ExitCode.CORRUPT),
        (errors.FormatError(PATH, "x"), ExitCode.CORRUPT),
        (errors.StorageFullError(PATH, "x"), ExitCode.STORAGE_FAILED),
        (errors.JournalFailedError(PATH, "x"), ExitCode.STORAGE_FAILED),
        (OSError(5, "x"), ExitCode.STORAGE_FAILED),
        (errors.UsageError("x"), ExitCode.USAGE),
        (errors.RefusedValueError("x", "y"), ExitCode.USAGE),
        (AssertionError(), None),
    ],
)
def test_every_error_has_its_code(error, code):
    assert exit_code_of(error) == code


def test_the_table_names_every_code_in_the_help_and_in_the_documentation():
    assert set(MEANINGS) == set(ExitCode)
    rows = [line.split("|")[1].strip() for line in exits_markdown().splitlines() if line[:1] == "|"]
    assert rows[2:] == [*map(str, map(int, ExitCode)), "128 + n"]
    assert max(map(len, exits_text().splitlines())) <= 78
    assert restart_prevent() == "RestartPreventExitStatus=2 4 8 9"
    assert restart_prevent() in exits_markdown()


def test_every_setting_is_an_option_with_a_help_and_an_environment_variable(capfd):
    assert set(SETTINGS_HELP) == {field.name for field in fields(Settings)}
    for command in ("run", "send"):
        assert main([command, "--help"]) == ExitCode.SUCCESS
        shown = "".join(capfd.readouterr().out.split())
        for name in (*SETTINGS_HELP, "dir", "log_format", "log_level"):
            assert f"--{name.replace('_', '-')}" in shown
            assert environment_name(name) in shown


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["status", "-h"], ["--version"]])
def test_help_and_version_go_to_stdout(capfd, words):
    assert main(words) == ExitCode.SUCCESS
    shown = capfd.readouterr()
    assert "penin" in shown.out
    assert shown.err == ""


def test_the_help_has_the_table_of_exit_codes_as_it_is(capfd):
    main(["--help"])
    assert "\n  ".join(exits_text().splitlines()) in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["restore", "--seq", "1", "--to", "file"], "--to file"),
        (["repair", "--to", "file"], "--to file"),
        (["convert", "memory", "--to", "file"], "--to file"),
        (["backup", "file"], "DIR file"),
        (["verify", "--dir", "file"], "--dir file"),
    ],
)
def test_a_directory_that_is_none_is_named_by_its_own_option(
    words, named, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert main(words) == ExitCode.USAGE
    assert capfd.readouterr().err == f"penin: {named}: it is not a directory\n"


@pytest.fixture
def memory(tmp_path):
    """A store with a refused line; the working directory of what is run is its parent."""
    with penin.open_sync(tmp_path / "memory") as orchestrator:
        orchestrator.add_score(1.0)
    (tmp_path / "memory" / "rejected.jsonl").write_bytes(b"refused\n" * 100_000)
    return tmp_path


def in_a_shell(words, where):
    command = f"exec {shlex.quote(sys.executable)} -m penin {words}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        ["sh", "-c", command], cwd=where, env=environment, capture_output=True, check=False
    )


@pytest.mark.sliced
@pytest.mark.parametrize("words", ["verify", "ledger show", "rejected"])
def test_a_closed_stdout_is_nothing_to_fail_on(words, memory):
    done = in_a_shell(f"{words} --dir memory >&-", memory)
    assert (done.returncode, done.stderr) == (ExitCode.SUCCESS, b"")


@pytest.mark.sliced
@pytest.mark.parametrize("words", ["verify", "ledger show", "rejected"])
def test_a_full_disk_behind_stdout_is_named_as_that(words, memory):
    done = in_a_shell(f"{words} --dir memory >/dev/full", memory)
    assert done.returncode == ExitCode.STORAGE_FAILED
    assert done.stderr == b"penin: [Errno 28] No space left on device: 'stdout'\n"


@pytest.mark.sliced
def test_a_reader_of_refused_lines_may_go_before_their_end(memory):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "penin", "rejected", "--dir", "memory"],
        cwd=memory,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.SUCCESS, b"")
