"""`keys.json`: the ring of data keys, wrapped by a master key."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest

from penin.errors import (
    CorruptionError,
    FormatError,
    KeyRequiredError,
    NotEncryptedError,
    StorageError,
    UsageError,
    WrongKeyError,
)
from penin.storage.keys import (
    KEYS_NAME,
    Keys,
    check_encryption,
    read_ring,
    require_cryptography,
    write_ring,
)
from tests.fakes.crashable_filesystem import Crash, CrashableFileSystem, Effect
from tests.storage.keyed import a_ring, keyed, keys_of, master_of
from tests.storage.owner import STORE

PATH = STORE / KEYS_NAME
FIRST: Callable[[], bytes] = keys_of("first").master


def with_ring(keys: int = 2) -> CrashableFileSystem:
    fs = CrashableFileSystem()
    fs.make_directory(STORE)
    write_ring(fs, STORE, a_ring(keys=keys), FIRST())
    return fs


def secrets_in(ring: Any) -> list[tuple[str, bytes]]:
    return [(key.id, key.secret_for_wrapping()) for key in ring.keys]


def test_a_ring_is_read_back_with_the_master_key_that_wrapped_it():
    ring = read_ring(with_ring(), STORE, FIRST)
    assert ring.store == a_ring().store
    assert secrets_in(ring) == secrets_in(a_ring(keys=2))
    assert ring.current.id == "00000001"


def test_another_master_key_is_told_from_damage():
    fs = with_ring()
    with pytest.raises(WrongKeyError, match="not the one of this store"):
        read_ring(fs, STORE, keys_of("second").master)
    data = fs.content(PATH)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        fs.replace_content(PATH, bytes(damaged))
        with pytest.raises(CorruptionError):
            read_ring(fs, STORE, FIRST)
        fs.replace_content(PATH, data[:position])
        with pytest.raises(CorruptionError):
            read_ring(fs, STORE, FIRST)


@pytest.mark.parametrize("member", ["store", "keys"])
def test_what_the_ring_says_in_plain_cannot_be_changed_either(member):
    """Whoever can compute a hash has no key: the plain part is associated data."""
    fs = with_ring()
    text = fs.content(PATH)
    said = json.loads(text)
    changed = [*said["keys"]][::-1] if member == "keys" else "0" * 36
    old, new = (json.dumps(value, separators=(",", ":")) for value in (said[member], changed))
    body = text[:-76].replace(old.encode(), new.encode())
    fs.replace_content(PATH, body + b',"hash":"%b"}\n' % sha256(body).hexdigest().encode())
    with pytest.raises(WrongKeyError):
        read_ring(fs, STORE, FIRST)


def test_a_later_version_is_refused_with_both_numbers():
    fs = with_ring()
    body = fs.content(PATH)[:-76].replace(b'"version":1', b'"version":2')
    fs.replace_content(PATH, body + b',"hash":"%b"}\n' % sha256(body).hexdigest().encode())
    with pytest.raises(FormatError, match="version 2; this version reads 'penin-keys' version 1"):
        read_ring(fs, STORE, FIRST)


def test_no_key_stands_in_the_file_or_in_a_repr():
    fs, ring = with_ring(), a_ring(keys=2)
    shown = fs.content(PATH) + repr((ring, ring.keys, keys_of("first"))).encode()
    for secret in (FIRST(), *(secret for _, secret in secrets_in(ring))):
        assert secret not in shown
        assert secret.hex().encode() not in shown
        assert repr(secret).encode() not in shown


def test_each_wrapping_has_a_nonce_of_its_own():
    assert with_ring().content(PATH) != with_ring().content(PATH)


def test_with_a_key_a_plain_store_is_refused_and_without_one_an_encrypted_one():
    fs, plain = with_ring(), CrashableFileSystem()
    plain.make_directory(STORE)
    check_encryption(plain, STORE)
    with pytest.raises(KeyRequiredError, match=r"it is encrypted.*--key-from"):
        check_encryption(fs, STORE)
    check_encryption(keyed(fs), STORE)
    with pytest.raises(NotEncryptedError, match=r"not encrypted.*penin convert"):
        check_encryption(keyed(plain), STORE)
    with pytest.raises(NotEncryptedError):
        keys_of().ring(plain, STORE)


def test_the_master_key_is_asked_for_once_and_not_before_it_is_needed():
    asked: list[str] = []

    def load() -> bytes:
        asked.append("key")
        return master_of("first")

    fs, keys = with_ring(), Keys("file:x", load)
    assert asked == []
    assert keys.ring(fs, STORE) is keys.ring(fs, STORE)
    assert asked == ["key"]


def test_a_ring_that_is_made_anew_takes_the_place_of_one_that_was_known():
    fs, keys = CrashableFileSystem(), keys_of()
    fs.make_directory(STORE)
    first = keys.begin(fs, STORE)
    assert keys.begin(fs, STORE) is first
    fs.unlink(PATH)
    second = keys.begin(fs, STORE)
    assert second.store != first.store
    assert secrets_in(read_ring(fs, STORE, FIRST)) == secrets_in(second)
    assert keys.ring(fs, STORE) is second


def test_a_file_that_cannot_be_read_or_written_is_told_with_its_path(tmp_path):
    fs = with_ring()
    fs.fail("rename", 28)
    with pytest.raises(StorageError, match=r"keys\.json: No space"):
        write_ring(fs, STORE, a_ring(), FIRST())
    assert read_ring(fs, STORE, FIRST).keys[1:], "the one before is there"


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cryptography.hazmat.primitives.ciphers", None)
    monkeypatch.setitem(
        __import__("sys").modules, "cryptography.hazmat.primitives.ciphers.aead", None
    )
    with pytest.raises(UsageError, match=r"pip install 'penin\[crypto\]'"):
        require_cryptography()


@pytest.mark.parametrize("effect", ["none", "half", "whole"])
def test_a_crash_at_any_operation_leaves_a_ring_that_one_of_the_two_keys_opens(effect: Effect):
    number, ended = 0, False
    opened: list[str] = []
    while not ended:
        number += 1
        fs = with_ring()
        fs.operations.clear()
        fs.crash_at, fs.crash_effect = number, effect
        try:
            write_ring(fs, STORE, a_ring(keys=3), master_of("second"))
            ended = True
        except Crash:
            pass
        for disk in (fs.after_crash(number), fs.after_kill()):
            opened = []
            for name, count in (("first", 2), ("second", 3)):
                try:
                    ring = read_ring(disk, STORE, keys_of(name).master)
                except WrongKeyError:
                    continue
                assert secrets_in(ring) == secrets_in(a_ring(keys=count))
                opened.append(name)
            assert len(opened) == 1
        assert not ended or opened == ["second"]
    assert number > 4
