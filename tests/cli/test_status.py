"""`penin status`, beside a worker and without one; the lock as the kernel has it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket

import numpy as np
import pytest

import penin
from penin.cli.exits import ExitCode
from penin.cli.locks import lock_state
from penin.runtime.index_build import build
from penin.runtime.index_files import IndexFiles, IndexKind
from penin.storage.filesystem import OsFileSystem
from tests.cli.processes import Penin, jsonl
from tests.cli.processes import penin as run_penin

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


def files_of(directory):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def status_of(place):
    process = run_penin(place, "status", "--json")
    assert process.code == ExitCode.SUCCESS
    assert process.err == []
    return json.loads("\n".join(process.out))


def test_it_tells_everything_while_a_worker_runs_and_changes_nothing(place):
    with Penin(place, "run", "workers:count", "workers:wait") as worker:
        worker.output(4)
        worker.event("state.transition", seq=3)
        before = files_of(place / STORE)
        status = status_of(place)
        assert files_of(place / STORE) == before
        opened = worker.event("store.opened")
        assert (status["store"], status["epoch"]) == (opened["store"], 1)
        assert status["dir"] == str(place / STORE)
        assert status["seq"] == 3
        assert status["statistics"]["score_history_size"] == 3
        assert status["statistics"]["avg_score"] == 1.0
        assert status["checkpoint"] is None
        assert status["journal"]["files"] == 1
        assert status["lock"] == {"held": True, "pid": worker.pid, "host": socket.gethostname()}
        worker.signal(15)
        assert worker.end() == ExitCode.SUCCESS
    status = status_of(place)
    assert status["lock"] == {"held": False, "pid": None, "host": None}
    state = place / STORE / "state.json"
    assert status["checkpoint"]["seq"] == 3
    assert status["checkpoint"]["size_bytes"] == state.stat().st_size
    assert status["checkpoint"]["format"] == "penin-snapshot 2"


def test_a_killed_holder_is_known_not_to_hold_the_lock_any_more(place):
    with Penin(place, "run", "workers:wait") as worker:
        worker.output(1)
        worker.signal(9)
        worker.end()
    lock = lock_state(place / STORE)
    assert (lock.held, lock.pid) == (False, worker.pid)
    text = "\n".join(run_penin(place, "status").out)
    assert f"free (process {worker.pid}" in text


def test_people_get_a_table(place):
    run_penin(place, "run", "workers:count")
    process = run_penin(place, "status")
    rows = {line[:16].strip(): line[16:] for line in process.out}
    assert rows["store"] == str(place / STORE)
    assert rows["score_history"] == "3 items (the newest 1,000 kept)"
    assert rows["lock"] == "free"


def test_a_state_of_the_original_format_can_be_looked_at(place):
    (place / STORE).mkdir()
    orchestrator = penin.OmegaMetaOrchestrator()
    orchestrator.add_score(0.5)
    (place / STORE / "state.json").write_text(
        json.dumps(
            {
                "knowledge_base": {},
                "task_history": orchestrator.task_history,
                "score_history": orchestrator.score_history,
            },
            cls=penin.StateEncoder,
            indent=2,
        )
    )
    status = status_of(place)
    assert status["checkpoint"]["format"] == "original"
    assert status["statistics"]["score_history_size"] == 1
    assert status["store"] is None


def test_where_there_is_no_store_it_says_so_and_makes_none(place):
    process = run_penin(place, "status")
    assert process.code == ExitCode.USAGE
    assert process.err == [f"penin: there is no store in {place / STORE}"]
    assert not (place / STORE).exists()


def test_the_kernels_list_is_read_also_where_it_names_another_device(tmp_path):
    (tmp_path / "lock").write_text(f"77 {socket.gethostname()}\n")
    inode = (tmp_path / "lock").stat().st_ino
    locks = tmp_path / "locks"
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 77 00:99:{inode} 0 EOF\n")
    assert lock_state(tmp_path, locks).held
    locks.write_text(f"1: FLOCK  ADVISORY  WRITE 78 00:99:{inode} 0 EOF\n")
    assert lock_state(tmp_path, locks).held is False
    locks.write_text(f"1: POSIX  ADVISORY  WRITE 77 00:99:{inode} 0 EOF\n")
    assert lock_state(tmp_path, locks).held is False
    locks.write_text(f"1: -> FLOCK  ADVISORY  WRITE 77 00:99:{inode} 0 EOF\n")
    assert lock_state(tmp_path, locks).held is False


def test_what_cannot_be_told_is_not_claimed(tmp_path):
    (tmp_path / "lock").write_text("77 another-host\n")
    locks = tmp_path / "locks"
    assert lock_state(tmp_path, locks).held is None
    locks.write_text("")
    assert lock_state(tmp_path, locks).held is None


def test_a_lock_that_nobody_wrote_down_is_seen(tmp_path):
    fd = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        assert lock_state(tmp_path).held
    finally:
        os.close(fd)
    assert lock_state(tmp_path).held is False


def test_an_index_is_shown_and_one_that_cannot_be_read_is_not(place):
    kind = IndexKind("dot", 3)
    with penin.open_sync(place / STORE) as orchestrator:
        orchestrator.extend_knowledge(["x", "y"], np.eye(2, 3))
    assert status_of(place)["indexes"] == []
    files = IndexFiles(OsFileSystem(), place / STORE)
    files.prepare()
    build(place / STORE, kind, files.path(kind))
    (place / STORE / "index" / "cosine-3.index").write_bytes(b"damaged")
    size = files.path(kind).stat().st_size
    about = {"metric": "dot", "dimension": 3, "seq": 1, "vectors": 2, "size_bytes": size}
    assert status_of(place)["indexes"] == [about]
    rows = {line[:16].strip(): line[16:] for line in run_penin(place, "status").out}
    assert rows["index"] == f"dot: seq 1, 2 vectors of 3, {size:,} bytes"


def test_an_average_that_json_has_no_word_for_is_a_tagged_value(place):
    with penin.open_sync(place / STORE) as orchestrator:
        orchestrator.add_score(float("-inf"))
    average = {"__type__": "float", "value": "-inf"}
    assert status_of(place)["statistics"]["avg_score"] == average
    with penin.open_sync(place / STORE) as orchestrator:
        orchestrator.add_score(float("inf"))
    average = {"__type__": "float", "value": "nan"}
    assert status_of(place)["statistics"]["avg_score"] == average


def test_bounds_are_shown_with_how_they_stand(place):
    content = {"type": "add_knowledge", "vector": [1.0]}
    lines = [content | {"key": str(n), "id": f"m-{n}"} for n in range(9)]
    (place / "in.jsonl").write_bytes(jsonl(*lines))
    assert run_penin(place, "send", "in.jsonl", "--max-knowledge", "10").code == ExitCode.SUCCESS
    found = run_penin(place, "status", "--max-store-bytes", 10_000_000, PENIN_MAX_KNOWLEDGE="10")
    assert found.code == ExitCode.SUCCESS
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in found.out)
    assert rows["max_knowledge"] == "9 of 10: near"
    assert rows["max_store_bytes"].endswith(" of 10,000,000")
    assert rows["message ids"] == "9 (the last 100,000 are known)"
    told = json.loads("\n".join(run_penin(place, "status", "--json", "--max-knowledge", "9").out))
    (bound,) = told["bounds"]
    assert bound == {"bound": "max_knowledge", "used": 9, "limit": 9, "stands": "reached"}
    files = [*(place / STORE / "journal").iterdir(), *(place / STORE / "checkpoints").iterdir()]
    assert told["store_bytes"] == sum(path.stat().st_size for path in files)
    assert told["message_ids"] == {"size": 9, "maxlen": 100_000}
    refused = run_penin(place, "status", "--max-knowledge", "0")
    assert refused.code == ExitCode.USAGE
