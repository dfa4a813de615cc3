"""Any sequence of calls does what the plain model says, and survives a file at every point."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from penin.core import OmegaMetaOrchestrator
from tests.core import strategies
from tests.core.model import Model, contents
from tests.core.strategies import Call, exactly_equal


def run(orchestrator: OmegaMetaOrchestrator, call: Call) -> str:
    """Make one call and return the result of its acknowledgement."""
    name, arguments, keywords = call
    result: str = getattr(orchestrator, name)(*arguments, **keywords).result
    return result


@given(st.integers(1, 4), st.lists(strategies.calls(), max_size=12))
def test_any_sequence_of_calls_does_what_the_model_says(maxlen: int, calls: list[Call]) -> None:
    model, orchestrator = Model(maxlen), OmegaMetaOrchestrator(history_maxlen=maxlen)
    model.seq = orchestrator.seq

    for call in calls:
        assert run(orchestrator, call) == model.run(call), call
        assert exactly_equal(contents(orchestrator), model.contents()), call
        assert list(orchestrator.knowledge_base) == model.knowledge.order()


@given(st.lists(strategies.calls(), max_size=8), st.lists(strategies.calls(), max_size=4))
def test_any_state_survives_a_file_and_goes_on_the_same(
    before: list[Call], after: list[Call]
) -> None:
    saved, loaded = OmegaMetaOrchestrator(), OmegaMetaOrchestrator()
    for call in before:
        run(saved, call)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.json"
        saved.save_state(path)
        assert loaded.load_state(path) is True

    assert exactly_equal(contents(loaded), contents(saved))
    # Conditions hold against the same seqs, and bounds are the same ones.
    for call in after:
        assert run(loaded, call) == run(saved, call), call
        assert exactly_equal(contents(loaded), contents(saved)), call
