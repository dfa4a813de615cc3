"""`penin ledger`, as a process: beside a worker, on damage, and what it says."""

from __future__ import annotations

import json
import os

import pytest

import penin
from penin.cli.exits import ExitCode
from penin.cli.ledger_head import parsed_head
from penin.errors import UsageError
from tests.cli.processes import Penin, jsonl
from tests.cli.processes import penin as run_penin
from tests.cli.test_status import files_of

pytestmark = pytest.mark.sliced  # each is a process or several

STORE = ".penin_omega"


@pytest.fixture
def store(place):
    """A store with four transitions, closed."""
    (place / "lines.jsonl").write_bytes(
        jsonl(
            {"type": "add_score", "score": 0.5, "id": "batch-1"},
            {"type": "add_knowledge", "key": "a\nb", "vector": [0.5, 1.5]},
            {"type": "put_document", "name": "offset", "value": 7},
            {"type": "add_score", "score": 1.0},
        )
    )
    assert run_penin(place, "send", "lines.jsonl").code == ExitCode.SUCCESS
    return place / STORE


def ledger(place, *arguments, code=ExitCode.SUCCESS):
    process = run_penin(place, "ledger", *arguments)
    assert process.code == code, process.err
    return process


def test_the_head_that_is_printed_is_the_one_that_verify_takes(place, store):
    [head] = ledger(place, "head").out
    assert head.startswith("4:")
    (place / "head.txt").write_text(f"{head}\n")
    printed = "\n".join(ledger(place, "head", "--json").out)
    assert json.loads(printed)["seq"] == 4
    (place / "head.json").write_text(printed)
    run_penin(place, "send", "lines.jsonl")
    for kept in (head, head.partition(":")[2], "head.txt", "head.json"):
        rows = ledger(place, "verify", "--head", kept).out
        assert any(row.startswith("kept head") and "found" in row for row in rows)


def test_another_ledger_than_that_of_the_head_is_told_by_the_exit_code(place, store):
    other = "4:" + "0" * 64
    process = ledger(place, "verify", "--head", other, "--json", code=ExitCode.CORRUPT)
    report = json.loads("\n".join(process.out))
    assert (report["damage"], report["kept_found"], report["is_whole"]) == ([], False, False)
    rows = "\n".join(ledger(place, "verify", "--head", other, code=ExitCode.CORRUPT).out)
    assert "NOT FOUND" in rows


def test_a_head_before_what_is_kept_is_said_to_be_uncheckable(place, store):
    with penin.open_sync(store) as orchestrator:
        for number in range(4):
            orchestrator.add_score(float(number))
            orchestrator.checkpoint()
    rows = "\n".join(ledger(place, "verify", "--head", "1:" + "0" * 64, code=ExitCode.CORRUPT).out)
    assert "cannot be checked any more" in rows


def test_damage_is_told_with_file_position_and_what_is_missing(place, store):
    path = store / "journal" / f"{1:020d}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    position = sum(map(len, lines[:-1]))
    data = bytearray(path.read_bytes())
    data[position + 20] ^= 1
    path.write_bytes(data)
    before = files_of(store)
    process = ledger(place, "verify", "--json", code=ExitCode.CORRUPT)
    [damage] = json.loads("\n".join(process.out))["damage"]
    assert (damage["path"], damage["position"]) == (str(path), position)
    assert damage["last_seq"] == 4
    rows = "\n".join(ledger(place, "verify", code=ExitCode.CORRUPT).out)
    assert f"missing: seq {damage['first_seq']}" in rows
    assert "broken" in rows
    assert files_of(store) == before


def test_lines_for_people_stay_lines_and_choices_are_made(place, store):
    shown = ledger(place, "show").out
    assert [line.split()[0] for line in shown] == ["1", "2", "3", "4"]
    assert "vector=float64[2]" in shown[1]
    assert "(id 'batch-1')" in shown[0]
    assert len(ledger(place, "show", "--type", "add_score", "--limit", 1).out) == 1
    assert ledger(place, "show", "--until", "2000-01-01").out == []


def test_an_export_is_what_is_shown_as_json_whole_or_not_at_all(place, store):
    shown = ledger(place, "show", "--json").out
    assert ledger(place, "export", "-").out == shown
    assert ledger(place, "export", "out.jsonl").err == ["penin: 4 transitions written to out.jsonl"]
    assert (place / "out.jsonl").read_text().splitlines() == shown
    again = ledger(place, "export", "out.jsonl", "--from-seq", 3, code=ExitCode.USAGE)
    assert "--overwrite" in again.err[0]
    ledger(place, "export", "out.jsonl", "--from-seq", 3, "--overwrite")
    assert (place / "out.jsonl").read_text().splitlines() == shown[2:]
    path = store / "journal" / f"{1:020d}.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.5", b"0.6"))
    before = (place / "out.jsonl").read_bytes()
    ledger(place, "export", "out.jsonl", "--overwrite", code=ExitCode.CORRUPT)
    assert (place / "out.jsonl").read_bytes() == before
    assert sorted(path.name for path in place.glob("*penin*")) == [STORE]


def test_everything_works_beside_a_worker(place):
    with Penin(place, "run", "workers:count", "workers:wait") as worker:
        worker.output(4)
        worker.event("state.transition", seq=3)
        before = files_of(place / STORE)
        assert len(ledger(place, "show").out) == 3
        assert ledger(place, "head").out[0].startswith("3:")
        ledger(place, "verify")
        assert files_of(place / STORE) == before


@pytest.mark.parametrize("command", ["verify", "head", "show", "export -"])
def test_where_there_is_no_store_it_says_so(place, command):
    process = ledger(place, *command.split(), "--dir", "nowhere", code=ExitCode.USAGE)
    assert process.err == ["penin: --dir nowhere: no journal here"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "--from-seq", "0"], "--from-seq 0"),
        (["show", "--since", "soon"], "--since"),
        (["show", "--type", "add_scores"], "--type add_scores: it is none of add_knowledge, "),
        (["verify", "--head", "nothing"], "--head nothing"),
        (["export", "."], "it is a directory"),
        (["export", "pipe", "--overwrite"], "pipe: it is not a regular file"),
    ],
)
def test_a_mistake_in_the_command_line_has_one_sentence(place, store, arguments, said):
    os.mkfifo(place / "pipe")
    process = ledger(place, *arguments, code=ExitCode.USAGE)
    assert len(process.err) == 1
    assert said in process.err[0]


def test_a_file_without_a_head_in_it_is_refused(tmp_path):
    for content in (b"", b"\xff\xfe", b"4:abc", b'{"seq": 4}', b'{"seq": -5, "hash": "x"}'):
        (tmp_path / "head").write_bytes(content)
        with pytest.raises(UsageError, match="no head in it"):
            parsed_head(str(tmp_path / "head"))
