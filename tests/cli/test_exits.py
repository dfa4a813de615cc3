"""The table of exit codes, the help, and the entry points."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

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
