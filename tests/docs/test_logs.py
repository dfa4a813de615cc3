"""docs/logs.md holds the table of events exactly as the code has it, and queries that work."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from penin.cli import main
from penin.logs import events_markdown
from tests.docs.markdown import blocks, read

NAME = "docs/logs.md"
QUERIES = [block.text for block in blocks(NAME) if block.language == "sh"]
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LINES = [
    {"type": "add_score", "score": 0.5, "id": "batch-17", "from": {"source": "q", "trace": TRACE}},
    {"type": "add_knowledge", "key": "champion", "vector": [1.0]},
    {"type": "add_score"},
]


def test_the_documented_table_of_events_is_the_one_in_the_code():
    assert events_markdown() in read(NAME)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A directory with a penin.log that has something for every query."""
    place = tmp_path_factory.mktemp("logged")
    (place / "lines.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES))
    arguments = ["--dir", place / "store", "--log-file", place / "penin.log", "--log-level", "info"]
    main(["send", str(place / "lines.jsonl"), *map(str, arguments)])
    return place


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("query", QUERIES)
def test_every_query_for_jq_finds_what_it_is_for(logged, query):
    command = ["bash", "-ec", f"set -o pipefail; {query}"]
    found = subprocess.run(command, cwd=logged, capture_output=True, check=True)
    assert found.stdout
    assert not found.stderr


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_records_for_opentelemetry_are_those_of_the_table(logged):
    command = ["bash", "-c", QUERIES[-1]]
    found = subprocess.run(command, cwd=logged, capture_output=True, check=True)
    records = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(records) == len((logged / "penin.log").read_text().splitlines())
    [record] = [record for record in records if "messaging.message.id" in record["Attributes"]]
    _, trace_id, span_id, _ = TRACE.split("-")
    assert (record["TraceId"], record["SpanId"]) == (trace_id, span_id)
    assert (record["SeverityText"], record["SeverityNumber"]) == ("info", 9)
    assert record["EventName"] == "state.transition"
    assert record["Attributes"]["messaging.message.id"] == "batch-17"
    assert record["Attributes"]["seq"] == 1
    assert len(record["Resource"]["service.instance.id"]) == 36


@pytest.mark.skipif(shutil.which("lnav") is None, reason="lnav is not installed")
def test_lnav_takes_the_format_and_knows_the_fields(logged, tmp_path, monkeypatch):
    [form] = [block.text for block in blocks(NAME) if block.name == "penin_log.json"]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "penin_log.json").write_text(form)
    subprocess.run(["lnav", "-i", str(tmp_path / "penin_log.json")], check=True)
    question = ";select seq, type, result from penin_log where log_body = 'state.transition'"
    command = ["lnav", "-n", "-c", question, "-c", ":write-csv-to -", str(logged / "penin.log")]
    found = subprocess.run(command, capture_output=True, check=True)
    rows = [line.split(",") for line in found.stdout.decode().splitlines()]
    assert rows == [
        ["seq", "type", "result"],
        ["1", "add_score", "ok"],
        ["2", "add_knowledge", "ok"],
    ]
