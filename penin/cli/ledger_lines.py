"""Transitions of the ledger on stdout: lines for people, or a JSON object each."""

from __future__ import annotations

import shutil
import sys
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from penin.cli.terminal import is_terminal, print_out, printable
from penin.core.artifacts import Vector
from penin.core.values import shown
from penin.runtime.ledger import PYTHON, Entry

WIDTH: Final = 160
"""Of a line where stdout is no terminal."""
SOURCE_WIDTH: Final = 8
"""Of the longest source that is not a sender's own word, `eviction`."""
_TIME_OF_DAY: Final = slice(11, 23)
"""The hour to the millisecond, in the form of the time of a commit."""
_LEFT_OUT: Final = ("type",)
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_vector: Final = msgspec.json.Decoder(Vector).decode
_encode: Final = msgspec.json.Encoder().encode


class EntryLines:
    """Writes entries to stdout: as JSON, or as lines cut to the terminal, in its colours."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._is_terminal = is_terminal(sys.stdout)
        self._console = Console(force_terminal=self._is_terminal or None)

    def print(self, entry: Entry) -> bool:
        """Write one; False where the reader has gone (`| head`)."""
        return print_out(self._json_line(entry) if self._json else self._line(entry))

    def _json_line(self, entry: Entry) -> str:
        return f"{_encode(entry).decode()}\n"

    def _line(self, entry: Entry) -> str:
        width = shutil.get_terminal_size().columns if self._is_terminal else WIDTH
        line = text_of(entry)
        line.truncate(width, overflow="ellipsis")
        if not self._is_terminal:
            return f"{line.plain}\n"
        with self._console.capture() as captured:
            self._console.print(line, soft_wrap=True)
        return captured.get()


def text_of(entry: Entry, *, is_short: bool = False) -> Text:
    """Seq, time (`is_short`: of the day), source, type and what it is about, in a line."""
    members = _decode(entry.transition)
    kind = msgspec.json.decode(members["type"], type=str)
    source = PYTHON if entry.origin is None else entry.origin.source
    line = Text.assemble(
        (f"{entry.seq:>10}", "bold"),
        (f"  {entry.at[_TIME_OF_DAY] if is_short else entry.at}", "dim"),
        (f"  {_shown(source):<{SOURCE_WIDTH}}", "blue"),
        (f"  {_shown(kind):<18} ", "green"),
    )
    for name, value in members.items():
        if name not in _LEFT_OUT:
            line.append(f" {name}=", "cyan")
            line.append(_shown(_short(value)))
    first, last = entry.message
    if first != last:
        line.append(f" (transaction {first} to {last})", "magenta")
    if entry.id is not None:
        line.append(f" (id {_shown(shown(entry.id))})", "magenta")
    line.rstrip()
    return line


def _shown(text: str) -> str:
    """Without what could move a cursor or end the line."""
    return printable(text).replace("\n", "\\n")


def _short(value: msgspec.Raw) -> str:
    """JSON as it is, and vectors by dtype and count."""
    try:
        vector: Any = _decode_vector(value).array
    except (msgspec.MsgspecError, ValueError, TypeError):
        return bytes(value).decode()
    return f"{vector.dtype}[{vector.size}]"
