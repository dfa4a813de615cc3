"""Where the socket of a store is: made safely, replaced safely, also where the path is long."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest

import penin
from penin.errors import ForbiddenError, NotRunningError, StorageError
from penin.ingress.socket import address as address_module
from penin.ingress.socket import connection as connection_module
from penin.ingress.socket.address import (
    NEW_NAME,
    PATH_BYTES_MAX,
    SOCKET_NAME,
    is_allowed,
    listening_socket,
)
from tests.ingress.socket.raw import score, served, served_on_disk
from tests.runtime.stores import supervised, within


def test_only_the_owner_may_use_the_file(tmp_path):
    with listening_socket(tmp_path):
        mode = (tmp_path / SOCKET_NAME).stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


@pytest.mark.parametrize("name", [SOCKET_NAME, NEW_NAME])
def test_what_a_killed_worker_has_left_is_replaced(tmp_path, name):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / name))
    with listening_socket(tmp_path), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / SOCKET_NAME))
    assert not (tmp_path / NEW_NAME).exists()


@pytest.mark.parametrize("name", [SOCKET_NAME, NEW_NAME])
def test_what_is_no_socket_is_not_replaced(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(StorageError, match="no socket"):
        listening_socket(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_out_of_the_store_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    store = tmp_path / "store"
    store.mkdir()
    (store / SOCKET_NAME).symlink_to(outside)
    with pytest.raises(StorageError):
        listening_socket(store)
    assert outside.read_text() == "mine"


async def test_a_path_that_is_too_long_for_an_address_works_all_the_same(tmp_path):
    directory = tmp_path / ("d" * 100) / ("e" * 100)
    directory.mkdir(parents=True)
    assert len(os.fsencode(directory / SOCKET_NAME)) > PATH_BYTES_MAX
    before = open_descriptors()
    async with (
        penin.open(directory, servers=[penin.SocketServer()]),
        penin.connect(directory) as orchestrator,
    ):
        assert (await orchestrator.add_score(1.0)).seq == 1
    assert not (directory / SOCKET_NAME).exists()
    assert open_descriptors() == before


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_long_path_is_named_where_nothing_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    path = tmp_path / ("d" * 200) / SOCKET_NAME
    with (
        pytest.raises(penin.PeninError, match=f"{'d' * 200}.*bytes"),
        address_module.fitting(path),
    ):
        pass


async def test_without_a_socket_the_store_works_and_the_log_says_why(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / SOCKET_NAME).write_text("mine")
    opening = penin.open(tmp_path / "store", servers=[penin.SocketServer()])
    async with opening as orchestrator:
        assert (await orchestrator.add_score(1.0)).seq == 1
        with pytest.raises(NotRunningError):
            await penin.connect(tmp_path / "store", wait_s=0.0)
    async with supervised(directory=tmp_path / "store", servers=[penin.SocketServer()]) as running:
        await running.log.comes("socket.failed")


async def test_the_socket_is_gone_when_the_store_is_closed(tmp_path):
    async with served_on_disk(tmp_path):
        assert (tmp_path / SOCKET_NAME).exists()
    assert not (tmp_path / SOCKET_NAME).exists()
    with pytest.raises(NotRunningError, match=str(tmp_path)):
        await penin.connect(tmp_path, wait_s=0.0)


async def test_what_somebody_has_put_in_the_place_of_the_socket_stays(tmp_path):
    path = tmp_path / SOCKET_NAME
    async with served_on_disk(tmp_path):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_its_own_user_and_root_may(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert is_allowed(0)
    assert is_allowed(1000)
    assert not is_allowed(1001)


async def test_another_user_is_told_so_and_can_do_nothing(monkeypatch):
    async with served() as store:
        monkeypatch.setattr(connection_module, "peer_of", lambda _: (17, 4711))
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        async with await store.connect() as raw:
            raw.send(score(1.0))
            assert (await raw.reply())["error"]["kind"] == "forbidden"
            assert await raw.reply() is None
        with pytest.raises(ForbiddenError, match=str(store.directory)):
            await within(penin.connect(store.directory))
        assert store.orchestrator.applied_seq == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_a_process_of_another_user_is_refused_by_the_worker():
    async with served() as store:
        # The modes are opened on purpose, so that nothing but the look at the peer is left.
        store.directory.chmod(0o755)
        (store.directory / SOCKET_NAME).chmod(0o666)
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
            "print(s.makefile().readline())"
        )
        process = await asyncio.create_subprocess_exec(
            "python3",
            "-c",
            script,
            str(store.directory / SOCKET_NAME),
            user=65534,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await within(process.communicate())
        assert b'"forbidden"' in out
