"""The notify protocol, against a real socket."""

from __future__ import annotations

import uuid

import pytest

from penin.runtime.notify import NotifySocket
from tests.notify_sockets import Listener, short_path


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_lines_are_one_datagram(kind, tmp_path):
    address = short_path(tmp_path) if kind == "path" else f"@penin-{uuid.uuid4()}"
    with Listener(address) as listener:
        ours = NotifySocket(address)
        assert ours.send("READY=1", "STATUS=running: seq 7")
        assert ours.send("WATCHDOG=1")
        ours.close()
        assert listener.drain() == [
            {"READY": "1", "STATUS": "running: seq 7"},
            {"WATCHDOG": "1"},
        ]


def test_a_receiver_that_does_not_read_is_not_waited_for(tmp_path):
    with Listener(short_path(tmp_path)) as listener:
        ours = NotifySocket(listener.address)
        sent = 0
        while ours.send(f"STATUS={sent}"):
            sent += 1
            assert sent < 100_000, "nothing is ever full"
        assert len(listener.drain()) == sent
        assert ours.send("READY=1"), "once it has read, there is room"
        ours.close()


@pytest.mark.parametrize("address", ["nowhere", "@penin-nobody", "x" * 200])
def test_an_address_without_a_receiver_is_an_os_error(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = NotifySocket(address)
    with pytest.raises(OSError, match=r"No such file|refused|too long"):
        ours.send("READY=1")
    ours.close()
