"""`penin nearest`: the artifacts nearest to a vector, asked of the worker or of the files."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
import typer

from penin.cli.access import ask_worker
from penin.cli.exits import ExitCode
from penin.cli.options import (
    DIR_DEFAULT,
    ExistingDirectory,
    JsonOption,
    KeyOption,
    files_of,
    option,
    store_directory,
)
from penin.cli.tables import print_json, print_table
from penin.cli.terminal import say
from penin.core.artifacts import NumericVectorArtifact
from penin.core.knowledge import KnowledgeBase
from penin.core.nearest import Metric, Neighbour, query_of
from penin.core.nearest import nearest as nearest_in
from penin.core.values import from_wire, to_wire
from penin.errors import RefusedError, UsageError
from penin.ingress.socket.remote import RemoteOrchestrator
from penin.runtime.past import read_store

VectorArgument = Annotated[
    str | None,
    typer.Argument(metavar="VECTOR", help="A JSON list of numbers.", show_default=False),
]
COUNT_DEFAULT: Final = 10


class Match(msgspec.Struct, frozen=True):
    """One of the nearest, as `--json` writes it."""

    key: str
    score: float
    metadata: dict[str, Any]


def nearest(
    vector: VectorArgument = None,
    *,
    like: Annotated[
        str | None, option("like", "Instead of VECTOR, the vector of this key.")
    ] = None,
    count: Annotated[int, option("count", "So many at most.", min=1)] = COUNT_DEFAULT,
    metric: Annotated[
        Metric, option("metric", "cosine or dot (higher is nearer), or euclidean (lower).")
    ] = "cosine",
    where: Annotated[
        str | None,
        option("where", "Only with this metadata: a JSON object of fields and values."),
    ] = None,
    dir: ExistingDirectory = DIR_DEFAULT,  # the word of the option
    key_from: KeyOption = None,
    json: JsonOption = False,
) -> int:
    """The command; `penin.cli.help` tells what it promises."""
    directory = store_directory(dir)
    if (vector is None) == (like is None):
        raise UsageError("name either VECTOR or --like")
    wanted = _Wanted(_decoded("VECTOR", vector), like, count, metric, _decoded("--where", where))
    found = ask_worker(directory, wanted.from_worker)
    if found is None:
        try:
            state, _ = read_store(directory, files_of(key_from))
        except FileNotFoundError as error:
            raise UsageError(f"--dir {dir}: there is no store") from error
        found = wanted.from_knowledge(state.knowledge_base)
    if isinstance(found, str):
        say(found)
        return ExitCode.NEGATIVE
    matches = [Match(one.key, one.score, one.artifact.metadata) for one in found]
    if json:
        print_json({"dir": str(directory), "nearest": matches})
    elif matches:
        rows = [(match.key, f"{match.score:.6g}", _json_text(match.metadata)) for match in matches]
        print_table(("key", "score", "metadata"), rows, right={"score"})
    else:
        say("nothing fits")
    return ExitCode.SUCCESS


class _Wanted:
    """What was asked for. Both ways to it give what is found, or say why there is nothing."""

    def __init__(self, vector: Any, like: str | None, k: int, metric: Metric, where: Any) -> None:
        self._vector = vector
        self._like = like
        self._k = k
        self._metric = metric
        self._where = where

    async def from_worker(self, orchestrator: RemoteOrchestrator) -> list[Neighbour] | str:
        """Ask the worker of the store."""
        vector = self._vector
        if self._like is not None:
            artifact = await orchestrator.get(self._like)
            if artifact is None:
                return self._nothing
            vector = artifact.array
        return await orchestrator.nearest(vector, self._k, self._metric, self._where)

    def from_knowledge(self, knowledge: KnowledgeBase) -> list[Neighbour] | str:
        """Take it out of a knowledge base that was read from files."""
        vector = self._vector
        if self._like is not None:
            artifact: NumericVectorArtifact | None = knowledge.get(self._like)
            if artifact is None:
                return self._nothing
            vector = artifact.array
        query = query_of(vector, self._k, self._metric, self._where)
        return nearest_in(knowledge.view(), query)

    @property
    def _nothing(self) -> str:
        return f"{self._like}: no artifact of this name in the store"


def _decoded(name: str, text: str | None) -> Any:
    """The JSON of an argument. Raises UsageError, naming it, for what is none."""
    if text is None:
        return None
    try:
        return from_wire(msgspec.json.decode(text))
    except (msgspec.MsgspecError, ValueError, RefusedError) as error:
        raise UsageError(f"{name} {text}: not JSON: {error}") from error


def _json_text(value: Any) -> str:
    return msgspec.json.format(
        msgspec.json.encode(to_wire(value, "", escape=True)), indent=0
    ).decode()
