"""Metrics and health over HTTP: what is answered in which state, and to whom."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import pytest
from prometheus_client.parser import text_string_to_metric_families

from penin.errors import UsageError
from penin.runtime import metrics_server
from penin.runtime.exposition import METRICS
from penin.runtime.metrics_server import Answers, MetricsServer
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import GatedFileSystem, supervised, until, within

ADDRESS = "127.0.0.1:0"


@pytest.fixture
def _impatient(monkeypatch):
    monkeypatch.setattr(metrics_server, "PATIENCE_S", 0.1)


@asynccontextmanager
async def served(running):
    """A server of a supervisor that runs; its address."""
    server = MetricsServer(ADDRESS)
    ready = asyncio.Event()

    class Status:
        def started(self):
            ready.set()

    task = asyncio.create_task(server.run(running.supervisor, task_status=Status()))
    try:
        await within(ready.wait())
        yield server.address
    finally:
        task.cancel()
        await within(asyncio.wait({task}))


def get(address, path, **headers):
    """Status, body and type of an answer."""
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers["Content-Type"]


async def asked(address, path, **headers):
    return await within(asyncio.to_thread(get, address, path, **headers))


async def test_every_metric_of_the_table_is_there_with_its_kind_and_its_value():
    async with supervised() as running, served(running) as address:
        for number in range(3):
            await running.orchestrator.add_score(float(number))
        running.supervisor.metrics.refusals["stdin"] = lambda: 2
        running.supervisor.metrics.memory_bytes = 7 * 2**20
        status, body, content_type = await asked(address, "/metrics")
        assert (status, content_type.partition(";")[0]) == (200, "text/plain")
        families = {family.name: family for family in text_string_to_metric_families(body)}
        for name, exported in METRICS.items():
            family = families[name.removesuffix("_total")]
            assert (family.type, family.documentation) == (exported.kind, exported.meaning)
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for family in families.values()
            for sample in family.samples
        }
        assert samples["penin_messages_total",] == 3
        assert samples["penin_applied_seq",] == 3
        assert samples["penin_messages_refused_total", "stdin"] == 2
        assert samples["penin_memory_bytes",] == 7 * 2**20
        assert samples["penin_phase", "running"] == 1
        count = running.supervisor.store.journal.syncs.view().count
        assert samples["penin_fsync_seconds_count",] == count
        assert samples["penin_fsync_seconds_bucket", "+Inf"] == count
        assert running.log.of("metrics.served") == [{"address": address}]


async def test_openmetrics_is_given_to_who_asks_for_it():
    async with supervised() as running, served(running) as address:
        accept = "application/openmetrics-text; version=1.0.0"
        _, body, content_type = await asked(address, "/metrics", Accept=accept)
        assert content_type.startswith("application/openmetrics-text")
        assert body.endswith("# EOF\n")


async def test_a_running_worker_is_alive_and_ready_and_other_paths_are_not_there():
    async with supervised() as running, served(running) as address:
        assert (await asked(address, "/healthz"))[:2] == (200, "ok\n")
        assert (await asked(address, "/readyz"))[:2] == (200, "ok\n")
        assert (await asked(address, "/elsewhere"))[0] == 404


@pytest.mark.usefixtures("_impatient")
async def test_an_actor_that_waits_for_the_disk_is_neither_alive_nor_ready():
    fs = GatedFileSystem()
    async with supervised(fs) as running, served(running) as address:
        gate = fs.hold("sync_file")
        sending = asyncio.create_task(running.orchestrator.add_score(1.0))
        await until(gate.reached)
        assert (await asked(address, "/healthz"))[:2] == (503, "the actor does not answer\n")
        assert (await asked(address, "/readyz"))[:2] == (503, "the disk does not answer\n")
        gate.open()
        await within(sending)
        assert (await asked(address, "/healthz"))[0] == 200


async def test_a_full_disk_is_alive_and_not_ready_until_there_is_room(tmp_path, monkeypatch):
    fs = CrashableFileSystem()
    async with supervised(fs) as running, served(running) as address:
        fs.fail("write", 28, at=1)
        with pytest.raises(Exception, match="No space"):
            await running.orchestrator.add_score(1.0)
        running.supervisor.store.directory = tmp_path  # where room is looked for

        def refuse(**_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("tempfile.TemporaryFile", refuse)
            assert (await asked(address, "/readyz"))[:2] == (503, "there is no room on the disk\n")
            assert (await asked(address, "/healthz"))[0] == 200
        # Nobody has sent anything since, and yet it is ready again.
        assert (await asked(address, "/readyz"))[0] == 200
        assert list(tmp_path.iterdir()) == []


async def test_a_failed_worker_is_not_alive():
    fs = CrashableFileSystem()
    async with supervised(fs) as running:
        answers = Answers(running.supervisor, asyncio.get_running_loop())
        fs.fail("sync_file", 5, at=1)
        with pytest.raises(Exception, match="outcome is unknown"):
            await running.orchestrator.add_score(1.0)
        await within(running.task)
        status, body, _ = await asyncio.to_thread(answers.answer, "/healthz", "")
        assert status == 503
        assert body.startswith(b"failed: ")
        assert (await asyncio.to_thread(answers.answer, "/readyz", ""))[0] == 503


@pytest.mark.usefixtures("_impatient")
async def test_a_loop_that_does_not_turn_is_told():
    stuck = asyncio.new_event_loop()
    async with supervised() as running:
        answers = Answers(running.supervisor, stuck)
        for path in ("/healthz", "/readyz"):
            status, body, _ = await asyncio.to_thread(answers.answer, path, "")
            assert (status, body) == (503, b"the event loop does not turn\n")
        assert (await asyncio.to_thread(answers.answer, "/metrics", ""))[0] == 200
    # It turns again: what was asked is forgotten.
    await asyncio.to_thread(stuck.run_until_complete, asyncio.sleep(0.01))
    stuck.close()
    assert answers.answer("/healthz", "")[1] == b"the worker has ended\n"


async def test_clients_that_say_nothing_or_go_away_hold_up_nobody():
    async with supervised() as running, served(running) as address:
        host, _, port = address.rpartition(":")
        silent = [socket.create_connection((host, int(port))) for _ in range(4)]
        silent[0].sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        silent[0].close()
        silent[1].sendall(b"\x16\x03\x01 no http\r\n\r\n")
        assert (await asked(address, "/metrics"))[0] == 200
        for connection in silent[1:]:
            connection.close()


async def test_once_the_worker_ends_nobody_listens_any_more():
    async with supervised() as running:
        async with served(running) as address:
            pass
        host, _, port = address.rpartition(":")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.to_thread(socket.create_connection, (host, int(port)))


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "*:0"])
def test_an_address_beyond_this_machine_has_to_be_asked_for(address):
    with pytest.raises(UsageError, match=r"metrics at "):
        MetricsServer(address)
    if address == "0.0.0.0:0":
        MetricsServer(address, anywhere=True).close()


@pytest.mark.parametrize("address", ["", "9464", ":9464", "127.0.0.1:", "127.0.0.1:x", "h:99999"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UsageError, match="not a host and a port"):
        MetricsServer(address)


def test_an_address_in_use_is_refused_and_localhost_is_of_this_machine():
    first = MetricsServer("localhost:0")
    try:
        with pytest.raises(UsageError, match="in use"):
            MetricsServer(first.address)
    finally:
        first.close()


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=r"penin\[metrics\]"):
        MetricsServer(ADDRESS)
