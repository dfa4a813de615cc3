"""`rejected.jsonl`: what was refused, byte for byte."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from anyio import CancelScope
from anyio.lowlevel import checkpoint

from penin.errors import StorageError, StorageFullError
from penin.ingress.rejected import RejectedLines


async def keep(directory, *lines):
    async with RejectedLines(directory) as rejected:
        for line in lines:
            await rejected.append(line)


async def test_lines_are_appended_with_exactly_their_bytes(tmp_path):
    await keep(tmp_path, b"\xff\x00\r", b"")
    await keep(tmp_path, b'{"a": 1}')
    path = tmp_path / "rejected.jsonl"
    assert path.read_bytes() == b'\xff\x00\r\n\n{"a": 1}\n'
    assert path.stat().st_mode & 0o777 == 0o600


async def test_without_a_refused_line_there_is_no_file(tmp_path):
    await keep(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_line_comes_in_pieces_and_its_end_is_made_where_it_is_missing(tmp_path):
    async with RejectedLines(tmp_path) as rejected:
        await rejected.append(b"abc", ends_line=False)
        await rejected.append(b"def")
        await rejected.append(b"ghi", ends_line=False)
    assert (tmp_path / "rejected.jsonl").read_bytes() == b"abcdef\nghi\n"


async def test_a_piece_that_a_killed_process_left_does_not_join_the_next_line(tmp_path):
    (tmp_path / "rejected.jsonl").write_bytes(b"hal")
    await keep(tmp_path, b"whole")
    assert (tmp_path / "rejected.jsonl").read_bytes() == b"hal\nwhole\n"


async def test_a_symlink_is_not_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"")
    (tmp_path / "rejected.jsonl").symlink_to(tmp_path / "target")
    with pytest.raises(StorageError):
        await keep(tmp_path, b"x")
    assert (tmp_path / "target").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
async def test_a_line_that_cannot_be_kept_is_an_error_of_the_storage(tmp_path):
    rejected = RejectedLines(tmp_path)
    rejected.path = Path("/dev/full")
    with contextlib.suppress(StorageError):  # a device cannot be synced
        async with rejected:
            with pytest.raises(StorageFullError):
                await rejected.append(b"x")


async def test_a_cancelled_scope_does_not_keep_the_file_from_being_synced(tmp_path, monkeypatch):
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    with CancelScope() as scope:
        async with RejectedLines(tmp_path) as rejected:
            await rejected.append(b"before")
            scope.cancel()
            await rejected.append(b"x" * 100, ends_line=False)
            await checkpoint()
    assert scope.cancelled_caught
    assert len(synced) == 1
    assert (tmp_path / "rejected.jsonl").read_bytes() == b"before\n" + b"x" * 100 + b"\n"
