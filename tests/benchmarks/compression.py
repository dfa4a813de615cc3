"""`python -m tests.benchmarks.compression`: size and seconds of each format and compression.

What is saved is real. The texts are the docstrings of this Python's standard library, each an
artifact of one number with the docstring and where it stands as metadata. The digits are the
handwritten ones of scikit-learn: small whole numbers, as float64. The embeddings are of these
docstrings (TF-IDF, truncated SVD, scaled to length 1) as float32, without metadata.

Writing is `save_state`, with its sync; reading checks every byte and makes the state. Both are
medians of the rounds, in one process, out of the page cache.
"""

from __future__ import annotations

import argparse
import ast
import statistics
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Final, NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from penin.core import OmegaMetaOrchestrator
from penin.core.formats import decode_state
from penin.storage.compression import suffix_of
from penin.storage.filesystem import FileBlocks, OsFileSystem
from tests.benchmarks.machine import describe

FILES: Final[dict[str, tuple[tuple[str, int | None], ...]]] = {
    "json": ((".json", None), (".json.gz", 6), *((".json.zst", level) for level in (3, 9, 19))),
    "safetensors": (
        (".safetensors", None),
        (".safetensors.gz", 6),
        *((".safetensors.zst", level) for level in (3, 9)),
    ),
}
DIMENSION: Final = 128


class Row(NamedTuple):
    """What one file cost: its suffix with the level, and medians."""

    content: str
    file: str
    size_bytes: int
    plain_bytes: int
    write_s: float
    read_s: float

    def line(self) -> str:
        """A row of the table in the documentation."""
        share = f"{self.size_bytes / self.plain_bytes:.2f}"
        return (
            f"| {self.content} | {self.file} | {self.size_bytes / 1e6:.2f} | {share} | "
            f"{self.write_s:.3f} | {self.read_s:.3f} |"
        )


def docstrings(limit: int | None = None) -> dict[str, str]:
    """The docstrings of the standard library by module and name, in the order of the files."""
    found: dict[str, str] = {}
    for name, text in _docstrings(Path(sysconfig.get_path("stdlib"))):
        found.setdefault(name, text)
        if len(found) == limit:
            break
    return found


def _docstrings(directory: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(directory.rglob("*.py")):
        module = path.relative_to(directory)
        if {"site-packages", "dist-packages", "test", "tests"} & set(module.parts):
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                text = ast.get_docstring(node)
                if text:
                    name = getattr(node, "name", "")
                    yield f"{module}:{getattr(node, 'lineno', 0)}:{name}", text


def texts(limit: int | None = None) -> OmegaMetaOrchestrator:
    """A knowledge base whose weight is in the metadata."""
    orchestrator = OmegaMetaOrchestrator()
    found = docstrings(limit)
    lengths = np.array([[len(text)] for text in found.values()], np.float32)
    places = [dict(zip(("file", "line", "name"), name.split(":"), strict=True)) for name in found]
    metadata = [{**place, "text": text} for place, text in zip(places, found.values(), strict=True)]
    orchestrator.extend_knowledge(list(found), lengths, metadata)
    return orchestrator


def digits(limit: int | None = None) -> OmegaMetaOrchestrator:
    """The handwritten digits, pixels from 0 to 16, with their labels."""
    orchestrator = OmegaMetaOrchestrator()
    matrix, labels = load_digits(return_X_y=True)
    keys = [f"digit {row}" for row in range(len(matrix))][:limit]
    metadata = [{"label": int(label)} for label in labels][:limit]
    orchestrator.extend_knowledge(keys, matrix[:limit], metadata)
    return orchestrator


def embeddings(limit: int | None = None) -> OmegaMetaOrchestrator:
    """A vector for each docstring, as of recall by meaning."""
    orchestrator = OmegaMetaOrchestrator()
    found = docstrings(limit)
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform(found.values())
    dimension = min(DIMENSION, min(weights.shape) - 1)
    matrix = normalize(TruncatedSVD(dimension, random_state=1).fit_transform(weights))
    orchestrator.extend_knowledge(list(found), matrix.astype(np.float32))
    return orchestrator


CONTENTS: Final[dict[str, Callable[[int | None], OmegaMetaOrchestrator]]] = {
    "texts": texts,
    "digits": digits,
    "embeddings": embeddings,
}


def measure(
    content: str, orchestrator: OmegaMetaOrchestrator, directory: Path, rounds: int
) -> Iterator[Row]:
    """A row for each file, in the order of FILES."""
    for files in FILES.values():
        plain_bytes = 0
        for suffix, level in files:
            path = directory / f"{content}{suffix}"
            writes, reads = [], []
            for _ in range(rounds):
                begun_s = perf_counter()
                orchestrator.save_state(path, level=level)
                writes.append(perf_counter() - begun_s)
                begun_s = perf_counter()
                with FileBlocks(OsFileSystem(), path) as blocks:
                    state, _ = decode_state(blocks, path, suffix_of(path), whole=True)
                reads.append(perf_counter() - begun_s)
                assert len(state.knowledge_base) == len(orchestrator.knowledge_base)
            size = path.stat().st_size
            plain_bytes = plain_bytes or size
            name = suffix if level is None else f"{suffix} {level}"
            times = statistics.median(writes), statistics.median(reads)
            yield Row(content, name, size, plain_bytes, *times)
            path.unlink()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.compression", description=__doc__
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is done")
    parser.add_argument("--limit", type=int, help="so many artifacts of each kind only")
    parser.add_argument("--dir", type=Path, default=Path("build"), help="where the files are made")
    chosen = parser.parse_args(arguments)
    chosen.dir.mkdir(parents=True, exist_ok=True)
    print(", ".join(f"{name} {value}" for name, value in describe(chosen.dir).items()))
    print("| content | file, level | MB | of plain | write, s | read, s |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=chosen.dir) as directory:
        for content, make in CONTENTS.items():
            for row in measure(content, make(chosen.limit), Path(directory), chosen.rounds):
                print(row.line(), flush=True)


if __name__ == "__main__":
    main()
