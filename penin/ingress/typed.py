"""Tasks and vectors as `penin.connect` writes them: the lines that come by the thousand.

They are read by their type, with the same door behind it, which is faster than through a mapping.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penin.core import door
from penin.core.artifacts import DTYPES, NumericVectorArtifact
from penin.core.door import Sender
from penin.core.transitions import AddKnowledge, AddTask, Message
from penin.core.values import decode_value
from penin.errors import PeninError

_BEGINNINGS: Final = (b'{"type":"add_knowledge","key":', b'{"type":"add_task","task":')
_decode: Final = msgspec.json.Decoder(AddKnowledge | AddTask).decode


def typed_message(line: bytes, sender: Sender) -> Message | None:
    """The message in a line, as `penin.core.vocabulary` makes it.

    None for any other line, and for one that is refused: the vocabulary has the reason.
    """
    if not line.startswith(_BEGINNINGS):
        return None
    try:
        body = _decode(line)
        if body.id is not None or body.digest is not None or body.origin is not None:
            return None
        return door.sent_by(_plain(body), sender)
    except (PeninError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _plain(body: AddKnowledge | AddTask) -> Message:
    if isinstance(body, AddTask):
        return door.add_task(decode_value(bytes(body.task)))
    if body.vector.dtype not in DTYPES:
        raise ValueError(body.vector.dtype)
    metadata = decode_value(bytes(body.metadata))
    return door.add_knowledge(body.key, NumericVectorArtifact(body.vector.array, metadata))
