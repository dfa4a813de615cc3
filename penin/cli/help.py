r"""The texts of `--help`, to work from. A `\b` alone keeps the lines of a paragraph as they are."""

from __future__ import annotations

from typing import Final

from penin.cli.exits import ExitCode, exits_text
from penin.ingress.splitting import LINE_BYTES_MAX

PENIN: Final = """\
A crash-proof, long-term memory for asyncio workers and agents: what was acknowledged survives
kill -9, a full disk and a power cut.

Without a command it is run: "penin --dir memory" is "penin run --dir memory".

\b
  penin run crawler:crawl
  echo '{"type": "add_score", "score": 0.85}' | penin send
  penin status
"""

EPILOG: Final = f"""\
Every option is an environment variable, too: --lock-wait-s is PENIN_LOCK_WAIT_S.

\b
{exits_text()}
"""

RUN: Final = """\
Run workers on a store. The default when no command is named.

Opens the store, recovers what was acknowledged, and runs the workers until all have returned or
SIGINT or SIGTERM comes: then they have --stop-grace-s to finish, everything is saved, and the exit
code is 0. A second signal at least one second later exits at once. SIGUSR1 writes a checkpoint.
With no worker and without --stdin it holds the store open until a signal comes. The log goes to
stderr.

A worker is an "async def" function that takes the orchestrator, named as module:function; modules
of the working directory are found. After -- stand arguments, name=value, the value as JSON where
it parses: every worker gets those that it has parameters for.

\b
  penin run crawler:crawl
  penin run evolve:evolve --fsync everysec -- seed=7 name=first
  tail -F events.jsonl | penin run --stdin
"""

SEND: Final = f"""\
Send JSON lines into a store, one message each, until all are acknowledged.

A line may be {LINE_BYTES_MAX // 2**20} MiB long. One that is refused is logged with file, line,
field and reason, and kept byte for byte in rejected.jsonl in the store; the rest goes on, and the
exit code is {int(ExitCode.REFUSED_INPUT)}. Ctrl-C ends it with what was acknowledged stored. The
store must not be open elsewhere: a worker that runs takes lines with "penin run --stdin".

\b
  penin send results.jsonl
  zcat old/*.jsonl.gz | penin send --dir memory

Lines are such as these:

\b
  {{"type": "add_score", "score": 0.85}}
  {{"type": "add_task", "task": {{"name": "crawl", "pages": 12}}}}
  {{"type": "add_knowledge", "key": "best", "vector": [0.5, 1.5], "metadata": {{"run": 7}}}}
  {{"type": "put_document", "name": "offset", "value": 7, "if_seq": 0}}
  {{"type": "transaction", "transitions": [{{"type": "add_score", "score": 1.0}}]}}
"""

STATUS: Final = """\
Show what a store holds; also while a worker runs.

It takes no lock and changes nothing. It reads the whole state, as opening the store does. Who
holds the lock is read from the kernel (/proc/locks); where that cannot tell, on another host or
another system than Linux, "held" is null.

\b
  penin status
  penin status --dir memory --json
"""

CONVERT: Final = """\
Make a new store of a snapshot file, and leave the file as it is.

FILE is a snapshot of any version: the state.json or a checkpoint of a store, a file of save_state,
or a file of the original format. The new store has an id of its own, goes on from the seq of the
snapshot, and names in "forked_from" what it came from. What a journal holds after the snapshot is
not taken. A file whose digest does not match is refused, unless --accept-edited says that you have
edited it yourself.

\b
  penin convert old/state.json --to memory
  penin convert edited.json --accept-edited --to mended
"""
