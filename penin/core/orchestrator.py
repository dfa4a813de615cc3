"""`OmegaMetaOrchestrator`: the memory as a plain synchronous object.

It holds a state and changes it through the same door and the same `apply` as everything else; what
it does not do is journal: a change is in memory until `save_state`. For a memory in which every
acknowledged change survives, see `penin.open` and `penin.open_sync`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from penin.core import door
from penin.core.artifacts import NumericVectorArtifact
from penin.core.formats import decode_state, encode_state
from penin.core.nearest import Metric, Neighbour, nearest, query_of
from penin.core.pruning import pruning_of
from penin.core.reader import StateReader
from penin.core.snapshots import Envelope
from penin.core.state import HISTORY_MAXLEN_DEFAULT, State
from penin.core.transitions import OK, Ack, Message
from penin.core.vocabulary import message
from penin.errors import RefusedValueError
from penin.settings import check_level
from penin.storage.compression import split_suffix, suffix_of
from penin.storage.encryption import ENCRYPTED_SUFFIX
from penin.storage.files import replace_file
from penin.storage.filesystem import FileBlocks, OsFileSystem


class OmegaMetaOrchestrator(StateReader):
    """Knowledge base, task history, score history, further histories, and documents.

    `history_maxlen` bounds every history; None means the bound that is stored in what is loaded,
    and 1000 for a new state. Every writer returns an `Ack` with seq and result, and raises
    RefusedTypeError or RefusedValueError, before anything changed, for what it cannot take.
    Not thread-safe.
    """

    __slots__ = ("_history_maxlen",)

    def __init__(self, history_maxlen: int | None = None) -> None:
        self._history_maxlen = None
        if history_maxlen is not None:
            self._history_maxlen = door.check_maxlen(history_maxlen)
        super().__init__(State(self._history_maxlen or HISTORY_MAXLEN_DEFAULT))

    @classmethod
    def from_state(cls, state: State) -> OmegaMetaOrchestrator:
        """An orchestrator that holds `state` from now on."""
        orchestrator = cls()
        orchestrator._state = state
        return orchestrator

    def _apply(self, taken: Message) -> Ack:
        return self._state.apply(taken.body, self._state.seq + 1)

    def add_knowledge(self, key: str, artifact: NumericVectorArtifact) -> Ack:
        """Put `artifact` under `key`, replacing what is there."""
        return self._apply(door.add_knowledge(key, artifact))

    def remove_knowledge(self, key: str) -> Ack:
        """Remove `key`; the result is `missing` where it is not there."""
        return self._apply(door.remove_knowledge(key))

    def prune_knowledge(self, *, prefix: str | None = None, before_seq: int | None = None) -> int:
        """Remove what begins with `prefix` and was last changed before `before_seq`; how many."""
        wanted = pruning_of(prefix, before_seq)
        found = [wanted.removals(block) for block in self.knowledge_base.view().blocks()]
        return sum(self._apply(removal).result == OK for part in found for removal in part)

    def extend_knowledge(
        self,
        keys: Sequence[str],
        matrix: NDArray[Any],
        metadata: Sequence[Mapping[str, Any]] | None = None,
    ) -> Ack:
        """Put one artifact for each row of `matrix`, of shape (len(keys), n).

        A large matrix uses several seqs, one for each MiB; the last is returned.
        """
        acks = [self._apply(taken) for taken in door.extend_knowledge(keys, matrix, metadata)]
        return acks[-1]  # the door refuses an empty matrix

    def add_task(self, task: Mapping[str, Any]) -> Ack:
        """Record `task` at the end of `task_history`."""
        return self._apply(door.add_task(task))

    def add_score(self, score: float) -> Ack:
        """Record `score` at the end of `score_history`; infinities and NaN are kept."""
        return self._apply(door.add_score(score))

    def extend_scores(self, scores: Iterable[float]) -> Ack:
        """Record many scores in order."""
        return self._apply(door.extend_scores(scores))

    def append_history(self, name: str, value: object) -> Ack:
        """Append a value to the history `name`, which is made if it is not there."""
        return self._apply(door.append_history(name, value))

    def put_document(self, name: str, value: object, if_seq: int | None = None) -> Ack:
        """Set a document; with `if_seq`, only if its last change has that seq (0: none is there).

        The result is `conflict`, and nothing changed, where the condition does not hold.
        """
        return self._apply(door.put_document(name, value, if_seq))

    def remove_document(self, name: str) -> Ack:
        """Remove a document; the result is `missing` where it is not there."""
        return self._apply(door.remove_document(name))

    def set_history_maxlen(self, maxlen: int | None, name: str | None = None) -> Ack:
        """Bound one history, or all of them and those made later; None is no bound."""
        return self._apply(door.set_history_maxlen(maxlen, name))

    def send(self, content: Mapping[str, Any] | Message) -> Ack:
        """Apply one message of the vocabulary: `{"type": "add_score", "score": 0.85}`.

        With an `id` that is known already, nothing changes, and the first answer is returned;
        IdReusedError where it was another message.
        """
        taken = message(content)
        known = None if taken.body.id is None else self._state.message_ids.get(taken.body.id)
        return self._apply(taken) if known is None else known.answer(taken.body.digest)

    def nearest(
        self,
        vector: Sequence[float] | NDArray[Any],
        k: int = 10,
        metric: Metric = "cosine",
        where: Mapping[str, Any] | None = None,
    ) -> list[Neighbour]:
        """The `k` artifacts nearest to `vector`, best first, with keys and scores; exact.

        `where` maps fields of the metadata to the value wanted, or to a list of values of which
        any will do. See `penin.core.nearest` for scores, ties and zero vectors. Raises
        RefusedTypeError or RefusedValueError, naming the argument: for one, where there are
        artifacts and none has the dimension of `vector`.
        """
        return nearest(self.knowledge_base.view(), query_of(vector, k, metric, where))

    def save_state(self, filepath: str | PathLike[str], *, level: int | None = None) -> None:
        """Write the state as one file, atomically and durably, making parent directories.

        With the suffix `.safetensors` it is one that any reader of safetensors opens; with any
        other one it is JSON, which the standard `json` module reads. A further suffix `.gz` or
        `.zst` compresses it (`state.json.zst`); `level` is 1 to 9 for gzip (6) and 1 to 19 for
        zstd (3), which needs the extra `penin[zstd]` (UsageError). `.enc`, the suffix of encrypted
        files, is refused (RefusedValueError): there is no key. When it returns, the file is
        complete and synced under its name; on any failure (OSError, or CorruptionError where the
        state is in a mapped file that is damaged) the old file is untouched.
        """
        path = Path(filepath).resolve()
        suffix = suffix_of(path)
        if suffix.endswith(ENCRYPTED_SUFFIX):
            raise RefusedValueError("filepath", "only a store is encrypted; this would be plain")
        check_level(split_suffix(suffix)[1], level)
        replace_file(path, encode_state(self._state.view(), Envelope(), suffix, level=level))

    def load_state(self, filepath: str | PathLike[str]) -> bool:
        """Replace the state by that of a file of `save_state`, ours or the original's.

        Returns False, with nothing changed, where there is no file. Raises CorruptionError or
        FormatError, with nothing changed, for a file that it cannot take whole, and StorageError
        or OSError for one that it cannot read. JSON is read as a stream: beside the old
        state and the new one, a few MiB are needed. A file of the suffix `.safetensors` is mapped,
        and its vectors are read when they are asked for (`penin.core.mapped`): it must not be
        written to in place, and reading damage later raises CorruptionError. A compressed one is
        held in memory instead. ExpansionError, a FormatError, refuses a compressed file that
        expands further than any of ours.
        """
        path = Path(filepath).resolve()
        try:
            file = FileBlocks(OsFileSystem(), path)
        except FileNotFoundError:
            return False
        with file as blocks:
            state, _ = decode_state(blocks, path, suffix_of(path))
        self._state = state
        bound = self._history_maxlen
        bounds = {state.history_maxlen, state.task_history.maxlen, state.score_history.maxlen}
        if bound is not None and bounds != {bound}:
            self.set_history_maxlen(bound)
        return True
