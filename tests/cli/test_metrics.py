"""`penin run --metrics`, as a process: health in each phase, and what was counted."""

from __future__ import annotations

import signal
import subprocess

import pytest

from penin.cli.exits import ExitCode
from tests.cli.processes import Penin
from tests.cli.processes import penin as run_penin
from tests.runtime.test_metrics_server import get

pytestmark = pytest.mark.sliced  # each is a process or several

ADDRESS = "127.0.0.1:0"


def test_health_and_readiness_follow_the_phases_and_stdin_is_counted(place):
    with Penin(place, "run", "workers:wait") as first:
        first.output(1)
        arguments = ["run", "--stdin", "--metrics", ADDRESS, "--lock-wait-s", "60"]
        with Penin(place, *arguments, stdin=subprocess.PIPE) as process:
            address = process.event("metrics.served")["address"]
            process.event("store.waiting")
            # It waits for the lock: alive, and not ready.
            assert get(address, "/healthz")[0] == 200
            assert get(address, "/readyz")[:2] == (503, "the phase is starting\n")
            assert 'penin_phase{phase="starting"} 1.0' in get(address, "/metrics")[1]
            first.signal(signal.SIGTERM)
            assert first.end() == ExitCode.SUCCESS
            process.event("supervisor.phase", phase="running")
            assert get(address, "/readyz")[0] == 200
            process.stdin.write(b'{"type": "add_score", "score": 1}\nnonsense\n')
            process.event("message.refused")
            process.event("state.transition")
            body = get(address, "/metrics")[1]
            assert 'penin_messages_refused_total{source="stdin"} 1.0' in body
            assert "penin_messages_total 1.0" in body
            process.signal(signal.SIGTERM)
            assert process.end() == ExitCode.SUCCESS


def test_an_address_beyond_this_machine_is_a_mistake_with_one_sentence(place):
    process = run_penin(place, "run", "--metrics", "0.0.0.0:9464")
    assert process.code == ExitCode.USAGE
    assert len(process.err) == 1
    assert "--metrics-anywhere" in process.err[0]
