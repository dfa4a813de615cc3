"""What the documentation points to is there: files, headings, tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.markdown import NAMES, REPOSITORY, prose, read

_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_PATH = re.compile(r"`((?:penin|tests|examples|docs)/[\w/]+\.(?:py|md))`")
_TEST = re.compile(r"`(test_\w+)`")


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name):
    for target, anchor in _LINK.findall(prose(name)):
        assert "://" not in target, f"{target}: nothing here needs the network"
        path = (REPOSITORY / name).parent / target if target else REPOSITORY / name
        assert path.is_file(), target
        assert not anchor or anchor in anchors(path), f"{target}#{anchor}"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_is_there(name):
    for path in _PATH.findall(prose(name)):
        assert (REPOSITORY / path).is_file(), path


@pytest.mark.parametrize("name", NAMES)
def test_every_test_that_is_named_is_there(name):
    named = set(_TEST.findall(read(name)))
    there = {
        found
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for found in re.findall(r"^ *(?:async )?def (test_\w+)\(", path.read_text(), re.MULTILINE)
    }
    assert named <= there
