"""The knowledge base against a plain dictionary; what its space and its readers are promised."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping, MutableMapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from penin.core.artifacts import NumericVectorArtifact
from penin.core.knowledge import KnowledgeBase
from penin.core.mapped import SealedSegment
from penin.core.reclaim import ReclaimPlan
from penin.core.segments import MemorySegment
from tests.core.knowledge import (
    KEYS,
    KINDS,
    entries_of,
    file_of,
    filled,
    in_blocks,
    keys,
    kinds,
    made,
    put,
    reclaim_all,
    reopened,
)
from tests.core.model import Knowledge


class KnowledgeMachine(RuleBasedStateMachine):
    """Any sequence of changes, views, reclaims and spare segments in two halves, and reloads."""

    views: Bundle[Any] = Bundle("views")

    @initialize()
    def begin(self) -> None:
        self.base = KnowledgeBase()
        self.model = Knowledge()
        self.seqs: dict[str, int] = {}
        self.seq = 0
        self.plan: ReclaimPlan | None = None
        self.spare: MemorySegment | None = None

    def expected(self) -> list[tuple[str, tuple[str, bytes, bytes], int]]:
        return [(key, self.model[key].parts, self.seqs[key]) for key in self.model.order()]

    @rule(key=keys, kind=kinds, metadata=st.booleans())
    def put(self, key, kind, metadata):
        self.seq += 1
        artifact = made(self.seq, kind, metadata=metadata)
        put(self.base, key, artifact, self.seq)
        self.model.put(key, artifact)
        self.seqs[key] = self.seq

    @rule(
        several=st.lists(keys, min_size=1, max_size=9),
        kind=kinds,
        metadata=st.booleans(),
        way=st.sampled_from(["bulk", "file", "run"]),
    )
    def extend(self, several, kind, metadata, way):
        """Some keys stand twice: then the last row counts, as with one after the other."""
        self.seq += 1
        seqs = [self.seq] * len(several)
        rows = [made(self.seq * 10 + row, kind, metadata=metadata) for row in range(len(several))]
        data = b"".join(row.parts[1] for row in rows)
        objects = [row.parts[2] for row in rows] if metadata else None
        if way == "file":
            before = b"\0" * self.seq  # rows begin anywhere in a file
            segment = SealedSegment(
                (kind[0], len(data) // len(rows)), file_of(before + data), self.seq
            )
            self.base.extend_sealed(several, segment, objects, self.seq)
        else:
            if way == "run":  # messages of one row each, applied at once
                seqs = list(range(self.seq, self.seq + len(several)))
                self.seq = seqs[-1]
            self.base.extend(several, kind[0], data, objects, seqs)
        for key, artifact, seq in zip(several, rows, seqs, strict=True):
            self.model.put(key, artifact)
            self.seqs[key] = seq

    @rule(key=keys)
    def remove(self, key):
        assert self.base.remove(key) is self.model.remove(key)
        self.seqs.pop(key, None)

    @rule(target=views)
    def view(self):
        return self.base.view(), self.expected()

    @rule(taken=views)
    def a_view_shows_what_it_showed(self, taken):
        view, expected = taken
        assert entries_of(view) == expected
        assert len(view) == len(expected) == sum(block.live_count for block in view.blocks())
        assert list(view.keys()) == [key for key, _, _ in expected]
        assert in_blocks(view) == [(key, *parts[1:], seq) for key, parts, seq in expected]

    @rule()
    def plan_and_copy(self):
        self.plan = self.base.reclaim_plan()
        if self.plan is not None:
            self.plan.copy()

    @precondition(lambda self: self.plan is not None)
    @rule()
    def adopt(self):
        assert self.plan is not None
        assert self.base.adopt(self.plan)
        assert not self.base.adopt(self.plan)
        self.plan = None

    @rule()
    def make_spare(self):
        self.spare = self.base.spare_due()
        if self.spare is not None:
            self.spare.touch()

    @precondition(lambda self: self.spare is not None)
    @rule()
    def take_spare(self):
        assert self.spare is not None
        self.base.take_spare(self.spare)
        self.spare = None

    @rule()
    def reload(self):
        loaded = KnowledgeBase()
        for key, artifact, seq in self.base.view().entries():
            put(loaded, key, artifact, seq)
        self.base, self.plan, self.spare = loaded, None, None

    @rule()
    def reopen(self):
        """Now all keys are loaded ones, and what comes after replaces, removes and moves them."""
        self.base, self.plan, self.spare = reopened(self.base), None, None

    @invariant()
    def it_is_what_the_dictionary_is(self):
        assert list(self.base.items()) == [(key, self.model[key]) for key in self.model.order()]
        assert self.base == self.model
        assert len(self.base) == len(self.model)
        for key in KEYS:
            assert (key in self.base) is (key in self.model)
            assert self.base.get(key) == self.model.get(key)
            assert self.base.seq_of(key) == self.seqs.get(key, 0)


@pytest.mark.usefixtures("_small")
def test_it_does_what_a_dictionary_does_through_any_changes_views_and_reclaims():
    run_state_machine_as_test(KnowledgeMachine)


@pytest.mark.usefixtures("_small")
@given(
    st.lists(st.tuples(keys, kinds, st.booleans(), st.booleans()), max_size=60),
    st.integers(0, 60),
)
def test_when_reclaims_happen_makes_no_difference(changes, reopens_at):
    reclaimed, plain = KnowledgeBase(), KnowledgeBase()
    for number, (key, kind, is_put, reclaims) in enumerate(changes):
        if number == reopens_at:
            reclaimed = reopened(reclaimed)
        for base in (reclaimed, plain):
            if is_put:
                put(base, key, made(number, kind, metadata=True), number)
            else:
                base.remove(key)
        if reclaims:
            reclaim_all(reclaimed)
    assert entries_of(reclaimed.view()) == entries_of(plain.view())


class TestMapping:
    def test_only_transitions_change_it(self) -> None:
        base: Any = filled(2)
        artifact = base["0"]
        assert isinstance(base, MutableMapping)
        for change in (
            lambda: base.__setitem__("0", artifact),
            lambda: base.__delitem__("0"),
            lambda: base.setdefault("new", artifact),
            lambda: base.update({"0": artifact}),
            lambda: base.pop("0"),
            base.popitem,
            base.clear,
        ):
            with pytest.raises(TypeError, match="add_knowledge"):
                change()
        with pytest.raises(TypeError, match="add_knowledge"):
            KnowledgeBase().clear()
        assert list(base) == ["0", "1"]

    def test_it_equals_any_mapping_with_the_same_artifacts(self) -> None:
        base: Any = filled(3)
        plain = {key: base[key] for key in ("2", "0", "1")}
        assert base == plain
        assert plain == base
        assert base == filled(3)
        assert base != filled(2)
        assert base != [("0", base["0"])]
        assert isinstance(base, Mapping)

    def test_what_is_no_text_is_no_key(self) -> None:
        base: Any = filled(1)
        assert 0 not in base
        assert base.get(0) is None
        with pytest.raises(KeyError):
            base[None]

    def test_iterating_shows_the_moment_at_which_it_began(self) -> None:
        base = filled(5)
        seen = []
        for key, artifact in base.items():
            seen.append((key, artifact.metadata["number"]))
            for other in ("1", "3"):
                base.remove(other)
            put(base, f"new {key}", artifact, 9)
        assert seen == [(str(number), number) for number in range(5)]
        assert [artifact.metadata["number"] for artifact in base.values()] == [0, 2, 4, *range(5)]

    def test_what_it_shows_of_itself_does_not_grow_with_it(self) -> None:
        assert repr(filled(1000)) == "<KnowledgeBase of 1000 artifacts>"


class TestOrder:
    def test_a_replaced_key_goes_to_the_end_of_its_column(self) -> None:
        base = filled(3)
        put(base, "0", made(0, ("<f4", 4), metadata=False), 4)
        assert list(base) == ["1", "2", "0"]

    def test_columns_stand_in_the_order_of_their_first_vector(self) -> None:
        base = KnowledgeBase()
        for key, kind in (("a", KINDS[0]), ("b", KINDS[1]), ("c", KINDS[0])):
            put(base, key, made(1, kind, metadata=False), 1)
        assert list(base) == ["a", "c", "b"]

    def test_a_column_that_became_empty_begins_anew(self) -> None:
        base = KnowledgeBase()
        put(base, "a", made(1, KINDS[0], metadata=False), 1)
        put(base, "b", made(1, KINDS[1], metadata=False), 2)
        put(base, "a", made(2, KINDS[0], metadata=False), 3)
        assert list(base) == ["a", "b"]
        base.remove("a")
        put(base, "a", made(1, KINDS[0], metadata=False), 4)
        assert list(base) == ["b", "a"]


class TestArtifacts:
    def test_an_artifact_is_a_read_only_view_that_stays_what_it_is(self) -> None:
        base = filled(10)
        artifact = base["3"]
        array = artifact.array
        assert not array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
        for number in range(10):
            base.remove(str(number))
        assert artifact == made(3, ("<f4", 4), metadata=True)
        assert len(artifact) == 4

    def test_an_artifact_can_be_copied_pickled_and_put_again(self) -> None:
        artifact = filled(1)["0"]
        assert copy.deepcopy(artifact) == artifact
        assert pickle.loads(pickle.dumps(artifact)) == artifact
        assert NumericVectorArtifact(artifact.array, artifact.metadata) == artifact
        assert [type(part) for part in artifact.parts] == [str, bytes, bytes]


class TestViews:
    def test_what_a_reader_holds_of_a_view_does_not_hinder_the_writer(self) -> None:
        base = filled(100)
        view = base.view()
        held = [
            (block.matrix, block.live, block.seqs, block.artifact(0)) for block in view.blocks()
        ]
        expected = entries_of(filled(100).view())
        seen = []
        for number, (key, artifact, seq) in enumerate(view.entries()):
            put(base, f"{key} again", artifact, 101 + number)
            base.remove(str(99 - number))
            seen.append((key, artifact.parts, seq))
        assert seen == expected
        assert [matrix.shape for matrix, *_ in held] == [(100, 4)]
        assert list(base) == [f"{number} again" for number in range(100)]

    def test_a_block_has_dead_rows_and_tells_which(self) -> None:
        base = filled(4)
        base.remove("1")
        put(base, "0", made(7, ("<f4", 4), metadata=False), 9)
        (block,) = base.view().blocks()
        assert block.count == 5
        assert block.live.tolist() == [False, False, True, True, True]
        assert block.rows() == [2, 3, 4]
        assert block.keys() == ["0", "1", "2", "3", "0"]
        assert block.seqs.tolist() == [1, 2, 3, 4, 9]
        assert block.matrix[:, 0].tolist() == [0, 1, 2, 3, 7]
        assert block.metadata(4) == b"{}"
        assert not block.matrix.flags.writeable
        assert not block.live.flags.writeable
        assert not block.seqs.flags.writeable

    def test_an_empty_view_has_nothing(self) -> None:
        base = filled(1)
        base.remove("0")
        for each in (base, KnowledgeBase()):
            assert len(each.view()) == 0
            assert list(each.view().blocks()) == []
            assert list(each.view().entries()) == []
