"""The original format of `save_state`, written and read as its description says, for the tests.

Exactly three keys in one `json.dump` with indent 2; artifacts and deques carry a mark; NaN and the
infinities stand as Python's json writes them. Nothing of the package is used but the artifact
itself, so that the package cannot agree with its own mistake.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penin.core import NumericVectorArtifact


class OriginalEncoder(json.JSONEncoder):
    """The hook of the original writer."""

    def default(self, o: Any) -> Any:
        if isinstance(o, NumericVectorArtifact):
            return {
                "__type__": "NumericVectorArtifact",
                "vector": list(o.vector),
                "metadata": dict(o.metadata),
            }
        if isinstance(o, deque):
            return {"__type__": "deque", "items": list(o), "maxlen": o.maxlen}
        return super().default(o)


def original_decoder(mapping: dict[str, Any]) -> Any:
    """The hook of the original reader; a mark that it does not know passes unchanged."""
    mark = mapping.get("__type__")
    if mark == "NumericVectorArtifact":
        return NumericVectorArtifact(mapping["vector"], mapping.get("metadata", {}))
    if mark == "deque":
        return deque(mapping["items"], maxlen=mapping.get("maxlen"))
    return mapping


def original_save(
    path: Path, knowledge_base: Mapping[str, Any], task_history: Any, score_history: Any
) -> None:
    """Write the three keys as the original did: in place, NaN literals allowed."""
    state = {
        "knowledge_base": dict(knowledge_base),
        "task_history": task_history,
        "score_history": score_history,
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump(state, file, cls=OriginalEncoder, indent=2)


def original_load(path: Path) -> dict[str, Any]:
    """Read the three keys as the original did, with its own hook."""
    with path.open(encoding="utf-8") as file:
        state = json.load(file, object_hook=original_decoder)
    return {name: state[name] for name in ("knowledge_base", "task_history", "score_history")}
