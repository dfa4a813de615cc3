r"""The texts of `--help`, to work from. A `\b` alone keeps the lines of a paragraph as they are.

All of them together, however many lines: they are read beside each other, and translated as one.
"""

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
SIGINT, SIGTERM or SIGHUP comes: then they have --stop-grace-s to finish, everything is saved, and
the exit code is 0. A second signal at least one second later exits at once. SIGUSR1 writes a
checkpoint. With no worker and without --stdin it holds the store open until a signal comes.
Meanwhile other processes of the same user can use the store, through its socket. The log goes to
stderr, or to the file of --log-file, which SIGHUP then opens anew instead of stopping. Under
systemd, Type=notify is right: it tells when it is ready, how far it is, and that it is alive.

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
exit code is {int(ExitCode.REFUSED_INPUT)}. Ctrl-C ends it with what was acknowledged stored. Where
a worker has the store open, the messages go to that one, through its socket.

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

It takes no lock and changes nothing. A worker that serves the store is asked; where none does, the
whole state is read, as opening the store does. Who holds the lock is read from the kernel
(/proc/locks); where that cannot tell, on another host or another system than Linux, "held" is null.

\b
  penin status
  penin status --dir memory --json
"""

TAIL: Final = """\
Show the last transitions of a store, and with -f those that come.

They are read from the journal, without a lock, also while a worker runs: across checkpoints and
restarts of the worker. A line holds what "penin ledger show" does. It begins near the end, whatever
the size of the journal; only where few of the last transitions fit, or an older file is compressed,
more is read. With -f it looks for more five times a second, says which transitions a checkpoint
took away before it came to them, and ends with Ctrl-C.

\b
  penin tail -f
  penin tail -n 3 --type put_document --key offset --json
  penin tail --since 2026-01-31T12:00:00Z -f --dir memory
"""

NEAREST: Final = f"""\
Find the artifacts nearest to a vector, best first; also while a worker runs.

The vector is a JSON list of numbers, or that of a key (--like), which is the nearest to itself.
Where a worker serves the store it is asked, and otherwise the whole state is read, as opening the
store does. Where there is no artifact of the key, the exit code is {int(ExitCode.NEGATIVE)}.

\b
  penin nearest '[0.5, 1.5]'
  penin nearest --like champion --count 3 --metric euclidean --where '{{"run": 7}}' --json
"""

CHECKPOINT: Final = """\
Write a checkpoint now, and say its seq once it is durable.

The worker that runs is asked; where none does, the store is opened for it.

\b
  penin checkpoint
  penin checkpoint --dir memory --json
"""

TOP: Final = """\
Show how a running worker is, drawn anew every second: for who is on call.

Messages a second, what is in the mailbox, the applied and the durable seq, how long syncs took, how
old the last checkpoint is and how long it took, how late the event loop is, the memory, what was
refused and dropped, the score history as a line, and the last transitions. The worker is asked
through its socket, and the transitions are read from the journal. A worker that stops is waited
for. Ctrl-C ends it. Where stdout is no terminal it writes one view, of one interval.

\b
  penin top
  penin top --dir memory --interval-s 0.5
"""

CHECKPOINTS: Final = f"""\
List the kept checkpoints of a store, oldest first; also while a worker runs.

Each is the whole state at a seq; the time is that of the last commit in it. Which are kept is told
by --keep-last, --keep-daily and --keep-within of penin run. With --verify each is read whole, and
its digests and its content are checked; if one is damaged, the exit code is
{int(ExitCode.CORRUPT)}.

\b
  penin checkpoints
  penin checkpoints --verify --json --dir memory
"""

RESTORE: Final = """\
Make a new store of a state that a store has gone through, which is left as it is.

Every state from the oldest kept checkpoint on can be had, after any message: --seq N (inside a
message it rounds down, and says so), --checkpoint N (see penin checkpoints), or --at TIME, for the
last commit before the first one that is later than TIME. The new store has an id of its own, and
names in "forked_from" where it comes from. DIR must not be there, or be empty. It can be done while
a worker runs, and once more after an interruption. --dry-run says what it would do.

