"""docs/metrics.md holds the table of metrics exactly as the code has it."""

from __future__ import annotations

from penin.runtime.exposition import metrics_markdown
from tests.docs.markdown import read


def test_the_documented_table_of_metrics_is_the_one_in_the_code():
    assert metrics_markdown() in read("docs/metrics.md")
