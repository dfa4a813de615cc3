"""docs/logs.md holds the table of events exactly as the code has it."""

from __future__ import annotations

from pathlib import Path

from penin.logs import events_markdown

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "logs.md"


def test_the_documented_table_of_events_is_the_one_in_the_code():
    assert events_markdown() in DOCUMENT.read_text(encoding="utf-8")
