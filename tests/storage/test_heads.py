"""`heads.jsonl`: signed heads, appended one by one."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from penin.errors import CorruptionError, StorageError, UsageError
from penin.storage.heads import (
    HEADS_NAME,
    LINE_BYTES_MAX,
    Signer,
    Verifier,
    append_head,
    head_lines,
    new_key_pair,
    parse_head,
)
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem, Effect
from tests.storage.keyed import STORE_ID
from tests.storage.owner import AT, STORE

PATH = STORE / HEADS_NAME
PRIVATE, PUBLIC = new_key_pair()
SIGNER, VERIFIER = Signer(PRIVATE), Verifier(PUBLIC)


def a_head(seq: int = 4, signer: Signer = SIGNER) -> bytes:
    return signer.line(store=STORE_ID, seq=seq, hash="a" * 64, at=AT, snapshot="b" * 64)


def a_disk() -> CrashableFileSystem:
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    return fs


def seqs_on(fs: CrashableFileSystem) -> list[int]:
    return [parse_head(line).seq for _, line in head_lines(fs, PATH)]


def test_a_head_is_verified_with_the_public_key_alone():
    line = a_head()
    head = VERIFIER.signed(line)
    assert head is not None
    assert (head.store, head.seq, head.hash, head.at) == (STORE_ID, 4, "a" * 64, AT)
    assert list(json.loads(line)) == [
        *("format", "version", "store", "seq", "hash", "at", "snapshot", "key", "signature")
    ]


def test_every_byte_that_is_changed_is_found():
    line = a_head()
    for position in range(len(line)):
        for bit in (1, 4):
            changed = bytearray(line)
            changed[position] ^= bit
            with contextlib.suppress(ValueError):
                head = VERIFIER.signed(bytes(changed))
                # Another key is named; or bits of base64 that stand for nothing.
                assert head is None or head == VERIFIER.signed(line) or _same_signature(head, line)
        with pytest.raises(ValueError, match="signature"):
            VERIFIER.signed(line[:position])


def _same_signature(head: Any, line: bytes) -> bool:
    own = json.loads(line)
    return b64decode(head.signature) == b64decode(own["signature"])


def test_another_key_is_told_by_its_id():
    private, _ = new_key_pair()
    assert VERIFIER.signed(a_head(signer=Signer(private))) is None


def test_a_head_of_a_later_version_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="version 2; this version reads 'penin-head' version 1"):
        parse_head(a_head().replace(b'"version":1', b'"version":2'))


# With names: the keys are others in each process that collects the tests.
@pytest.mark.parametrize(
    "pem",
    [b"", b"garbage", PUBLIC, PRIVATE[:60], b"\xff" * 99],
    ids=["empty", "garbage", "public", "cut", "no-text"],
)
def test_what_is_no_private_key_is_refused_and_not_shown(pem):
    with pytest.raises(UsageError, match="no private Ed25519 key") as raised:
        Signer(pem)
    assert not pem or pem.decode(errors="replace") not in str(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    "pem", [b"", b"garbage", PRIVATE, PUBLIC[:60]], ids=["empty", "garbage", "private", "cut"]
)
def test_what_is_no_public_key_is_refused(pem):
    with pytest.raises(UsageError, match="no public Ed25519 key"):
        Verifier(pem)


def test_a_repr_has_nothing_of_the_key():
    body = b"".join(PRIVATE.splitlines()[1:-1]).decode()
    assert body not in repr(SIGNER)
    assert repr(SIGNER) == f"<Signer {VERIFIER.id}>"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_keys_and_signatures_are_those_of_openssl(tmp_path: Path):
    def openssl(*arguments: str) -> bytes:
        return subprocess.run(
            ["openssl", *arguments], cwd=tmp_path, check=True, capture_output=True
        ).stdout

    openssl("genpkey", "-algorithm", "ed25519", "-out", "sign.key")
    openssl("pkey", "-in", "sign.key", "-pubout", "-out", "sign.pub")
    line = a_head(signer=Signer((tmp_path / "sign.key").read_bytes()))
    assert Verifier((tmp_path / "sign.pub").read_bytes()).signed(line) is not None
    (tmp_path / "head").write_bytes(line[:-105])
    (tmp_path / "signature").write_bytes(b64decode(json.loads(line)["signature"]))
    said = openssl(
        *("pkeyutl", "-verify", "-pubin", "-inkey", "sign.pub", "-rawin"),
        *("-in", "head", "-sigfile", "signature"),
    )
    assert b"Verified Successfully" in said
    openssl("genpkey", "-algorithm", "X25519", "-out", "other.key")
    with pytest.raises(UsageError):
        Signer((tmp_path / "other.key").read_bytes())


def test_heads_are_appended_and_read_in_order():
    fs = a_disk()
    assert seqs_on(fs) == []
    for seq in range(1, 6):
        append_head(fs, STORE, a_head(seq))
    assert seqs_on(fs) == [1, 2, 3, 4, 5]
    assert [position for position, _ in head_lines(fs, PATH)][:2] == [0, len(a_head(1))]
    assert seqs_on(fs.after_crash(1)) == [1, 2, 3, 4, 5]


def test_a_line_that_was_not_finished_is_left_out_and_replaced():
    fs = a_disk()
    append_head(fs, STORE, a_head(1))
    whole = fs.content(PATH)
    for cut in (1, 50, len(whole) - 1):
        fs.replace_content(PATH, whole + whole[:cut])
        assert seqs_on(fs) == [1]
        append_head(fs, STORE, a_head(2))
        assert seqs_on(fs) == [1, 2]
    fs.replace_content(PATH, whole[:100])
    append_head(fs, STORE, a_head(2))
    assert seqs_on(fs) == [2]


def test_a_line_that_no_head_can_be_is_damage():
    fs = a_disk()
    append_head(fs, STORE, a_head(1))
    fs.replace_content(PATH, fs.content(PATH) + b"x" * (LINE_BYTES_MAX + 1))
    with pytest.raises(CorruptionError, match="longer than a head"):
        seqs_on(fs)


def test_what_cannot_be_written_is_told_and_the_next_one_can():
    fs = a_disk()
    append_head(fs, STORE, a_head(1))
    fs.fail("write", 28, partial=40)
    with pytest.raises(StorageError, match="No space"):
        append_head(fs, STORE, a_head(2))
    assert seqs_on(fs) == [1]
    append_head(fs, STORE, a_head(3))
    assert seqs_on(fs) == [1, 3]


@pytest.mark.parametrize("effect", ["none", "half", "whole"])
def test_a_crash_at_any_operation_leaves_the_heads_before_and_perhaps_the_new_one(effect: Effect):
    number, ended = 0, False
    while not ended:
        number += 1
        fs = a_disk()
        append_head(fs, STORE, a_head(1))
        fs.operations.clear()
        fs.crash_at, fs.crash_effect = number, effect
        with contextlib.suppress(Crash):
            append_head(fs, STORE, a_head(2))
            ended = True
        for disk in (fs.after_crash(number), fs.after_kill()):
            assert seqs_on(disk) in ([[1, 2]] if ended else [[1], [1, 2]])
            append_head(disk, STORE, a_head(3))
            assert seqs_on(disk)[-1] == 3
            assert seqs_on(disk)[0] == 1
    assert number > 3
