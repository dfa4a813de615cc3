"""Tasks and vectors as `penin.connect` writes them: the lines that come by the thousand.

They are read by their type, with the same door behind it, which is faster than through a mapping.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact
from penin.core.door import Sender
from penin.core.transitions import AddKnowledge, AddTask, Message
from penin.core.values import decode_value, is_object, is_plain, take_object
from penin.errors import PeninError

_BEGINNINGS: Final = (b'{"type":"add_knowledge","key":', b'{"type":"add_task","task":')
_encode: Final = msgspec.json.Encoder().encode
_decode_value: Final = msgspec.json.Decoder().decode
_decode: Final = msgspec.json.Decoder(AddKnowledge | AddTask).decode


def is_typed(line: bytes) -> bool:
    """Whether a line may be one of these."""
    return line.startswith(_BEGINNINGS)


def typed_message(line: bytes, sender: Sender) -> Message | None:
    """The message in a line, as `penin.core.vocabulary` makes it.

    None for any other line, and for one that is refused: the vocabulary has the reason.
    """
    if not is_typed(line):
        return None
    try:
        body = _decode(line)
        if body.id is not None or body.digest is not None or body.origin is not None:
            return None
        return _message(body, sender)
    except (PeninError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _message(body: AddKnowledge | AddTask, sender: Sender) -> Message:
    if isinstance(body, AddTask):
        return door.taken_task(_taken(bytes(body.task), "task"), sender)
    vector, metadata = body.vector, _taken(bytes(body.metadata), "metadata")
    artifact = NumericVectorArtifact.from_bytes(vector.dtype, vector.data, metadata)
    return door.add_knowledge(body.key, artifact, sender)


def _taken(raw: bytes, field: str) -> bytes:
    """What `take_object` gives for an object that is encoded already: mostly these bytes."""
    if is_object(raw) and is_plain(raw) and _encode(_decode_value(raw)) == raw:
        return raw
    return take_object(decode_value(raw), field)
