"""Processes of their own, for what needs a cold start or clean memory; and the memory of one.

A child is a module run with `python -m`, which prints its figures as one line of JSON. Memory is
read from `/proc`: these benchmarks run on Linux.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_NO_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"
_ROOT: Final = Path(__file__).parents[3]
_STATUS: Final = Path("/proc/self/status")
_CLEAR_REFS: Final = Path("/proc/self/clear_refs")
_CLEAR_PEAK: Final = "5"
"""What the kernel takes for setting VmHWM back to VmRSS."""


def run_child(module: str, *arguments: object) -> dict[str, float]:
    """Run `python -m module arguments…` to its end; the figures that it printed.

    It may end itself by SIGKILL after printing them. Raises RuntimeError for any other failure;
    the child's standard error goes where ours goes. It keeps the bytecode of what it imports, as
    an installed program has it, whatever is set here: else it would compile us at each start.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}
    child = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=False, cwd=_ROOT, env=environment
    )
    if child.returncode not in (0, -signal.SIGKILL) or not child.stdout.endswith("\n"):
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    figures: dict[str, float] = json.loads(child.stdout.splitlines()[-1])
    return figures


def print_figures(figures: Mapping[str, float]) -> None:
    """Hand figures to the process that runs this one by `run_child`."""
    print(json.dumps(figures), flush=True)


def _status_bytes(name: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{_STATUS} has no {name}")


def resident_bytes() -> int:
    """Memory of this process that is resident now, without Python's garbage."""
    gc.collect()
    return _status_bytes("VmRSS")


def reset_peak() -> None:
    """Let `peak_resident_bytes` begin anew."""
    _CLEAR_REFS.write_text(_CLEAR_PEAK)


def peak_resident_bytes() -> int:
    """The most memory that was resident at once since the last `reset_peak`, told by the kernel."""
    return _status_bytes("VmHWM")
