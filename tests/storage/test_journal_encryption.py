"""Encrypted journals: what of a line is encrypted, and who can write one."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.errors import CorruptionError, KeyRequiredError, NotEncryptedError
from penin.settings import Compression
from penin.storage import commits
from penin.storage.commits import (
    Commit,
    Header,
    encode_commit,
    encode_header,
    parse_line,
)
from penin.storage.journal import FileJournal
from penin.storage.journal_encryption import LineCipher, LineOpener
from penin.storage.keys import write_ring
from penin.storage.reader import JournalReader
from penin.storage.survey import Survey
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.storage.keyed import STORE_ID, a_ring, keyed, master_of
from tests.storage.owner import AT, JOURNAL, STORE

PATH = Path("/store/journal/00000000000000000001.jsonl")
FIRST = JOURNAL / f"{1:020d}.jsonl"


def header_of(first: int = 1, key: str | None = "00000000") -> Header:
    line, _ = encode_header(
        store=STORE_ID, epoch=1, first=first, forked_from=None, prev="0" * 64, key=key
    )
    header = parse_line(line)
    assert isinstance(header, Header)
    return header


def cipher_of(header: Header | None = None) -> LineCipher:
    return LineCipher(a_ring(), header or header_of(), PATH)


def commit_of(line: bytes) -> Commit:
    commit = parse_line(line)
    assert isinstance(commit, Commit)
    return commit


def a_line(*messages: bytes, prev: str = "1" * 64, seq: int = 1) -> bytes:
    line, _ = encode_commit(
        epoch=1,
        first=seq,
        seq=seq,
        synced=0,
        at=AT,
        messages=messages,
        prev=prev,
        seal=cipher_of().seal,
    )
    return line


@given(st.lists(st.integers() | st.text(max_size=50), max_size=5))
def test_any_messages_come_back_and_only_they_are_encrypted(values):
    messages = [json.dumps(value).encode() for value in values]
    line = a_line(*messages)
    commit = cipher_of().opened(commit_of(line))
    assert bytes(commit.messages) == b"[%b]" % b",".join(messages)
    shown = json.loads(line)
    assert isinstance(shown.pop("messages"), str)
    plain, _ = encode_commit(
        epoch=1, first=1, seq=1, synced=0, at=AT, messages=messages, prev="1" * 64
    )
    assert shown.keys() == json.loads(plain).keys() - {"messages"}


def test_two_lines_of_the_same_messages_are_different():
    assert a_line(b'{"a":1}') != a_line(b'{"a":1}')


def rehashed(body: bytes) -> bytes:
    return body + b',"hash":"%b"}\n' % sha256(body).hexdigest().encode()


def test_nobody_without_the_key_changes_a_byte_of_a_line_though_he_can_hash_it():
    line = a_line(b'{"type":"add_score","score":1}')
    body = line[:-76]
    for position in range(len(body)):
        for bit in (1, 2, 16):
            changed = bytearray(body)
            changed[position] ^= bit
            try:
                commit = parse_line(rehashed(bytes(changed)))
            except ValueError:
                continue  # it is no line at all
            assert isinstance(commit, Commit)
            with pytest.raises(CorruptionError, match="do not authenticate"):
                cipher_of().opened(commit)


@pytest.mark.parametrize(
    "messages",
    [b"[]", b'[{"type":"add_score","score":1}]', b'""', b"7", b'"%b"' % b64encode(bytes(40))],
)
def test_a_line_that_was_made_without_the_key_is_refused(messages):
    body = a_line(b"{}")[:-76]
    start, end = body.index(b'"messages":') + 11, body.index(b',"prev"')
    forged = commit_of(rehashed(body[:start] + messages + body[end:]))
    with pytest.raises(CorruptionError, match="do not authenticate"):
        cipher_of().opened(forged)


def test_a_line_cannot_be_moved_to_another_place_or_another_file():
    body = a_line(b"{}")[:-76]
    elsewhere = commit_of(rehashed(body.replace(b"1" * 64, b"2" * 64)))
    with pytest.raises(CorruptionError):
        cipher_of().opened(elsewhere)
    with pytest.raises(CorruptionError):
        cipher_of(header_of(first=2)).opened(commit_of(a_line(b"{}")))


def test_a_file_of_another_store_or_with_an_unknown_data_key_is_refused():
    with pytest.raises(CorruptionError, match="a journal of store"):
        LineCipher(a_ring("0" * 36), header_of(), PATH)
    with pytest.raises(CorruptionError, match="data key ffffffff is not in the ring"):
        LineCipher(a_ring(), header_of(key="ffffffff"), PATH)


def test_the_largest_frame_of_a_plain_journal_fits_an_encrypted_line(monkeypatch):
    frame_bytes, line_bytes = commits.FRAME_BYTES_MAX // 1024, commits.LINE_BYTES_MAX // 1024
    monkeypatch.setattr(commits, "FRAME_BYTES_MAX", frame_bytes)
    monkeypatch.setattr(commits, "LINE_BYTES_MAX", line_bytes)
    message = b'"%b"' % (b"x" * (frame_bytes - 4096))
    line = a_line(message)
    assert frame_bytes < len(line) < line_bytes
    assert len(bytes(cipher_of().opened(commit_of(line)).messages)) == len(message) + 2
    at = line.index(b'"messages":')
    plain = rehashed(line[: at + 11] + b'["' + line[at + 12 : -76].replace(b'","prev', b'"],"prev'))
    with pytest.raises(ValueError, match="longer than a frame can be"):
        parse_line(plain)


# -- a journal on files ---------------------------------------------------------------------------


def with_journal(*, keys: int = 1) -> tuple[CrashableFileSystem, FileJournal]:
    fs = keyed()
    fs.make_directory(STORE)
    write_ring(fs, STORE, a_ring(keys=keys), master_of("first"))
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create(STORE_ID, seq=0, forked_from=None)
    journal.open(AT)
    for seq in (1, 2, 3):
        journal.append(seq, seq, AT, [b'{"secret":%d}' % seq])
    return fs, journal


def messages_in(fs: CrashableFileSystem) -> list[bytes]:
    return [bytes(commit.messages) for commit in JournalReader(fs, JOURNAL).read(0)]


def test_a_journal_is_read_with_the_key_and_its_chain_is_checked_without_it():
    fs, journal = with_journal()
    journal.rotate()
    journal.append(4, 4, AT, [b'{"secret":4}'])
    journal.close()
    assert messages_in(fs) == [b'[{"secret":%d}]' % seq for seq in (1, 2, 3, 4)]
    for name in fs.names(JOURNAL):
        assert b"secret" not in fs.content(JOURNAL / name)
        assert b'"key":"00000000"' in fs.content(JOURNAL / name)
    stranger = fs.after_kill()
    stranger.keys = None
    reader = JournalReader(stranger, JOURNAL)
    reader.read_to_end(0)
    assert reader.end is not None
    assert reader.end.position.seq == 4
    assert reader.holds_transitions()
    assert len([line for line in Survey(stranger, JOURNAL) if isinstance(line, Commit)]) == 5
    with pytest.raises(KeyRequiredError, match=r"00001\.jsonl: it is encrypted"):
        messages_in(stranger)


def test_reading_from_inside_a_file_needs_the_key_and_finding_a_place_does_not():
    fs, journal = with_journal()
    for seq in range(4, 40):
        journal.append(seq, seq, AT, [b'{"secret":%d}' % seq])
    journal.close()
    found = list(JournalReader(fs, JOURNAL).read_from(38))
    assert [bytes(commit.messages) for commit in found] == [b'[{"secret":38}]', b'[{"secret":39}]']
    stranger = fs.after_kill()
    stranger.keys = None
    assert JournalReader(stranger, JOURNAL).seq_since(AT) == 1
    with pytest.raises(KeyRequiredError):
        list(JournalReader(stranger, JOURNAL).read_from(38))


def test_openings_are_authenticated_too():
    fs, journal = with_journal()
    journal.close()
    data = fs.content(FIRST)
    head = data.splitlines(keepends=True)[-1]
    digest = json.loads(head)["hash"]
    forged, _ = encode_commit(
        epoch=2, first=4, seq=3, synced=3, at=AT, messages=(), prev=digest, seal=lambda *_: b'""'
    )
    fs.replace_content(FIRST, data + forged)
    with pytest.raises(CorruptionError, match="do not authenticate"):
        messages_in(fs)


def test_with_a_key_a_plain_journal_is_refused():
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    journal = FileJournal(fs, JOURNAL, fsync="always")
    journal.create(STORE_ID, seq=0, forked_from=None)
    journal.open(AT)
    journal.append(1, 1, AT, [b"{}"])
    journal.close()
    with pytest.raises(NotEncryptedError):
        messages_in(keyed(fs))
    opener = LineOpener(fs, JOURNAL)
    with pytest.raises(NotEncryptedError):
        opener.begin(header_of(key=None))


def test_a_new_file_is_encrypted_with_the_newest_data_key_and_older_ones_are_read():
    fs, journal = with_journal()
    write_ring(fs, STORE, a_ring(keys=2), master_of("first"))
    journal.close()
    again = keyed(fs.after_kill())
    journal = FileJournal(again, JOURNAL, fsync="always")
    list(journal.read(0))
    journal.open(AT)
    journal.append(4, 4, AT, [b"{}"])
    journal.rotate()
    journal.append(5, 5, AT, [b"{}"])
    journal.close()
    assert b'"key":"00000000"' in again.content(FIRST)
    assert b'"key":"00000001"' in again.content(JOURNAL / f"{5:020d}.jsonl")
    assert len(messages_in(again)) == 5


def test_a_torn_tail_is_cut_and_a_broken_header_made_anew_with_its_key():
    fs, journal = with_journal()
    journal.rotate()
    newest = JOURNAL / f"{4:020d}.jsonl"
    fs.replace_content(newest, fs.content(newest)[:100])
    fs = keyed(fs.after_kill())
    journal = FileJournal(fs, JOURNAL, fsync="always")
    assert len(list(journal.read(0))) == 3
    journal.open(AT)
    assert journal.repairs.header_remade
    journal.append(4, 4, AT, [b"{}"])
    fs.replace_content(newest, fs.content(newest)[:-9])
    fs = keyed(fs.after_kill())
    journal = FileJournal(fs, JOURNAL, fsync="always")
    assert len(list(journal.read(0))) == 3
    journal.open(AT)
    assert journal.repairs.torn is not None
    assert b'"key":"00000000"' in fs.content(newest)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_what_is_encrypted_is_not_compressed(compression: Compression):
    fs, journal = with_journal()
    journal.rotate()
    before = fs.names(JOURNAL)
    journal.compress(3, compression, None, lambda: None)
    assert fs.names(JOURNAL) == before
