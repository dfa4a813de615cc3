"""Building an approximate index in a process of its own.

usearch holds the interpreter for seconds where its graph grows and is written, so it cannot be a
thread of the process that serves messages. The child (`python -m penin.runtime.index_build`) reads
the store as `penin.load` does, without a lock and changing nothing, and writes one file under a
temporary name. It has the lowest priority, and it is the first that the kernel ends when memory is
short. It ends when its parent does, however that ends: its stdin is a pipe that only the parent
holds.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from penin.core.vector_index import VectorIndex
from penin.errors import PeninError, StorageError
from penin.runtime.index_files import IndexFiles, IndexKind
from penin.runtime.key_source import files_with
from penin.runtime.past import read_store

_MODULE: Final = "penin.runtime.index_build"
_NICENESS: Final = 19
_OUT_OF_MEMORY_FIRST: Final = "1000"
_PARENT_ENDED: Final = 3


class IndexBuild:
    """One child that brings the index of a kind up to date, in the file `output`."""

    def __init__(
        self, directory: Path, kind: IndexKind, output: Path, key_from: str | None = None
    ) -> None:
        self.directory = directory
        self.key_from = key_from  # the child gets the key where we got it
        self.kind = kind
        self.output = output
        self._child: subprocess.Popen[bytes] | None = None
        self._is_stopped = False

    def run(self) -> str | None:
        """Build, and return when the child has ended; blocks. What went wrong, None if nothing did.

        Raises OSError where there can be no child. Afterwards `output` is whole and synced; or,
        where something went wrong or there is nothing to be indexed, it is not there, or a part.
        """
        metric, dimension = self.kind
        arguments = [str(self.directory), metric, str(dimension), str(self.output)]
        if self.key_from is not None:
            arguments.append(self.key_from)
        # -P and this path: it imports what we import, and nothing out of a directory that
        # happens to be the current one.
        paths = [str(Path(path).absolute()) for path in sys.path]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        with subprocess.Popen(  # noqa: S603  # ourselves
            [sys.executable, "-P", "-m", _MODULE, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # an interrupt of the terminal is for the parent
        ) as child:
            self._child = child
            if self._is_stopped:
                child.kill()
            assert child.stderr is not None
            lines = child.stderr.read().decode(errors="backslashreplace").strip().splitlines()
            code = child.wait()
        if code == 0:
            return None
        return lines[-1] if lines else f"the process that builds it ended with {code}"

    def stop(self) -> None:
        """Kill the child, from any thread; `run` then returns soon."""
        self._is_stopped = True
        if self._child is not None:
            self._child.kill()


def build(directory: Path, kind: IndexKind, output: Path, key_from: str | None = None) -> None:
    """What the child does: write an index of all that is on the disk now.

    What the last index has is taken over, unless most of it is gone. Nothing is written where there
    is no vector of that kind. Raises CorruptionError or another StorageError, OSError, and
    UsageError where usearch is missing.
    """
    fs = files_with(key_from)
    files = IndexFiles(fs, directory)
    state, envelope = read_store(directory, fs)
    assert envelope.store is not None  # the parent has it open
    view = state.knowledge_base.view()
    index: VectorIndex | None = None
    # What is wrong with the last one is the parent's to say.
    with contextlib.suppress(StorageError):
        index = files.load(files.path(kind), envelope.store, state.seq)
    if index is None or index.is_mostly_dead(view):
        index = VectorIndex(kind.dimension, kind.metric)
    else:
        index = index.extendable()
    index.extend(view, state.seq, threads=max(1, _processors() // 2))
    if len(index):
        files.write(output, index, envelope.store)


def main(arguments: list[str]) -> int:
    """The child. What goes wrong is the last line of stderr."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(_OUT_OF_MEMORY_FIRST, encoding="ascii")
    directory, metric, dimension, output, *key_from = arguments
    kind = IndexKind(metric, int(dimension))  # type: ignore[arg-type]  # as it was given to IndexBuild
    try:
        build(Path(directory), kind, Path(output), *key_from)
    except (PeninError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _end_with_parent() -> None:
    """Wait for the end of stdin, to which nothing is ever written, and end the process."""
    # Not sys.stdin: its lock would be held when the interpreter ends.
    os.read(0, 1)
    os._exit(_PARENT_ENDED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
