"""Tables for people: as wide as the terminal, and the same everywhere else."""

from __future__ import annotations

import io
import sys
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penin.cli.terminal import is_terminal

WIDTH: Final = 120
"""Where stdout is no terminal."""


def plain_table(*headings: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines, with these headings; those in `right` are of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        justify = "right" if heading in right else "left"
        table.add_column(heading, overflow="fold", justify=justify)  # type: ignore[arg-type]
    return table


def shown(text: str) -> Text:
    """A cell: no markup, and what is not printable escaped, because names come from outside."""
    return Text("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


def rendered(table: Table) -> str:
    """The lines of a table, for stdout."""
    text = io.StringIO()
    wide = is_terminal(sys.stdout)
    Console(file=text, force_terminal=wide, width=None if wide else WIDTH).print(table)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
