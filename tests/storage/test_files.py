from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.storage.files import CHUNK_BYTES, joined, replace_file


@given(st.lists(st.binary(max_size=20)))
def test_joined_pieces_are_the_same_bytes(pieces):
    assert b"".join(joined(pieces)) == b"".join(pieces)


def test_pieces_are_joined_up_to_the_first_that_fills_a_chunk():
    pieces = [b"x" * (CHUNK_BYTES - 1), b"yz", b"end"]
    assert [len(chunk) for chunk in joined(pieces)] == [CHUNK_BYTES + 1, 3]


def test_a_file_is_replaced_and_its_directories_are_made(tmp_path):
    path = tmp_path / "not" / "there" / "file"
    for content in (b"old", b"new"):
        replace_file(path, [content])
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_what_was_there_stays_when_the_pieces_fail(tmp_path):
    path = tmp_path / "file"
    replace_file(path, [b"old"])

    def failing():
        yield b"n"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        replace_file(path, failing())
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        replace_file(path, [b"new"])
    assert path.is_fifo()


def test_the_file_behind_a_symbolic_link_is_replaced(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"old")
    link.symlink_to(path)
    replace_file(link, [b"new"])
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
