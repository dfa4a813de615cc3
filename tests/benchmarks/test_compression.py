"""That every file is measured. How large it is and how long it takes, no test asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.compression import CONTENTS, FILES, docstrings, main


def test_every_content_is_measured_in_every_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--rounds", "1", "--limit", "40", "--dir", str(tmp_path)])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    names = [row.split(" | ")[0].removeprefix("| ") for row in rows]
    each = sum(map(len, FILES.values()))
    assert names == [content for content in CONTENTS for _ in range(each)]
    assert not list(tmp_path.iterdir())


def test_the_texts_are_real_ones() -> None:
    found = docstrings(500)
    assert len(found) == 500
    assert all(text.strip() for text in found.values())