\b
  penin restore --seq 1200 --to before
  penin restore --at 2026-01-31T12:00:00Z --to noon --dir memory
  penin restore --checkpoint 1000 --to earlier --dry-run
"""

BACKUP: Final = f"""\
Copy a store, consistent and verified; also while a worker runs.

The copy in DIR holds the kept checkpoints and the journal, with all that was acknowledged before,
and opens by itself. It was read back whole. It keeps the id of the store: only one of the two may
be written to from then on; "penin restore" makes a store with an id of its own. DIR must not be
there, or be empty; interrupted, nothing is in it. If something in the store is damaged, the file is
named and the exit code is {int(ExitCode.CORRUPT)}.

\b
  penin backup /backups/$(date +%F) --dir memory
"""

REKEY: Final = """\
Let another master key open an encrypted store, which no worker has open.

Writes keys.json anew and nothing else: the data keys are wrapped by the new master key, and one is
added, with which everything is encrypted that is begun from then on. What was written before stays
as it is. When it has ended, only the new key opens the store; interrupted, one of the two does.
Keep the old key as long as there are backups from before.

\b
  openssl rand -base64 32 > new.key
  penin rekey --key-from file:old.key --new-key-from file:new.key
"""

REJECTED: Final = """\
Print the lines that were refused, byte for byte as they came.

They are those of rejected.jsonl, decrypted where the store is encrypted. Mended, they can be sent
again. Why each was refused is in the log (message.refused).

\b
  penin rejected --key-from file:/etc/penin.key > mended.jsonl
"""

INSPECT: Final = f"""\
Show what one file is, what is in it, and where it is damaged.

FILE is a snapshot of any version (state.json, state.safetensors, a checkpoint, a file of save_state
or of the original format) or a file of a journal, also of a store that a worker has open. Every
digest and every line of the chain is checked; nothing is changed. Of a damaged file it shows what
can be read, and the exit code is {int(ExitCode.CORRUPT)}. An incomplete commit at the end of the
newest journal file is no damage.

\b
  penin inspect memory/state.json
  penin inspect memory/journal/00000000000000000001.jsonl --json
"""

GET: Final = f"""\
Show an artifact, a document or a history of a store, with the seq of its last change.

It takes no lock and changes nothing. A worker that serves the store is asked; where none does, what
is on the disk now is read. NAME is the key of an artifact or the name of a document or a history;
where several things have it, --kind chooses. Of a vector the first numbers are shown, and of a
history the newest 10 items; --last chooses how many, and --json writes all. The last change of a
history is the last item or another bound; its items have no seqs of their own. Where nothing has
that name, the exit code is {int(ExitCode.NEGATIVE)}, and names that are nearly the same are told.

\b
  penin get budget
  penin get score_history --last 3 --dir memory
  penin get champion --kind artifact --json
"""

DIFF: Final = f"""\
Show what was added, changed and removed from state A to state B.

Each is a snapshot file (a checkpoint, too), the directory of a store, as it is on the disk now, or,
in digits, a seq of the store in --dir; "now" is the end of that store. A seq that is inside a
message stands for the end of the message before. Nothing is changed, and no lock is taken.

Compared bit for bit are the knowledge base and the documents by name, and of each history its bound
and its items in order: the longest end of the first that is the beginning of the second was kept,
what stands before it was dropped, what stands behind it was appended. When something was changed is
not compared. The exit code is {int(ExitCode.SUCCESS)} where both hold the same, and
{int(ExitCode.NEGATIVE)} where they differ.

\b
  penin diff yesterday.json memory
  penin diff --dir memory 120 180
  penin diff --dir memory 120 now --all --json
"""

MIGRATE: Final = f"""\
Bring a store to another version of your own data, by functions of yours.

