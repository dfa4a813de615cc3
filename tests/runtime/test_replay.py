"""Any sequence of messages: the live state equals the recovered one, at every prefix.

And under any settings at recovery: another `fsync`, another batching, another `history_maxlen`,
which is a transition of its own and otherwise changes nothing of what is replayed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from penin.core import door
from penin.core.orchestrator import OmegaMetaOrchestrator
from penin.core.state import State
from penin.core.transitions import Message
from penin.runtime.recovery import apply_commit
from penin.storage.reader import JournalReader
from tests.core.strategies import exactly_equal, messages
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.runtime.stores import JOURNAL, open_on, seen, state_on

BEGINNING = {
    "history_maxlen": st.none() | st.integers(1, 6),
    "fsync": st.sampled_from(["always", "everysec"]),
    "batch_messages_max": st.integers(1, 8),
    "batch_bytes_max": st.sampled_from([1, 200, 2**20]),
    "checkpoint_transitions_max": st.sampled_from([1, 3, 100_000]),
}
settings_of_a_store = st.fixed_dictionaries(BEGINNING)


def with_ids(sequence: list[Message]) -> list[Message]:
    return [
        door.stamp(message, f"m-{number}" if number % 2 else None, None)
        for number, message in enumerate(sequence)
    ]


sequences = st.lists(messages(), min_size=1, max_size=12).map(with_ids)


def plain(state: State) -> dict[str, Any]:
    return seen(OmegaMetaOrchestrator.from_state(state))


def everything(state: State) -> dict[str, Any]:
    """What readers see, and what later transitions depend on."""
    return {
        **plain(state),
        "history_maxlen": state.history_maxlen,
        "document_seqs": state.document_seqs,
        "history_seqs": state.history_seqs,
        "message_ids": (state.message_ids.maxlen, state.message_ids.kept()),
    }


def prefixes_of(sequence: list[Message], settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The state after each message, from applying all messages before it to an empty state."""
    first = settings["history_maxlen"]
    head = [] if first in (None, State().history_maxlen) else [door.set_history_maxlen(first)]
    found = {}
    for end in range(len(head) + len(sequence) + 1):
        state = State()
        for message in (head + sequence)[:end]:
            state.apply(message.body, state.seq + 1)
        found[state.seq] = everything(state)
    return found


async def live(fs, sequence, settings, *, together):
    """Send them, one after the other or all at once; what readers saw at the end."""
    async with open_on(fs, **settings) as orchestrator:
        if together:
            await asyncio.gather(*[orchestrator.send_nowait(message) for message in sequence])
        else:
            for message in sequence:
                await orchestrator.send(message)
        shown = everything(orchestrator._actor.state)
        killed = fs.after_kill()
    return shown, killed


async def reopened(fs, settings):
    async with open_on(fs, **settings) as orchestrator:
        return everything(orchestrator._actor.state)


@given(sequences, settings_of_a_store, settings_of_a_store, st.booleans())
def test_the_recovered_state_is_the_live_state(sequence, before, after, together):
    fs = CrashableFileSystem()
    shown, killed = asyncio.run(live(fs, sequence, before, together=together))
    assert exactly_equal(shown, prefixes_of(sequence, before)[shown["seq"]])
    for disk in (killed, fs):
        recovered = asyncio.run(reopened(disk, {**after, "history_maxlen": None}))
        assert exactly_equal(recovered, shown)
        assert exactly_equal(seen(state_on(disk)), plain_of(shown))


def plain_of(shown):
    return {name: shown[name] for name in ("seq", "knowledge", "histories", "documents")}


@given(sequences, settings_of_a_store, st.integers(1, 6))
def test_another_bound_at_recovery_is_one_more_transition_and_nothing_else(
    sequence, before, maxlen
):
    fs = CrashableFileSystem()
    shown, killed = asyncio.run(live(fs, sequence, before, together=True))
    recovered = asyncio.run(reopened(killed, {"history_maxlen": maxlen}))
    expected = State()
    for commit in JournalReader(killed, JOURNAL).read(0) if on_journal(killed) else ():
        apply_commit(expected, commit, Path("store"), None)
    if expected.seq:
        assert exactly_equal(recovered, everything(expected))
    assert recovered["history_maxlen"] == maxlen
    assert recovered["seq"] == shown["seq"] + (shown["history_maxlen"] != maxlen)
    again = asyncio.run(reopened(killed, {"history_maxlen": maxlen}))
    assert exactly_equal(again, recovered)


def on_journal(fs):
    """Whether the journal is still there from the first transition on."""
    return fs.names(JOURNAL)[0] == f"{1:020d}.jsonl"


@given(sequences, settings_of_a_store)
def test_every_prefix_of_the_journal_is_the_live_state_of_that_moment(sequence, settings):
    settings = {**settings, "checkpoint_transitions_max": 100_000}
    fs = CrashableFileSystem()
    _, killed = asyncio.run(live(fs, sequence, settings, together=True))
    prefixes = prefixes_of(sequence, settings)
    state = State()
    for commit in JournalReader(killed, JOURNAL).read(0):
        apply_commit(state, commit, Path("store"), None)
        assert exactly_equal(everything(state), prefixes[commit.seq])


@given(sequences, settings_of_a_store, st.data())
def test_a_store_cut_after_any_commit_opens_with_the_state_of_that_moment(sequence, settings, data):
    settings = {**settings, "checkpoint_transitions_max": 100_000}
    fs = CrashableFileSystem()
    _, killed = asyncio.run(live(fs, sequence, settings, together=False))
    path = JOURNAL / f"{1:020d}.jsonl"
    lines = killed.content(path).splitlines(keepends=True)
    kept = data.draw(st.integers(2, len(lines)), label="lines kept")
    killed.replace_content(path, b"".join(lines[:kept]))
    recovered = asyncio.run(reopened(killed, {}))
    assert exactly_equal(recovered, prefixes_of(sequence, settings)[recovered["seq"]])


@given(sequences, settings_of_a_store, settings_of_a_store)
def test_a_checkpoint_anywhere_changes_nothing(sequence, before, after):
    middle = len(sequence) // 2
    fs = CrashableFileSystem()

    async def with_checkpoint():
        async with open_on(fs, **before) as orchestrator:
            for message in sequence[:middle]:
                await orchestrator.send(message)
            await orchestrator.checkpoint()
            for message in sequence[middle:]:
                await orchestrator.send(message)
            return everything(orchestrator._actor.state), fs.after_kill()

    shown, killed = asyncio.run(with_checkpoint())
    assert exactly_equal(shown, prefixes_of(sequence, before)[shown["seq"]])
    recovered = asyncio.run(reopened(killed, {**after, "history_maxlen": None}))
    assert exactly_equal(recovered, shown)
