"""The code is held to the table of events, and the table to itself."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest

import penin.logs
from penin.logs import (
    EVENTS,
    FIELDS,
    events_markdown,
    undocumented,
)
from penin.logs.owned import configure
from tests.logs.fakes import (
    PATIENCE_S,
    lines_of,
)


def test_every_field_of_the_table_is_explained_and_every_explanation_is_used():
    used = {field for row in EVENTS.values() for field in row.fields + row.optional}
    assert used == set(FIELDS)


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_of_the_table_can_be_logged(name):
    row = EVENTS[name]
    assert row.meaning.endswith(".")
    assert not set(row.fields) & set(row.optional)
    stream = io.StringIO()
    logs = configure(level="debug", stream=stream)
    fields = dict.fromkeys(row.fields + row.optional, 1)
    getattr(logs, row.level)(name, **fields)
    assert logs.close(PATIENCE_S)
    (line,) = lines_of(stream)
    assert line == fields | {"timestamp": line["timestamp"], "level": row.level, "event": name}


def test_the_table_tells_what_is_not_in_it():
    assert undocumented("checkpoint.skipped", "debug", ["reason", "seq"]) is None
    assert undocumented("worker.gone", "info", []) == "worker.gone is not in the table"
    assert "is debug" in str(undocumented("checkpoint.skipped", "info", ["reason", "seq"]))
    assert "lacks seq" in str(undocumented("checkpoint.skipped", "debug", ["reason"]))
    assert "no field x" in str(undocumented("checkpoint.skipped", "debug", ["reason", "seq", "x"]))
    fields = ["cause", "exc_info"]
    assert undocumented("recovery.failed", "error", fields) is None


def test_the_table_as_markdown_has_a_row_for_every_event_and_every_field():
    rows = [line.split("|")[1].strip() for line in events_markdown().splitlines() if line]
    assert [row.strip("`") for row in rows if row.startswith("`")] == [*EVENTS, *sorted(FIELDS)]


def logging_calls(tree: ast.AST):
    """Every call of a log with a literal event: (line, event, level, fields, all fields known)."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        fields = [keyword.arg for keyword in node.keywords if keyword.arg]
        complete = len(fields) == len(node.keywords)
        if node.func.attr in ("debug", "info", "warning", "error") and node.args:
            event = node.args[0]
            if isinstance(event, ast.Constant) and isinstance(event.value, str):
                yield node.lineno, event.value, node.func.attr, fields, complete
        elif node.func.attr == "transition" and fields:
            yield node.lineno, "state.transition", "info", fields, complete


def test_every_event_that_the_code_logs_is_in_the_table():
    package = Path(penin.logs.__file__).parent.parent
    complaints = []
    for path in sorted(package.rglob("*.py")):
        for line, event, level, fields, complete in logging_calls(ast.parse(path.read_text())):
            row = EVENTS.get(event)
            given = fields if complete or row is None else [*fields, *row.fields]
            if complaint := undocumented(event, level, given):
                complaints.append(f"{path.relative_to(package)}:{line}: {complaint}")
    assert complaints == []
