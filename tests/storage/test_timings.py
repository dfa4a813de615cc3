"""Timings: a histogram that is told by one thread and looked at from any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penin.storage.timings import BOUNDS_S, Timings

SECONDS = st.lists(st.floats(0, 100), max_size=60)


@given(SECONDS, SECONDS)
def test_every_time_is_in_the_one_bucket_that_it_fits_in(first, second):
    timings = Timings()
    for seconds in first:
        timings.observe(seconds)
    before = timings.view()
    for seconds in second:
        timings.observe(seconds)
    later = timings.view().since(before)
    assert later.count == len(second)
    assert before.count == len(first)
    lower = (-1.0, *BOUNDS_S)
    upper = (*BOUNDS_S, float("inf"))
    for count, low, high in zip(later.counts, lower, upper, strict=True):
        assert count == sum(low < seconds <= high for seconds in second)
    assert later.sum_s == pytest.approx(sum(second), abs=1e-6)
    assert later.last_s == ((first + second) or [None])[-1]


@given(SECONDS, st.floats(0.01, 1.0))
def test_a_quantile_is_a_bound_that_the_share_stayed_within(times, share):
    timings = Timings()
    for seconds in times:
        timings.observe(seconds)
    found = timings.view().quantile_s(share)
    if not times:
        assert found is None
        return
    assert found is not None
    within = sum(seconds <= found for seconds in times)
    assert within >= share * len(times) - 1e-9 or found == BOUNDS_S[-1]
