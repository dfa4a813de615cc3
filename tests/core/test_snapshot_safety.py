"""`save_state` never leaves half a file, and `load_state` never takes one."""

from __future__ import annotations

import hashlib
import json
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from penin.core import OmegaMetaOrchestrator
from penin.errors import FormatError, PeninError, StorageError
from tests.core.model import contents
from tests.core.samples import filled, loaded
from tests.core.strategies import exactly_equal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@contextmanager
def file_size_limit(size_bytes: int) -> Iterator[None]:
    """No file grows beyond `size_bytes`: the operating system's own way to be out of room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestSafety:
    def test_the_old_file_is_replaced_and_never_written_into(self, path: Path) -> None:
        filled().save_state(path)
        before = path.read_bytes()
        with path.open("rb") as old:
            OmegaMetaOrchestrator().save_state(path)

            assert old.read() == before
        assert path.read_bytes() != before
        assert list(path.parent.iterdir()) == [path]

    def test_a_save_without_room_keeps_the_old_file_and_leaves_nothing_behind(
        self, path: Path
    ) -> None:
        filled().save_state(path)
        before = path.read_bytes()
        with file_size_limit(100), pytest.raises((PeninError, OSError)):
            filled().save_state(path)

        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_a_neighbour_with_a_similar_name_is_left_alone(self, path: Path) -> None:
        neighbours = [path.with_name(path.name + suffix) for suffix in (".tmp", ".bak", "~")]
        for neighbour in neighbours:
            neighbour.write_text("not ours")
        filled().save_state(path)

        assert [neighbour.read_text() for neighbour in neighbours] == ["not ours"] * 3

    def test_two_saves_at_the_same_time_leave_one_whole_file(self, path: Path) -> None:
        orchestrators = [filled(), OmegaMetaOrchestrator()]
        expected = []
        for number, orchestrator in enumerate(orchestrators):
            orchestrator.save_state(path.with_name(f"{number}.json"))
            expected.append(path.with_name(f"{number}.json").read_bytes())
        for _ in range(10):
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda each: each.save_state(path), orchestrators * 4))
            assert path.read_bytes() in expected

    def test_a_link_to_the_file_can_be_loaded(self, path: Path) -> None:
        filled().save_state(path)
        link = path.with_name("link.json")
        link.symlink_to(path)

        assert exactly_equal(contents(loaded(link)), contents(filled()))

    def test_a_save_onto_a_directory_is_an_error_and_leaves_nothing_behind(
        self, path: Path
    ) -> None:
        path.mkdir()
        with pytest.raises((PeninError, OSError)):
            filled().save_state(path)

        assert path.is_dir()
        assert list(path.parent.iterdir()) == [path]


NOT_SNAPSHOTS: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"5",
    b'"text"',
    b"{}",
    b"\x80\x04K\x01.",
    b"\xff\xfe{}",
    b'{"knowledge_base": {}}',
    b'{"knowledge_base": [], "task_history": [], "score_history": []}',
    b'{"knowledge_base": {"k": 5}, "task_history": [], "score_history": []}',
    b'{"knowledge_base": {}, "task_history": 5, "score_history": []}',
    b'{"knowledge_base": {}, "task_history": [], "score_history": [], "more": 1}',
    b'{"format": "something else", "version": 1}',
    b"[" * 100_000,
]


class TestRefusals:
    @pytest.mark.parametrize("data", NOT_SNAPSHOTS)
    def test_what_is_no_state_is_refused_and_nothing_changes(self, path: Path, data: bytes) -> None:
        path.write_bytes(data)
        orchestrator, before = filled(), contents(filled())

        with pytest.raises(StorageError) as refusal:
            orchestrator.load_state(path)
        assert refusal.value.path == path
        assert exactly_equal(contents(orchestrator), before)

    def test_any_changed_byte_is_noticed(self, path: Path) -> None:
        filled().save_state(path)
        data = path.read_bytes()
        orchestrator, before = filled(), contents(filled())

        for position in range(0, len(data), 53):
            changed = bytearray(data)
            changed[position] ^= 1
            path.write_bytes(changed)
            with pytest.raises(StorageError):
                orchestrator.load_state(path)
            assert orchestrator.seq == before["seq"]
        assert exactly_equal(contents(orchestrator), before)

    def test_any_cut_is_noticed(self, path: Path) -> None:
        filled().save_state(path)
        data = path.read_bytes()
        orchestrator = OmegaMetaOrchestrator()

        for size in [*range(0, len(data) - 2, 97), len(data) - 2]:
            path.write_bytes(data[:size])
            with pytest.raises(StorageError):
                orchestrator.load_state(path)
        assert orchestrator.seq == 0

    def test_an_edited_file_is_refused_with_the_cause_and_the_way_on(self, path: Path) -> None:
        filled().save_state(path)
        path.write_bytes(path.read_bytes().replace(b"0.1,", b"0.2,"))

        with pytest.raises(StorageError, match="edited by hand") as refusal:
            loaded(path)
        assert "penin convert --accept-edited" in str(refusal.value)

    @pytest.mark.parametrize("with_right_digest", [True, False])
    def test_a_newer_version_is_refused_with_both_numbers(
        self, path: Path, *, with_right_digest: bool
    ) -> None:
        filled().save_state(path)
        data = path.read_bytes()
        ours = json.loads(data)["version"]
        newer = data.replace(b'"version": %d' % ours, b'"version": 987', 1)
        if with_right_digest:
            before, separator, _ = newer.rpartition(b',\n  "digest"')
            digest = hashlib.sha256(before).hexdigest().encode()
            newer = before + separator + b': "' + digest + b'"\n}\n'
        path.write_bytes(newer)

        with pytest.raises(FormatError) as refusal:
            loaded(path)
        assert "987" in str(refusal.value)
        assert str(ours) in str(refusal.value).replace("987", "")

    def test_a_directory_in_place_of_the_file_is_an_error(self, path: Path) -> None:
        path.mkdir()

        with pytest.raises((PeninError, OSError)):
            OmegaMetaOrchestrator().load_state(path)
