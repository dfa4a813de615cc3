"""A head of the ledger as text: what `penin ledger head` prints is what `--head` takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from penin.errors import UsageError

if TYPE_CHECKING:
    from penin.runtime.ledger import Head

ANY_SEQ: Final = -1
FILE_BYTES_MAX: Final = 4096
_HEAD: Final = re.compile(r"(?:([0-9]{1,20}):)?([0-9a-f]{64})")


def head_text(head: Head) -> str:
    """`6:b41c…`: the seq and the hash of a line."""
    return f"{head.seq}:{head.hash}"


def parsed_head(text: str) -> Head:
    """The head in a text, or in the file that it names (of text or JSON, as it was printed).

    A hash alone is that of a line at any seq. Raises UsageError.
    """
    found = _parsed(text)
    if found is None:
        try:
            with Path(text).open("rb") as file:
                content = file.read(FILE_BYTES_MAX).decode("utf-8", "replace").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"--head {text}: neither SEQ:HASH, nor a file: {reason}") from error
        found = _parsed(content) or _parsed_json(content)
    if found is None:
        raise UsageError(f"--head {text}: there is no head in it; penin ledger head prints one")
    return found


def _parsed(text: str) -> Head | None:
    from penin.runtime.ledger import Head

    match = _HEAD.fullmatch(text)
    if match is None:
        return None
    return Head(ANY_SEQ if match[1] is None else int(match[1]), match[2])


def _parsed_json(text: str) -> Head | None:
    import msgspec

    from penin.runtime.ledger import Head

    try:
        head = msgspec.json.decode(text, type=Head)
    except msgspec.MsgspecError:
        return None
    return head if _HEAD.fullmatch(head_text(head)) else None
