"""`StateEncoder` and `state_decoder`: artifacts and deques with the standard `json` module.

    json.dumps(value, cls=StateEncoder)
    json.loads(text, object_hook=state_decoder)

The marks are those of the original format (`{"__type__": "deque", "items": […], "maxlen": …}`),
and a dictionary with an unknown mark, or none, passes unchanged.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from penin.core.artifacts import TYPE_NAME, NumericVectorArtifact
from penin.core.values import MARK, make_deque, tagged_deque


class StateEncoder(json.JSONEncoder):
    """A `json.JSONEncoder` that also writes artifacts, deques and mappings, nested ones included.

    A mapping is written as an object: the live `knowledge_base`, `documents`, `histories`.
    """

    def default(self, o: Any) -> Any:
        """Raises TypeError for what is neither JSON, an artifact, a deque nor a mapping."""
        if isinstance(o, NumericVectorArtifact):
            return o.to_dict()
        if isinstance(o, deque):
            return tagged_deque(o)
        if isinstance(o, Mapping):
            return dict(o)
        return super().default(o)


_DECODERS: Final = {TYPE_NAME: NumericVectorArtifact.from_dict, "deque": make_deque}


def state_decoder(tagged: dict[str, Any]) -> Any:
    """An `object_hook` that turns the dictionaries of `StateEncoder` back.

    Raises RefusedValueError or RefusedTypeError for an artifact, KeyError or TypeError for a
    deque, that bears the mark and is malformed.
    """
    mark = tagged.get(MARK)
    decode = _DECODERS.get(mark) if isinstance(mark, str) else None
    return tagged if decode is None else decode(tagged)
