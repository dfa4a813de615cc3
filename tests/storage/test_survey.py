"""The whole journal, past what is damaged: what is found, what is named, what is missing."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import CorruptionError, FormatError
from penin.storage.commits import Commit, Header, encode_header
from penin.storage.filesystem import read_file
from penin.storage.journal_names import journal_path
from penin.storage.reader import JournalReader
from penin.storage.survey import Damage, Survey
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.owner import AT, JOURNAL, STORE, Owner

FIRST, SECOND, THIRD = (journal_path(JOURNAL, first) for first in (1, 4, 6))


def lived() -> CrashableFileSystem:
    """Three files: transitions 1 to 3, 4 to 5 and 6 to 8, each a commit of its own."""
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    owner = Owner(fs).start()
    for number in range(1, 9):
        owner.append(1, padding=40)
        if number in {3, 5}:
            owner.journal.rotate()
    owner.stop()
    return fs


def found(fs):
    """The seqs of the commits, and the damage."""
    survey = Survey(fs, JOURNAL)
    lines = list(survey)
    seqs = [line.seq for line in lines if isinstance(line, Commit) and line.seq >= line.first]
    return survey, seqs, [line for line in lines if isinstance(line, Damage)]


def missing(damage):
    return [(each.path, each.first_seq, each.last_seq) for each in damage]


def flip(fs, path, position):
    data = bytearray(fs.content(path))
    data[position] ^= 1
    fs.replace_content(path, bytes(data))


def start_of_line(fs, path, number):
    return sum(map(len, fs.content(path).splitlines(keepends=True)[:number]))


def test_a_whole_journal_has_no_damage_and_all_is_read():
    fs = lived()
    survey, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 4, 5, 6, 7, 8]
    assert damage == []
    assert survey.done_bytes == survey.size_bytes
    assert survey.position.seq == 8


def test_what_comes_behind_a_damaged_line_is_found_and_what_is_missing_is_named():
    fs = lived()
    position = start_of_line(fs, SECOND, 1)
    flip(fs, SECOND, position + 20)
    _, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 5, 6, 7, 8]
    [only] = damage
    assert (only.path, only.position, only.first_seq, only.last_seq) == (SECOND, position, 4, 4)
    assert only.size_bytes == start_of_line(fs, SECOND, 2) - position
    assert only.reason == "its hash is wrong"
    assert only.after_at == only.before_at == AT


def test_damage_in_several_places_is_all_named():
    fs = lived()
    flip(fs, FIRST, start_of_line(fs, FIRST, 3) + 20)
    flip(fs, THIRD, start_of_line(fs, THIRD, 2) + 20)
    _, seqs, damage = found(fs)
    assert seqs == [1, 3, 4, 5, 6, 8]
    assert missing(damage) == [(FIRST, 2, 2), (THIRD, 7, 7)]


def test_a_damaged_header_takes_no_transition():
    fs = lived()
    flip(fs, SECOND, 20)
    _, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 4, 5, 6, 7, 8]
    assert missing(damage) == [(SECOND, 4, 3)]


def test_damage_up_to_the_end_of_a_file_is_bounded_by_the_next_one():
    fs = lived()
    fs.replace_content(SECOND, fs.content(SECOND)[: start_of_line(fs, SECOND, 2) + 30])
    _, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 4, 6, 7, 8]
    assert missing(damage) == [(SECOND, 5, 5)]


def test_a_file_that_is_missing_is_named():
    fs = lived()
    fs.unlink(SECOND)
    _, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 6, 7, 8]
    assert missing(damage) == [(THIRD, 4, 5)]


def test_a_line_that_is_missing_is_named_though_no_byte_is_damaged():
    fs = lived()
    lines = fs.content(FIRST).splitlines(keepends=True)
    del lines[3]
    fs.replace_content(FIRST, b"".join(lines))
    _, seqs, damage = found(fs)
    assert seqs == [1, 3, 4, 5, 6, 7, 8]
    assert [(each.size_bytes, each.first_seq, each.last_seq) for each in damage] == [(0, 2, 2)]


def test_a_history_that_was_written_anew_breaks_the_chain_where_it_ends():
    fs, other = lived(), CrashableFileSystem()
    other.make_directory(STORE)
    owner = Owner(other).start()
    for _ in range(3):
        owner.append(1, padding=41)
    owner.stop()
    fs.replace_content(FIRST, other.content(FIRST))
    _, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 4, 5, 6, 7, 8]
    [only] = damage
    assert (only.path, only.position, only.size_bytes) == (SECOND, 0, 0)
    assert only.last_seq < only.first_seq


def test_without_a_good_line_behind_it_nobody_knows_how_much_is_missing():
    fs = lived()
    lines = fs.content(THIRD).splitlines(keepends=True)
    damaged = b"".join(lines[:2]) + b"x" * 100 + b"\n" + b"y" * 600 + b"\n"
    fs.replace_content(THIRD, damaged)
    _, seqs, damage = found(fs)
    assert seqs == [1, 2, 3, 4, 5, 6]
    assert missing(damage) == [(THIRD, 7, None)]


@pytest.mark.parametrize("before", [False, True])
def test_a_torn_tail_is_no_damage(before):
    fs = lived()
    if before:
        flip(fs, FIRST, start_of_line(fs, FIRST, 3) + 20)
    fs.replace_content(THIRD, fs.content(THIRD) + b'{"epoch":1')
    survey, seqs, damage = found(fs)
    assert seqs[-1] == 8
    assert len(damage) == before
    assert survey.tail is not None
    assert survey.tail.size == 10


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("header", [b"", b'{"format":"penin'])
def test_a_file_that_was_being_made_is_no_damage(before, header):
    fs = lived()
    if before:
        flip(fs, FIRST, start_of_line(fs, FIRST, 3) + 20)
    fs.close(fs.open_write(journal_path(JOURNAL, 9)))
    fs.replace_content(journal_path(JOURNAL, 9), header)
    _, seqs, damage = found(fs)
    assert seqs[-1] == 8
    assert len(damage) == before


def test_a_later_version_behind_damage_is_named():
    fs = lived()
    flip(fs, FIRST, start_of_line(fs, FIRST, 3) + 20)
    line, _ = encode_header(store="x", epoch=1, first=4, forked_from=None, prev="0" * 64)
    body = line[:-76].replace(b'"version":1', b'"version":9')
    newer = body + b',"hash":"' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'
    fs.replace_content(SECOND, newer)
    with pytest.raises(FormatError, match="version 9"):
        found(fs)


def test_nothing_is_changed_and_everything_closed():
    fs = lived()
    flip(fs, FIRST, 600)
    before = list(fs.operations)
    found(fs)
    assert fs.operations == before
    assert fs.open_descriptors == 0


PRISTINE = lived()


@given(
    st.sampled_from([FIRST, SECOND, THIRD]),
    st.integers(0, 10_000),
    st.integers(1, 300),
    st.sampled_from(["flip", "zero", "cut", "remove"]),
)
def test_whatever_is_damaged_each_transition_is_read_or_missing_and_recovery_agrees(
    path, position, length, kind
):
    fs = PRISTINE.after_kill()
    data = bytearray(fs.content(path))
    position %= len(data)
    if kind == "flip":
        data[position] ^= 1 + length % 255
    elif kind == "zero":
        data[position : position + length] = bytes(len(data[position : position + length]))
    elif kind == "cut":
        del data[position:]
    else:
        del data[position : position + length]
    fs.replace_content(path, bytes(data))

    survey, seqs, damage = found(fs)

    try:
        JournalReader(fs, JOURNAL).read_to_end(0)
        assert damage == []
    except CorruptionError:
        assert damage
    assert seqs == sorted(set(seqs))
    gone = set(range(1, 9)) - set(seqs)
    named = set()
    for each in damage:
        named |= set(range(each.first_seq, 9 if each.last_seq is None else each.last_seq + 1))
    if survey.tail is not None or (path == THIRD and kind in {"cut", "remove"}):
        named |= set(range(survey.position.seq + 1, 9))
    assert gone <= named
    assert all(isinstance(line, Header | Commit | Damage) for line in Survey(fs, JOURNAL))
    assert read_file(fs, path) == bytes(data)
