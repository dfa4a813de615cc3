"""Reading files of every kind without blocking the loop."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest

from penin.ingress.chunks import Input

PATIENCE_S = 20.0


async def read(given):
    async with given.opened() as blocks:
        return b"".join([block async for block in blocks])


async def test_a_regular_file_and_a_device_are_read_to_their_end(tmp_path):
    path = tmp_path / "in"
    path.write_bytes(b"x" * 200_000)
    assert await read(Input(str(path))) == b"x" * 200_000
    assert await read(Input("/dev/null")) == b""


async def test_a_named_pipe_is_waited_for_and_read_to_its_end(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reading = asyncio.create_task(read(Input(str(path))))
    writer = threading.Thread(target=lambda: path.write_bytes(b"y" * 100_000))
    writer.start()
    assert await asyncio.wait_for(reading, PATIENCE_S) == b"y" * 100_000
    writer.join(PATIENCE_S)


async def test_waiting_for_a_pipe_is_cancelled_at_once_and_its_thread_ends(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with Input(str(path)).opened() as blocks:
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "penin-input"]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(blocks), 0.05)
        assert thread.is_alive()
    await asyncio.to_thread(thread.join, PATIENCE_S)
    assert not thread.is_alive()


def test_the_size_of_a_regular_file_is_known_before_and_that_of_a_device_is_not(tmp_path):
    path = tmp_path / "in"
    path.write_bytes(b"x" * 200)
    assert Input(str(path)).check() == 200
    assert Input("/dev/null").check() is None


@pytest.mark.parametrize(("name", "kind"), [("", IsADirectoryError), ("x", FileNotFoundError)])
def test_what_cannot_be_read_is_found_before_anything_is_opened(tmp_path, name, kind):
    with pytest.raises(kind):
        Input(str(tmp_path / name)).check()
