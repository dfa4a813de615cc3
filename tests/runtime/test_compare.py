"""The sides of a comparison: files, stores and seqs."""

from __future__ import annotations

import pytest

from penin.errors import CorruptionError, NotKeptError, UsageError
from penin.runtime.compare import Side, compare
from tests.cli.small_store import STORE_ID, write_store


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in (".json", ".safetensors"):
        write_store(tmp_path / suffix[1:], suffix)
    return tmp_path


def test_a_file_a_store_and_seqs_of_one_state_are_equal(place):
    store = place / "json"
    (checkpoint,) = (store / "checkpoints").iterdir()
    sides = ["json/state.json", str(checkpoint), "safetensors/state.safetensors", "7"]
    for before in sides:
        for after in sides:
            compared = compare(before, after, store)
            assert compared.difference.is_empty
            assert (compared.before.seq, compared.after.seq) == (7, 7)
    for before in ("json", "safetensors", "12", "now"):
        assert compare(before, "now", store).difference.is_empty


def test_a_side_says_what_it_is(place):
    compared = compare("6", "4", place / "json")
    at = "2026-01-31T12:03:00.000000Z"
    assert compared.before == Side("6", 6, STORE_ID, at)
    # seq 3 and 4 are one transaction
    assert compare("3", "4", place / "json").before.asked_seq == 3
    assert compare("3", "4", place / "json").before.seq == 2


def test_digits_are_a_seq_also_where_a_file_has_that_name(place):
    (place / "7").write_text("{}")
    assert compare("7", "now", place / "json").before.seq == 7


def test_what_is_neither_is_refused(place):
    with pytest.raises(UsageError, match="yesterday: neither a file nor a store"):
        compare("yesterday", "now", place / "json")
    with pytest.raises(UsageError, match="no store in"):
        compare("1", "2", place / "elsewhere")
    with pytest.raises(NotKeptError, match="kept is seq 0 to 12"):
        compare("7", "13", place / "json")


def test_a_damaged_file_is_no_side(place):
    path = place / "json" / "state.json"
    path.write_bytes(path.read_bytes().replace(b"0.85", b"0.86"))
    with pytest.raises(CorruptionError):
        compare("json/state.json", "safetensors", place / "json")


def test_a_damaged_checkpoint_is_passed_over_and_named(place):
    store = place / "json"
    (checkpoint,) = (store / "checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-5])
    compared = compare("8", "now", store)
    assert compared.before.seq == 8
    assert len(compared.before.passed_over) == 1
    assert str(checkpoint) in compared.before.passed_over[0]
