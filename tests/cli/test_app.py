"""A command starts without what others need."""

from __future__ import annotations

import subprocess
import sys

import pytest

ABSENT = {"structlog", "rich", "http.server", "penin.cli.run", "penin.cli.top", "usearch"}


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["status", "--help"], {"rich"}),
        (["get", "--help"], {"rich"}),
        (["nearest", "--help"], {"rich"}),
        (["--version"], set()),
        (["run", "--help"], {"penin.cli.run", "structlog", "rich"}),
        (["top", "--help"], {"penin.cli.top", "rich"}),
    ],
)
def test_nothing_is_imported_that_only_other_commands_need(
    words: list[str], needed: set[str]
) -> None:
    code = (
        "import sys\n"
        "from penin.cli import main\n"
        f"assert main({words!r}) == 0\n"
        f"print(sorted({ABSENT!r} & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == f"{sorted(needed)}\n"
