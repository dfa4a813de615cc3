"""What stands in the documentation: its files, code blocks, tables and links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
NAMES = [path.relative_to(REPOSITORY).as_posix() for path in DOCUMENTS]

_FENCE = re.compile(r"^```(.*)$")


class Block(NamedTuple):
    """A fenced code block: its language, what stands behind that, and its text."""

    language: str
    name: str
    text: str
    line: int


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(name: str) -> list[Block]:
    """The code blocks of a document, in order."""
    found: list[Block] = []
    opened: tuple[str, int] | None = None
    lines: list[str] = []
    for number, line in enumerate(read(name).splitlines(), 1):
        fence = _FENCE.match(line)
        if fence is None:
            if opened is not None:
                lines.append(line)
        elif opened is None:
            opened = (fence[1], number)
            lines = []
        else:
            language, _, title = opened[0].partition(" ")
            text = "".join(f"{line}\n" for line in lines)
            found.append(Block(language, title.strip(), text, opened[1]))
            opened = None
    assert opened is None, f"{name}: a block that is not closed"
    return found


def prose(name: str) -> str:
    """A document without its code blocks."""
    kept: list[str] = []
    inside = False
    for line in read(name).splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def section(name: str, title: str) -> str:
    """What stands below the heading `title`, up to the next heading of any level."""
    heading = rf"^#+ {re.escape(title)}$"
    below = re.split(heading, prose(name), maxsplit=1, flags=re.MULTILINE)[1]
    return re.split(r"^#", below, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all tables in `text`, without the lines below their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [cells for cells in tables if not set("".join(cells)) <= set("-")]


def names_in(cell: str) -> list[str]:
    """The names of what is in backticks, without arguments: `get(key)` is get."""
    return [re.split(r"[( ]", code)[0] for code in re.findall(r"`([^`]*)`", cell)]