module:migrations names a dictionary in a module, which is found in the working directory too:
migrations[n] is a function that takes a draft of data of version n and makes it version n + 1. The
version that the last one leads to is the one that the store gets. A draft has documents (name ->
value), tasks and histories (name -> list), to be changed in place, and
map_metadata(function(key, metadata) -> metadata):

\b
  def to_1(draft):
      for task in draft.tasks:
          task["title"] = task.pop("name")
      draft.map_metadata(lambda key, metadata: {{**metadata, "key": key}})

\b
  MIGRATIONS = {{0: to_1}}

--dry-run runs the functions and shows what would change; it takes no lock and writes nothing, also
while a worker runs. Without it the change is one transition in the journal, and the state before is
kept beside, in state.before-schema-<version>.json (or .safetensors). Interrupted at any moment, the
store is of the version before or of the new one; then do it again. Where a function is missing or
raises, or leaves what a store cannot hold, nothing is changed, and the exit code is
{int(ExitCode.USAGE)}.

\b
  penin migrate crawler:MIGRATIONS --dry-run
  penin migrate crawler:MIGRATIONS --dir memory --json
"""

CONVERT: Final = """\
Make a new store of a snapshot file or of another store, which is left as it is.

FILE is the directory of a store, or a snapshot of any version: the state.json, state.safetensors
or a checkpoint of a store, a file of save_state, or a file of the original format; a name that ends
in .gz or .zst says that it is compressed, and in .enc that it is encrypted. The new store has an id
of its own, snapshots of --format, compressed as --compress says and encrypted where --key-from
names a key, goes on from the seq of what it came from, and names that in "forked_from". Of a store,
also one that is in use, all is taken; of a snapshot, not what a journal holds after it. A file
whose digest does not match is refused, unless --accept-edited says that you have edited it
yourself.

\b
  penin convert old/state.json --to memory
  penin convert memory --to faster --format safetensors
  penin convert memory --to smaller --compress zstd:9
  penin convert memory --to encrypted --key-from file:/etc/penin.key
  penin convert edited.json --accept-edited --to mended
"""

IMPORT: Final = f"""\
Put the rows of a file into the knowledge base of a store.

Before anything is sent, shapes, the number of keys, and keys that stand twice are checked. The rows
go in blocks, and after each of them the store keeps how far it came: interrupted by a signal or a
crash and started again on the same files, it goes on from there. --restart begins anew. A row that
is refused ends it: the rows before it are stored, the file and the row are named, and the exit code
is {int(ExitCode.REFUSED_INPUT)}. Rows that are sent again are the same under the same keys. Where
a worker has the store open, the rows go to that one, through its socket.

\b
  penin import vectors.npy --keys keys.txt --metadata metadata.jsonl
  penin import vectors.parquet --dir memory

The formats, told by the suffix:

\b
  .npy          a matrix (rows, n); keys in the file of --keys
  .npz          arrays "vectors" (rows, n), "keys" and "metadata" of str (rows,)
  .safetensors  tensors "vectors" (rows, n), "keys" (U8, UTF-8 behind one
                another) and "keys_ends" (I64, where each ends), "metadata"
                and "metadata_ends"
  .jsonl        a row a line: {{"key": "a", "vector": [0.5, 1.5],
                "dtype": "float32", "metadata": {{"run": 7}}}}
  .parquet      columns "key", "vector" (a list), "metadata" (a string or a
                struct); needs the extra penin[parquet]

Metadata can always be left out. With .npz and .safetensors, --keys and --metadata go before what is
in the file. Rows are counted from 0, lines from 1.
"""

EXPORT: Final = """\
Write the knowledge base of a store to a file that "penin import" reads.

It takes no lock and changes nothing in the store, also while a worker runs. The file is written
whole or not at all; one that is there is replaced only with --overwrite. The formats are those of
"penin import". All but .jsonl hold one matrix, so where there are vectors of several dtypes or
dimensions, --dtype and --dimension choose.

