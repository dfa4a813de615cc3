"""What a command shows on stdout: a table for people, one JSON object for programs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from penin.cli.terminal import is_terminal, print_out, printable
from penin.core.values import DEPTH_MAX, to_wire

UNFOLDED: Final = 1_000_000
"""Columns where nobody looks: nothing is folded there, so that `grep` finds a path."""


def print_json(found: Any) -> None:
    """Write a struct as JSON; what JSON has no word for is a tagged value, as in a state file."""
    # A value out of a store may be as deep as it gets, and stands some levels down in the struct.
    plain = to_wire(found, "", escape=True, depth=-DEPTH_MAX)
    print_out(msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n")


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Write a table of names and what stands for each."""
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    _print(table)


def print_table(headings: Iterable[str], rows: Iterable[Iterable[str]], right: set[str]) -> None:
    """Write a table with headings; the columns of those in `right` are of numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    for row in rows:
        table.add_row(*map(_cell, row))
    _print(table)


def _cell(text: str) -> Text:
    # A text, and no markup: names come from outside, and must not move a cursor.
    return Text(printable(text).replace("\n", "\\n"))


def _print(table: Table) -> None:
    text = io.StringIO()
    shown = is_terminal(sys.stdout)
    width = None if shown else UNFOLDED
    Console(file=text, force_terminal=shown, width=width).print(table)
    print_out("".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines()))
