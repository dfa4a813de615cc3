"""Documents: named JSON values, kept as they are encoded in the journal and in the snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from penin.core.values import decode_value


class Documents(Mapping[str, Any]):
    """Name -> value. Each reading gives a new copy, which is the reader's own.

    `encoded` is changed by `penin.core.state` only.
    """

    __slots__ = ("encoded",)

    def __init__(self) -> None:
        self.encoded: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> Any:
        return decode_value(self.encoded[name])

    def __contains__(self, name: object) -> bool:
        return name in self.encoded

    def __iter__(self) -> Iterator[str]:
        return iter(self.encoded)

    def __len__(self) -> int:
        return len(self.encoded)

    def __repr__(self) -> str:
        return repr(dict(self))
