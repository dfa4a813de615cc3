"""A transition of the ledger as a line for people."""

from __future__ import annotations

import shutil
from typing import Any, Final

import msgspec

from penin.core.artifacts import Vector
from penin.core.values import shown
from penin.runtime.ledger import PYTHON, Entry

_LEFT_OUT: Final = ("type",)
_decode: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_vector: Final = msgspec.json.Decoder(Vector).decode


def terminal_width() -> int:
    """How many columns the terminal has."""
    return shutil.get_terminal_size().columns


def line_of(entry: Entry, width: int) -> str:
    """Seq, time, source, type and what it is about, cut to `width` characters."""
    members = _decode(entry.transition)
    kind = msgspec.json.decode(members["type"], type=str)
    source = PYTHON if entry.origin is None else entry.origin.source
    details = [
        f"{name}={_short(value)}" for name, value in members.items() if name not in _LEFT_OUT
    ]
    first, last = entry.message
    if first != last:
        details.append(f"(transaction {first} to {last})")
    if entry.id is not None:
        details.append(f"(id {shown(entry.id)})")
    line = f"{entry.seq:>10}  {entry.at}  {source:<6}  {kind:<18}  {' '.join(details)}".rstrip()
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _short(value: msgspec.Raw) -> str:
    """JSON as it is, and vectors by dtype and count."""
    try:
        vector: Any = _decode_vector(value).array
    except (msgspec.MsgspecError, ValueError, TypeError):
        return bytes(value).decode()
    return f"{vector.dtype}[{vector.size}]"
