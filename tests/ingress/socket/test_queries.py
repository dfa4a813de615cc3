"""What can be asked, and what the answers look like."""

from __future__ import annotations

import os

import numpy as np
from pybase64 import b64decode

from penin import NumericVectorArtifact
from penin.core.transitions import Origin
from penin.ingress.socket import queries as queries_module
from penin.runtime.ledger import Selection, read_entries
from tests.fakes.crashable_filesystem import CrashableFileSystem
from tests.ingress.socket.raw import score, served


async def test_the_status_tells_who_serves_and_how_far_it_is():
    async with served() as store, await store.connect() as raw:
        _, found = await raw.ask(score(1.0), {"type": "status", "request": 1})
        assert found["request"] == 1
        value = found["value"]
        assert value["pid"] == os.getpid()
        assert value["dir"] == str(store.directory)
        assert (value["phase"], value["epoch"], value["fsync"]) == ("running", 1, "always")
        assert (value["applied_seq"], value["durable_seq"]) == (1, 1)
        assert (value["mailbox_messages"], value["mailbox_messages_max"]) == (0, 10_000)


async def test_an_artifact_has_its_bytes_and_can_be_sent_back():
    array = np.array([0.1, 2.5], np.float32)
    async with served() as store, await store.connect() as raw:
        await store.orchestrator.add_knowledge("k", NumericVectorArtifact(array, {"a": [1]}))
        found, missing = await raw.ask({"type": "get", "key": "k"}, {"type": "get", "key": "x"})
        assert missing == {"value": None, "seq": 0}
        vector = found["value"]["vector"]
        assert b64decode(vector["data"]) == array.tobytes()
        assert (vector["dtype"], found["value"]["metadata"]) == ("<f4", {"a": [1]})
        assert found["seq"] == 1
        again = await raw.ask({"type": "add_knowledge", "key": "again", **found["value"]})
        assert again["result"] == "ok"
        assert await store.orchestrator.get("again") == await store.orchestrator.get("k")


async def test_a_document_comes_with_the_seq_of_its_last_change():
    put = {"type": "put_document", "name": "d", "value": {"a": 1}}
    asked = {"type": "get_document", "name": "d"}
    async with served() as store, await store.connect() as raw:
        found = await raw.ask(asked, put, asked, {**put, "if_seq": 1}, {**put, "if_seq": 1})
        assert found[0] == {"value": None, "seq": 0}
        assert found[2] == {"value": {"a": 1}, "seq": found[1]["seq"]}
        assert [found[3]["result"], found[4]["result"]] == ["ok", "conflict"]


async def test_a_long_list_comes_in_several_lines_of_one_moment(monkeypatch):
    monkeypatch.setattr(queries_module, "PART_BYTES", 100)
    async with served() as store, await store.connect() as raw:
        for number in range(100):
            await store.orchestrator.append_history("h", number)
        raw.send({"type": "history", "name": "h", "request": 5})
        items, more, lines = [], True, 0
        while more:
            reply = await raw.reply()
            assert reply["request"] == 5
            items += reply["items"]
            more = reply["more"]
            lines += 1
        assert items == list(range(100))
        assert lines > 1
        assert await raw.ask({"type": "history", "name": "h", "last": 0}) == {
            "items": [],
            "more": False,
        }


async def test_what_json_has_no_word_for_is_a_tagged_value():
    tagged = {"__type__": "float", "value": "-inf"}
    async with served() as store, await store.connect() as raw:
        found = await raw.ask(
            score(tagged), {"type": "history", "name": "score_history"}, {"type": "statistics"}
        )
        assert found[1]["items"] == [tagged]
        assert found[2]["value"]["avg_score"] == tagged


async def test_the_nearest_come_best_first():
    async with served() as store, await store.connect() as raw:
        add = {"type": "extend_knowledge", "keys": ["a", "b"], "matrix": [[1.0, 0.0], [0.6, 0.8]]}
        more = {"metadata": [{"n": 1}, {"n": 2}]}
        asked = {"type": "nearest", "vector": [2.0, 0.0]}
        found = await raw.ask(
            add | more, asked, asked | {"k": 1}, asked | {"where": {"n": 2}, "metric": "dot"}
        )
        keys = [[item["key"] for item in reply["items"]] for reply in found[1:]]
        assert keys == [["a", "b"], ["a"], ["b"]]
        assert found[3]["items"][0]["score"] == 1.2


async def test_what_is_pruned_is_removed_by_who_asked_for_it():
    put = [{"type": "add_knowledge", "key": key, "vector": [1.0]} for key in ("a-1", "a-2", "b")]
    prune = {"type": "prune_knowledge", "prefix": "a-1"}
    named = {"type": "prune_knowledge", "prefix": "a-", "from": {"source": "cron", "name": "n"}}
    files = CrashableFileSystem()
    async with served(files) as store, await store.connect() as raw:
        found = await raw.ask(*put, prune, named, {**named, "from": {"source": 1}})
        assert [reply.get("value") for reply in found[3:]] == [1, 1, None]
        assert found[5]["error"]["field"] == "from.source"
        removals = read_entries(store.directory, Selection(type="remove_knowledge"), files)
        own, other = (entry.origin for entry in removals)
    assert own == Origin("socket", f"process {os.getpid()}")
    assert other == Origin("cron", "n")


async def test_durable_waits_and_tells_how_far_it_is():
    async with served() as store, await store.connect() as raw, await store.connect() as other:
        raw.send({"type": "durable", "seq": 2, "request": 1})
        await other.ask(score(1.0), score(1.0), score(1.0))
        assert (await raw.reply())["value"] in {2, 3}
