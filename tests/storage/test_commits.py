"""Lines of the journal: round trips, and what is not a valid line."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.storage.commits import (
    FRAME_BYTES_MAX,
    HASH_TAIL_BYTES,
    HEADER_BYTES_MAX,
    ZERO_HASH,
    Commit,
    ForkedFrom,
    Header,
    InvalidLineError,
    Position,
    UnknownVersionError,
    encode_commit,
    encode_header,
    is_anchor,
    parse_line,
    stated_hash,
)

seqs = st.integers(min_value=1, max_value=2**53)
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def a_commit(first=5, seq=6, *, epoch=2, synced=4, at="2026-01-31T12:00:00.000123Z", prev=None):
    messages = [b"%d" % n for n in range(first, seq + 1)]
    return encode_commit(
        epoch=epoch,
        first=first,
        seq=seq,
        synced=synced,
        at=at,
        messages=messages,
        prev=prev or "a" * 64,
    )


def a_header(first=5, *, epoch=1, prev=None, fork=None, store="store"):
    return encode_header(
        store=store, epoch=epoch, first=first, forked_from=fork, prev=prev or "a" * 64
    )


def sealed(text: str) -> bytes:
    """A line with any fields at all and the right hash."""
    body = text.encode()
    return body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


@given(
    first=seqs,
    epoch=seqs,
    messages=st.lists(values, max_size=5),
    prev=hashes,
    data=st.data(),
)
def test_a_commit_is_read_as_it_was_written(first, epoch, messages, prev, data):
    encoded = [json.dumps(message).encode() for message in messages]
    seq = first - 1 + len(encoded)
    synced = data.draw(st.integers(0, first - 1))
    line, digest = encode_commit(
        epoch=epoch,
        first=first,
        seq=seq,
        synced=synced,
        at="2026-01-31T12:00:00.000123Z",
        messages=encoded,
        prev=prev,
    )
    commit = parse_line(line)
    assert isinstance(commit, Commit)
    assert json.loads(bytes(commit.messages)) == messages
    assert (commit.epoch, commit.first, commit.seq) == (epoch, first, seq)
    assert (commit.synced, commit.prev, commit.hash) == (synced, prev, digest)
    assert parse_line(line, verify_hash=False) == commit
    assert line.count(b"\n") == 1
    # Any JSON reader reads it, and in the documented order.
    assert list(json.loads(line)) == [
        *("epoch", "first", "seq", "synced", "at", "messages", "prev", "hash")
    ]


@given(
    store=st.text(max_size=40),
    first=seqs,
    epoch=st.integers(0, 2**53),
    prev=hashes,
    fork=st.none() | st.builds(ForkedFrom, st.none() | st.text(max_size=40), seqs, hashes),
)
def test_a_header_is_read_as_it_was_written(store, first, epoch, prev, fork):
    line, digest = encode_header(store=store, epoch=epoch, first=first, forked_from=fork, prev=prev)
    expected = Header(store, epoch, first, fork, None, prev, digest)
    assert parse_line(line) == expected
    assert list(json.loads(line)) == [
        *("format", "version", "store", "epoch", "first", "forked_from", "key", "prev", "hash")
    ]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
@pytest.mark.parametrize("line", [a_commit()[0], a_header()[0]])
def test_the_hash_is_checked_by_an_ordinary_tool(line):
    script = f"head -c -{HASH_TAIL_BYTES} | sha256sum"
    done = subprocess.run(["sh", "-c", script], input=line, capture_output=True, check=True)
    assert done.stdout.decode().split()[0] == stated_hash(line) == json.loads(line)["hash"]


@given(data=st.data())
def test_a_line_with_any_byte_changed_is_not_valid(data):
    line = data.draw(st.sampled_from([a_commit()[0], a_header()[0]]))
    at = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    with pytest.raises(InvalidLineError):
        parse_line(line[:at] + bytes([other]) + line[at + 1 :])


@given(cut=st.integers(1, len(a_commit()[0])))
def test_a_line_with_its_end_missing_is_not_valid(cut):
    with pytest.raises(InvalidLineError):
        parse_line(a_commit()[0][:-cut])


@given(garbage=st.binary(max_size=200))
def test_garbage_is_not_valid_and_raises_nothing_else(garbage):
    with pytest.raises(InvalidLineError):
        parse_line(garbage + b"\n")


NUMBERS = '"at":"t","messages":[],"prev":""'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"epoch":1,"first":2,"seq":2,"synced":2,' + NUMBERS, "numbers"),
        ('{"epoch":1,"first":3,"seq":1,"synced":0,' + NUMBERS, "numbers"),
        ('{"epoch":0,"first":1,"seq":1,"synced":0,' + NUMBERS, "numbers"),
        ('{"epoch":1,"first":1,"seq":1,"synced":-1,' + NUMBERS, "numbers"),
        ('{"epoch":1,"first":1,"seq":1,"synced":0,"more":1,' + NUMBERS, "fields"),
        ('{"epoch":1,"first":1,"seq":1,' + NUMBERS, "fields"),
        ('{"epoch":1.5,"first":1,"seq":1,"synced":0,' + NUMBERS, "fields"),
        ("[1", "fields"),
        ('{"format":"penin-journal","version":1,"store":"s"', "fields"),
    ],
)
def test_a_line_with_the_right_hash_and_wrong_fields_is_not_valid(text, reason):
    with pytest.raises(InvalidLineError, match=reason):
        parse_line(sealed(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"format":"penin-journal","version":2,"store":"s"',
        '{"format":"another","version":1,"store":"s"',
    ],
)
def test_a_header_of_another_format_or_version_is_told_from_damage(text):
    with pytest.raises(UnknownVersionError, match="version"):
        parse_line(sealed(text))


@pytest.mark.parametrize("at", ['a"b', "a\\b", "a\nb", "\x80"])
def test_a_time_that_would_break_its_line_is_not_encoded(at):
    with pytest.raises(ValueError, match="quotes"):
        a_commit(at=at)


def with_message(message: bytes) -> bytes:
    return encode_commit(
        epoch=1, first=1, seq=1, synced=0, at="t", messages=[message], prev=ZERO_HASH
    )[0]


def test_a_message_that_would_end_its_line_is_not_encoded():
    with pytest.raises(ValueError, match="newline"):
        with_message(b"1\n2")


def test_a_commit_fits_its_frame_to_the_byte():
    room = FRAME_BYTES_MAX - len(with_message(b'""'))
    line = with_message(b'"' + b"x" * room + b'"')
    assert len(line) == FRAME_BYTES_MAX
    parse_line(line)
    with pytest.raises(ValueError, match="at most"):
        with_message(b'"' + b"x" * (room + 1) + b'"')


def test_a_header_that_would_not_pass_for_one_is_not_encoded():
    with pytest.raises(ValueError, match="header"):
        a_header(store="s" * HEADER_BYTES_MAX)


START = Position(4, 2, "a" * 64, 100)


def place(line: bytes, position: Position = START) -> Position:
    return position.after(line, parse_line(line))


def test_a_commit_follows_the_line_before_it():
    line, digest = a_commit()
    assert place(line) == Position(6, 2, digest, 100 + len(line))


def test_a_header_follows_at_the_start_of_a_file():
    line, digest = a_header(epoch=2)
    start = Position(4, 2, "a" * 64, 0)
    assert place(line, start) == Position(4, 2, digest, len(line))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (a_commit(prev="b" * 64)[0], "prev"),
        (a_commit(6, 6)[0], "begins at seq 6 and not at 5"),
        (a_commit(4, 6, synced=3)[0], "begins at seq 4 and not at 5"),
        (a_commit(epoch=1)[0], "epoch 1 is before 2"),
        (a_header(epoch=2)[0], "start of a file"),
    ],
)
def test_a_valid_line_is_not_valid_in_another_place(line, reason):
    with pytest.raises(InvalidLineError, match=reason):
        place(line)


def test_a_file_does_not_start_with_a_commit():
    with pytest.raises(InvalidLineError, match="start of a file"):
        place(a_commit()[0], Position(4, 2, "a" * 64, 0))


def test_a_snapshot_is_continued_by_the_line_that_it_ends_with_or_the_header_after_it():
    line, digest = a_commit()
    commit = parse_line(line)
    assert is_anchor(commit, 6, digest)
    assert not is_anchor(commit, 5, digest)
    assert not is_anchor(commit, 6, "a" * 64)
    line, digest = a_header()
    header = parse_line(line)
    assert is_anchor(header, 4, digest)
    assert is_anchor(header, 4, "a" * 64)
    assert not is_anchor(header, 5, digest)
    assert not is_anchor(header, 4, "b" * 64)
