"""docs/penin.service: what systemd itself says of it, and what follows from the code."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from penin.cli.exits import restart_prevent
from tests.docs.markdown import read

UNIT = "docs/penin.service"
ANALYZE = shutil.which("systemd-analyze")


def test_the_unit_restarts_only_what_is_worth_it():
    assert f"\n{restart_prevent()}\n" in read(UNIT)


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    unit = tmp_path / "penin.service"
    assert ANALYZE is not None
    # It looks for the program of the service, which is not there.
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", read(UNIT)))
    ended = subprocess.run(
        [ANALYZE, "verify", unit], capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
