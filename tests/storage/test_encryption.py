"""Encrypted files: what comes back, and what is refused."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import CorruptionError, FormatError
from penin.storage import encryption
from penin.storage.encryption import CHUNK_BYTES, Decrypted, Kind, encrypted
from penin.storage.keys import KeyRing
from penin.storage.mapped import whole_blocks
from penin.storage.memory import MemoryBlocks
from tests.storage.keyed import a_ring

PATH = Path("/store/state.json.enc")
TAG = 16


def sealed(
    content: bytes, ring: KeyRing | None = None, kind: Kind = "snapshot", seq: int = 4
) -> bytes:
    return b"".join(encrypted([content], ring or a_ring(), kind, seq))


def opened(data: bytes, ring: KeyRing | None = None, kind: Kind = "snapshot", **more: Any) -> bytes:
    return b"".join(Decrypted(MemoryBlocks([data]), PATH, ring or a_ring(), kind, **more))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> int:
    """Chunks of so few bytes that a small file has many."""
    size = 7
    monkeypatch.setattr(encryption, "CHUNK_BYTES", size)
    monkeypatch.setattr(encryption, "_STORED_BYTES", size + TAG)

    def blocks(chunks: Any) -> Any:
        content = b"".join(bytes(block) for block in whole_blocks(chunks))
        return (content[start : start + size] for start in range(0, len(content), size))

    monkeypatch.setattr(encryption, "whole_blocks", blocks)
    return size


@given(
    st.lists(st.binary(max_size=40), max_size=8),
    st.lists(st.integers(0, 400), max_size=6),
)
def test_any_content_comes_back_in_whatever_pieces_it_is_written_and_read(pieces, cuts):
    data = b"".join(encrypted(pieces, a_ring(), "snapshot", 0))
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    read = MemoryBlocks(data[a:b] for a, b in pairwise(places))
    found = Decrypted(read, PATH, a_ring(), "snapshot", 0)
    assert b"".join(found) == bytes(found.map()) == b"".join(pieces)
    assert found.size_bytes == len(data)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_chunks_are_as_long_as_stated_and_the_last_is_what_is_left(size):
    content = bytes(range(256)) * (size // 256 + 1)
    content = content[:size]
    data = sealed(content)
    header = data.index(b"\n") + 1
    assert len(data) == header + size + TAG * max(1, -(-size // CHUNK_BYTES))
    assert opened(data) == content


def test_the_header_says_what_it_is_and_nothing_of_the_content_is_to_be_seen():
    data = sealed(b"a secret of forty characters, in the clear")
    said = json.loads(data[: data.index(b"\n")])
    assert len(said.pop("salt")) == 44
    assert said == {
        "format": "penin-encrypted",
        "version": 1,
        "store": a_ring().store,
        "kind": "snapshot",
        "seq": 4,
        "key": "00000000",
    }
    assert b"secret" not in data
    assert data != sealed(b"a secret of forty characters, in the clear")


def test_every_byte_that_is_changed_and_every_cut_is_refused(small_chunks):
    data = sealed(b"thirty-five characters of content..")
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises((CorruptionError, FormatError)):
            opened(bytes(damaged))
        with pytest.raises(CorruptionError):
            opened(data[:position])
    with pytest.raises(CorruptionError):
        opened(data + b"x")


def test_chunks_cannot_be_left_out_exchanged_repeated_or_taken_from_another_file(small_chunks):
    stored = small_chunks + TAG
    data, other = sealed(b"0123456789" * 5), sealed(b"9876543210" * 5)
    end = data.index(b"\n") + 1

    def chunks_of(file: bytes) -> list[bytes]:
        return [file[start : start + stored] for start in range(end, len(file), stored)]

    header, chunks, foreign = data[:end], chunks_of(data), chunks_of(other)
    assert len(chunks) == 8
    for number in range(len(chunks)):
        with pytest.raises(CorruptionError):
            opened(header + b"".join(chunks[:number]))
        with pytest.raises(CorruptionError):
            opened(header + b"".join(chunks[:number] + chunks[number + 1 :]))
        with pytest.raises(CorruptionError):
            opened(header + b"".join([*chunks[: number + 1], *chunks[number:]]))
        with pytest.raises(CorruptionError):
            opened(header + b"".join([*chunks[:number], foreign[number], *chunks[number + 1 :]]))
        for second in range(number):
            exchanged = [*chunks]
            exchanged[number], exchanged[second] = chunks[second], chunks[number]
            with pytest.raises(CorruptionError):
                opened(header + b"".join(exchanged))
    assert opened(header + b"".join(chunks)) == b"0123456789" * 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ring": a_ring("0" * 36)}, "a file of store 6f1c"),
        ({"kind": "sealed"}, "of the kind snapshot, not sealed"),
        ({"seq": 5}, "its place is 4, and it lies at 5"),
        ({"ring": KeyRing(a_ring().store, a_ring(keys=2).keys[1:])}, "data key 00000000 is not in"),
    ],
)
def test_a_file_that_belongs_elsewhere_is_refused_by_what_it_says(change, reason):
    with pytest.raises(CorruptionError, match=reason):
        opened(sealed(b"content"), **change)


@pytest.mark.parametrize(
    ("old", "new"), [(b'"seq":4', b'"seq":5'), (b'"snapshot"', b'"sealed"'), (b"000000", b"000001")]
)
def test_what_a_header_says_cannot_be_changed(old, new):
    data = sealed(b"content", a_ring(keys=2)).replace(old, new, 1)
    kind: Kind = "sealed" if b"sealed" in new else "snapshot"
    with pytest.raises(CorruptionError):
        opened(data, a_ring(keys=2), kind)


def test_a_plain_file_is_refused_where_an_encrypted_one_should_be():
    with pytest.raises(CorruptionError, match="does not begin as an encrypted file"):
        opened(b'{\n  "format": "penin-snapshot"')


def test_a_later_version_is_refused_with_both_numbers():
    with pytest.raises(FormatError, match="version 2; this version reads 'penin-encrypted' vers"):
        opened(sealed(b"x").replace(b'"version":1', b'"version":2'))


def test_a_key_of_before_reads_what_it_wrote():
    old, new = a_ring(keys=1), a_ring(keys=2)
    assert opened(sealed(b"of before", old), new) == b"of before"
    assert b'"key":"00000001"' in sealed(b"of now", new)


def test_damage_is_told_with_its_place_in_the_content_and_what_is_before_was_given(small_chunks):
    data = bytearray(sealed(b"0123456789" * 3))
    data[-1] ^= 1
    given_out = []
    with pytest.raises(CorruptionError) as raised:  # noqa: PT012  # what came before counts
        for block in Decrypted(MemoryBlocks([bytes(data)]), PATH, a_ring(), "snapshot"):
            given_out.append(block)  # noqa: PERF402
    assert raised.value.position == len(b"".join(given_out)) == 28


def test_it_can_be_abandoned_after_each_block():
    def abandoned() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened(sealed(b"content"), abandoned=abandoned)
