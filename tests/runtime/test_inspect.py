"""Looking into files: whatever is damaged is told, and nothing but our errors is raised."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.core.formats import encode_state
from penin.core.snapshots import Envelope
from penin.errors import FormatError, StorageError, UsageError
from penin.runtime.files import given_file, kind_of, read_snapshot_file
from penin.runtime.inspect import InspectedJournal, inspect_file
from penin.storage.filesystem import OsFileSystem
from tests.cli.small_store import write_store
from tests.core.samples import filled

ENVELOPE = Envelope("store", 3, "2026-01-31T12:00:00.000123Z", "ab" * 32)
SUFFIXES = (".json", ".safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def snapshots() -> dict[str, bytes]:
    view = filled()._state.view()
    return {suffix: b"".join(encode_state(view, ENVELOPE, suffix)) for suffix in SUFFIXES}


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_any_changed_byte_of_a_snapshot_is_told(place, snapshots, suffix, data):
    whole = snapshots[suffix]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    _is_damaged(place / f"changed{suffix}", bytes(changed))


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(data=st.data())
def test_a_snapshot_cut_anywhere_is_told(place, snapshots, suffix, data):
    whole = snapshots[suffix]
    _is_damaged(place / f"cut{suffix}", whole[: data.draw(st.integers(0, len(whole) - 1))])


def _is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = inspect_file(path)
    except StorageError:
        return
    assert found.damage
    assert not isinstance(found, InspectedJournal)
    assert found.digest == "wrong"
    assert all(0 <= damage.position <= len(content) for damage in found.damage)


@given(data=st.data())
def test_any_changed_byte_of_a_journal_file_is_told(place, data):
    if not (place / "store").exists():
        write_store(place / "store")
    path = place / "store" / "journal" / f"{1:020d}.jsonl"
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        # One that no longer begins as ours, or is of another version, is refused.
        with contextlib.suppress(FormatError):
            found = inspect_file(path)
            assert isinstance(found, InspectedJournal)
            assert found.chain == "broken"
            assert [damage.position <= at for damage in found.damage] == [True]
    finally:
        path.write_bytes(whole)


def test_a_file_is_known_by_how_it_begins_whatever_its_name(tmp_path, snapshots):
    for suffix, kind in zip(SUFFIXES, ("json", "tensors"), strict=True):
        path = tmp_path / f"kept{suffix}.bak"
        path.write_bytes(snapshots[suffix])
        assert kind_of(OsFileSystem(), path) == kind
        state, envelope = read_snapshot_file(path, OsFileSystem())
        assert (envelope, len(state.knowledge_base)) == (ENVELOPE, 4)
    write_store(tmp_path / "store")
    renamed = tmp_path / "audit.log"
    renamed.write_bytes((tmp_path / "store" / "journal" / f"{8:020d}.jsonl").read_bytes())
    found = inspect_file(renamed)
    assert isinstance(found, InspectedJournal)
    assert (found.first_seq, found.last_seq, found.chain) == (8, 12, "right")


def test_a_journal_file_holds_no_state_by_itself(tmp_path):
    write_store(tmp_path / "store")
    with pytest.raises(UsageError, match="holds no state by itself"):
        read_snapshot_file(tmp_path / "store" / "journal" / f"{8:020d}.jsonl", OsFileSystem())


def test_a_link_is_followed_to_the_file_that_somebody_names(tmp_path, snapshots):
    (tmp_path / "kept.json").write_bytes(snapshots[".json"])
    (tmp_path / "link.json").symlink_to(tmp_path / "kept.json")
    assert given_file(tmp_path / "link.json") == (tmp_path / "kept.json").resolve()
    assert inspect_file(tmp_path / "link.json").damage == []


def test_a_journal_file_that_was_being_made_is_no_damage(tmp_path):
    path = tmp_path / f"{7:020d}.jsonl"
    for begun in (b"", b'{"format":"penin-jour'):
        path.write_bytes(begun)
        found = inspect_file(path)
        assert isinstance(found, InspectedJournal)
        assert (found.damage, found.first_seq, found.last_seq) == ([], 7, None)
        assert found.torn_tail is not None
        assert found.torn_tail.size == len(begun)


def test_an_edited_file_in_another_layout_is_read_whole(tmp_path, snapshots):
    text = snapshots[".json"].replace(b"\n  ", b"\n    ")
    (tmp_path / "edited.json").write_bytes(text)
    found = inspect_file(tmp_path / "edited.json")
    assert not isinstance(found, InspectedJournal)
    assert found.digest == "wrong"
    assert found.state is not None
    assert set(found.state.documents or {}) == {"rng", "none"}