\b
  penin export vectors.npz
  penin export vectors.npy --keys keys.txt --metadata metadata.jsonl
  penin export all.jsonl --dir memory --overwrite
"""

LEDGER: Final = """\
The journal as a ledger of every transition: read it, check its chain, export it.

None of these takes the lock or changes anything; all work while a worker runs.
"""

LEDGER_VERIFY: Final = f"""\
Check the chain of the whole journal: that no line was changed, taken out or put in.

Reads every journal file that is kept, from the first line on, and says the seqs, the head (the last
line) and where the chain is broken. With --head also that a line that "penin ledger head" printed
earlier, and that was kept elsewhere, is still in it: then nothing up to it was written anew. With
--public-key that what was signed at checkpoints (penin run --sign-key-from) is still there. The
exit code is 0 where all of that holds, and {int(ExitCode.CORRUPT)} where it does not. A commit that
is being written is no damage. No key of an encrypted store is needed.

\b
  penin ledger verify
  penin ledger verify --head head.txt --json
  penin ledger verify --public-key sign.key.pub
"""

LEDGER_KEYGEN: Final = """\
Make a pair of keys to sign the heads of the ledger with, and to check them.

Writes the private key to FILE, which must not be there and only you may read, and the public one
to FILE.pub, both as OpenSSL does (Ed25519, PEM). "penin run --sign-key-from file:FILE" signs at
each checkpoint; "penin ledger verify --public-key FILE.pub" checks.

\b
  penin ledger keygen sign.key
"""

LEDGER_HEAD: Final = """\
Print the head of the ledger: the seq and the hash of its last line.

Keep it where nobody who can write the store can change it. "penin ledger verify --head" takes what
is printed, or a file that holds it.

\b
  penin ledger head > head.txt
"""

LEDGER_SHOW: Final = """\
Show the transitions in the journal, one a line, as far back as it is kept.

Shows seq, time of the commit, source, type and the rest of the transition; vectors by dtype and
length. What is shown was asked for: whether a key was there, or an "if_seq" held, is in the log.
What lies before --from-seq is not read.

\b
  penin ledger show --since 2026-01-31 --type put_document --key offset
  penin ledger show --from-seq 1200 --limit 20 --json
"""

LEDGER_EXPORT: Final = """\
Write the transitions in the journal to a file of JSON lines, one each.

The file is written whole or not at all; one that is there is replaced only with --overwrite. Its
fields are seq, at, epoch and hash (of the commit), message (its first and last seq), id, from,
transition. Options choose as in "penin ledger show".

\b
  penin ledger export ledger.jsonl
  penin ledger export - --source stdin | jq .transition
"""

VERIFY: Final = f"""\
Check everything in a store: a restore drill, also while a worker runs.

Reads every snapshot to its last byte and the whole journal, replays that, and compares: each
checkpoint must lead to the state of the next one and of the newest snapshot, bit for bit. Names
what is left over, what does not belong there, and what others may read. It takes no lock and
changes nothing, and has one state in memory.

The exit code is 0 where all is sound and {int(ExitCode.CORRUPT)} where it is not, for cron. What
recovery takes care of by itself is no problem: a commit that was not finished, a file that was
being made.

\b
  penin verify
  penin verify --dir memory --json
"""

REPAIR: Final = f"""\
Make a new store of what is left of a damaged one, which is left as it is.

Takes the newest snapshot that can be read to its last byte, and the journal after it up to where
that is damaged. Shows what is damaged, what would be kept, what would be cut and which seqs are
lost, and asks; without a terminal to ask on, --yes is needed. Everything but a yes ends with exit
code {int(ExitCode.USAGE)} and makes nothing. The new store has an id of its own and names in
"forked_from" what it goes on from. Where nothing is damaged nothing is made. A torn tail, such as a
crash leaves, needs no repair: opening the store takes care of it.

\b
  penin verify --dir memory
  penin repair --dir memory --to mended
"""
