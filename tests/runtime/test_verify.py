"""`verify`: what is sound is said to be, and what is not is named."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import penin
from penin.core import door
from penin.core.formats import encode_state
from penin.core.snapshots import Envelope
from penin.core.state import State
from penin.errors import CorruptionError, StorageError
from penin.runtime.past import state_at
from penin.runtime.progress import Progress
from penin.runtime.verify import verify_store
from penin.settings import Settings
from penin.storage.filesystem import OsFileSystem
from tests.core.strategies import exactly_equal, journalled
from tests.runtime.pasts import Writer, everything, scores

FORMATS = ("json", "safetensors")
LONG = os.environ.get("PENIN_TESTS") == "long"


def written(directory: Path, kind: str = "json", keep: int | None = 2) -> Writer:
    """Checkpoints at 2, 4 and 6, of which `keep` are kept, and transition 7."""
    writer = Writer(OsFileSystem(), directory / "store", format=kind)
    for seq in (1, 3, 5):
        writer.commit(*scores(float(seq)), door.put_document("last", seq + 1))
        writer.checkpoint(keep)
    writer.commit(*scores(7.0))
    writer.release()
    return writer


def store_of(directory: Path) -> Path:
    return directory / "store"


def checkpoints(store: Path) -> list[Path]:
    return sorted((store / "checkpoints").iterdir())


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def own(path: Path) -> Path:
    """A file of its own in place of a hard link."""
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def forged(store: Path, path: Path, change) -> None:
    """A snapshot with a right digest and another state or envelope."""
    past = state_at(store, checkpoint=int(path.name[:20]))
    state, envelope = change(past.state, past.envelope)
    path.unlink()
    path.write_bytes(b"".join(map(bytes, encode_state(state.view(), envelope, path.suffix))))
    path.chmod(0o600)


def files_of(store: Path):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def verdicts(report):
    return [(snapshot.seq, snapshot.verdict) for snapshot in report.snapshots]


# -- sound ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_a_sound_store_is_sound_and_unchanged(tmp_path, kind):
    written(tmp_path, kind)
    before = files_of(tmp_path)
    progress = Progress()
    report = verify_store(store_of(tmp_path), progress)
    assert report.is_sound, report.problems
    assert verdicts(report) == [(4, "unchecked"), (6, "same")]
    assert [len(snapshot.names) for snapshot in report.snapshots] == [1, 2]
    assert report.notes == []
    assert report.journal is not None
    assert (report.journal.first_seq, report.journal.last_seq) == (5, 7)
    assert report.journal.epochs == (1, 1)
    assert progress.done == progress.total
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("kind", FORMATS)
def test_with_the_whole_journal_every_snapshot_is_compared(tmp_path, kind):
    written(tmp_path, kind, keep=None)
    report = verify_store(store_of(tmp_path), Progress())
    assert report.is_sound, report.problems
    assert {verdict for _, verdict in verdicts(report)} == {"same"}
    assert [seq for seq, _ in verdicts(report)][-3:] == [2, 4, 6]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.lists(journalled(), min_size=1, max_size=4), min_size=1, max_size=5),
    st.sampled_from([None, 2]),
)
def test_any_history_is_sound(tmp_path, kind, commits, keep):
    shutil.rmtree(store_of(tmp_path), ignore_errors=True)
    writer = Writer(OsFileSystem(), store_of(tmp_path), format=kind)
    for commit in commits:
        writer.commit(*commit)
        writer.checkpoint(keep)
    writer.release()
    report = verify_store(store_of(tmp_path), Progress())
    assert report.is_sound, report.problems


def test_a_state_that_is_no_store_yet_is_read(tmp_path):
    penin.OmegaMetaOrchestrator().save_state(store_of(tmp_path) / "state.json")
    report = penin.verify(store_of(tmp_path))
    assert report.is_sound, report.problems
    assert (report.journal, report.store) == (None, None)
    with pytest.raises(FileNotFoundError):
        penin.verify(tmp_path / "nowhere")


def test_a_commit_that_is_being_written_is_no_problem(tmp_path):
    written(tmp_path)
    newest = max((store_of(tmp_path) / "journal").iterdir())
    newest.write_bytes(newest.read_bytes() + b'{"epoch":1')
    report = verify_store(store_of(tmp_path), Progress())
    assert report.is_sound, report.problems
    assert report.journal is not None
    assert report.journal.incomplete_bytes == 10


def test_beside_a_writer_that_checkpoints_it_is_sound(tmp_path):
    quick = Settings(keep_last=2, fsync="everysec")
    with penin.open_sync(store_of(tmp_path), settings=quick) as orchestrator:
        ended = threading.Event()

        def write():
            number = 0
            while not ended.is_set():
                orchestrator.add_score(float(number))
                orchestrator.checkpoint()
                number += 1

        thread = threading.Thread(target=write)
        orchestrator.add_score(1.0)
        orchestrator.checkpoint()
        thread.start()
        try:
            for _ in range(15):
                report = penin.verify(store_of(tmp_path))
                assert report.is_sound, report.problems
        finally:
            ended.set()
            thread.join()


# -- not sound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_snapshot_is_named_and_what_is_beside_it_still_checked(tmp_path, kind):
    written(tmp_path, kind, keep=None)
    damaged = checkpoints(store_of(tmp_path))[-2]
    flip(damaged, damaged.stat().st_size // 2)
    report = verify_store(store_of(tmp_path), Progress())
    assert not report.is_sound
    assert [problem.path for problem in report.problems] == [str(damaged)]
    assert dict(verdicts(report))[6] == "same"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_checkpoint_with_another_state_is_found_though_its_digest_is_right(tmp_path, kind):
    written(tmp_path, kind)
    path = checkpoints(store_of(tmp_path))[-1]

    def change(state: State, envelope: Envelope):
        other = State()
        other.set_history("score_history", [9.0], 1000)
        other.seq = state.seq
        return other, envelope

    forged(store_of(tmp_path), path, change)
    report = verify_store(store_of(tmp_path), Progress())
    assert [(problem.path, problem.reason) for problem in report.problems] == [
        (str(path), "its state is not the one that the journal leads to")
    ]


@pytest.mark.parametrize("member", ["store", "journal_hash"])
def test_a_snapshot_of_another_store_or_line_is_named(tmp_path, member):
    written(tmp_path)
    path = checkpoints(store_of(tmp_path))[0]

    def change(state: State, envelope: Envelope):
        return state, msgspec.structs.replace(envelope, **{member: "0" * 64})

    forged(store_of(tmp_path), path, change)
    report = verify_store(store_of(tmp_path), Progress())
    assert [problem.path for problem in report.problems] == [str(path)]


def test_a_damaged_line_is_named_with_what_is_missing_and_later_snapshots_are_gone_on_from(
    tmp_path,
):
    written(tmp_path, keep=None)
    journal = sorted((store_of(tmp_path) / "journal").iterdir())
    flip(journal[1], journal[1].stat().st_size - 100)
    report = verify_store(store_of(tmp_path), Progress())
    found = [(problem.path, problem.first_seq, problem.last_seq) for problem in report.problems]
    assert found[0] == (str(journal[1]), 3, 4)
    assert dict(verdicts(report)) == {2: "same", 4: "unchecked", 6: "same"}


def test_a_snapshot_that_the_journal_does_not_reach_is_named(tmp_path):
    written(tmp_path)
    journal = sorted((store_of(tmp_path) / "journal").iterdir())
    for path in journal[1:]:
        path.unlink()
    journal[0].write_bytes(journal[0].read_bytes().splitlines(keepends=True)[0])
    report = verify_store(store_of(tmp_path), Progress())
    assert any("no line of the journal" in problem.reason for problem in report.problems)


@pytest.mark.parametrize("kind", FORMATS)
def test_checkpoints_that_changed_places_are_named(tmp_path, kind):
    written(tmp_path, kind, keep=3)
    store = store_of(tmp_path)
    first, second, _ = checkpoints(store)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    report = penin.verify(store)
    assert [(Path(problem.path).name, problem.reason) for problem in report.problems] == [
        (first.name, "its name says seq 2, its content 4"),
        (second.name, "its name says seq 4, its content 2"),
    ]


def test_without_a_journal_the_store_is_not_sound(tmp_path):
    written(tmp_path)
    shutil.rmtree(store_of(tmp_path) / "journal")
    report = verify_store(store_of(tmp_path), Progress())
    assert [problem.reason for problem in report.problems] == ["there is no journal"]


def test_a_snapshot_that_is_missing_is_named(tmp_path):
    written(tmp_path)
    store = store_of(tmp_path)
    (store / "state.json").unlink()
    report = verify_store(store, Progress())
    assert [problem.path for problem in report.problems] == [str(store / "state.json")]
    shutil.rmtree(store / "checkpoints")
    report = verify_store(store, Progress())
    assert [problem.path for problem in report.problems] == [str(store / "journal")]


def test_what_does_not_belong_there_and_what_others_may_read_is_noted(tmp_path):
    written(tmp_path)
    store = store_of(tmp_path)
    (store / "notes.txt").write_text("mine")
    (store / "notes.txt").chmod(0o600)
    (store / "journal" / "old").mkdir(mode=0o700)
    (store / "link").symlink_to(tmp_path)
    (store / "lock").chmod(0o644)
    store.chmod(0o755)
    for name in ("state.json.corrupt-20260131T120000Z", "state.json.tmp-1-7"):
        (store / name).touch(0o600)
    report = verify_store(store, Progress())
    assert report.is_sound
    noted = {Path(note.path).name: note.what for note in report.notes}
    assert set(noted) == {
        "store",
        "notes.txt",
        "old",
        "link",
        "lock",
        "state.json.corrupt-20260131T120000Z",
        "state.json.tmp-1-7",
    }
    assert noted["lock"] == "open to others: mode 0644, made as 0600"


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("cut", [False, True])
def test_whatever_is_changed_a_store_that_is_said_to_be_sound_gives_the_same_state(
    tmp_path, kind, cut
):
    writer = written(tmp_path, kind)
    store = store_of(tmp_path)
    own(store / f"state.{kind}")
    rng = random.Random(9)
    newest = max((store / "journal").iterdir())
    for path in sorted(path for path in store.rglob("*") if path.is_file()):
        content = path.read_bytes()
        places = range(len(content))
        for at in places if LONG else rng.sample(places, min(12, len(content))):
            flipped = bytearray(content)
            flipped[at] ^= 1 << rng.randrange(8)
            path.write_bytes(content[:at] if cut else flipped)
            try:
                is_sound = verify_store(store, Progress()).is_sound
            except StorageError:
                is_sound = False
            is_prefix = path == newest and (cut or at == len(content) - 1)
            if is_sound and not is_prefix:
                assert exactly_equal(everything(state_at(store).state), writer.states[7])
            elif not is_sound and path == newest:
                with pytest.raises(CorruptionError):
                    state_at(store)
        path.write_bytes(content)
    assert verify_store(store, Progress()).is_sound
