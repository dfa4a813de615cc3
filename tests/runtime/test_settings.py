from __future__ import annotations

import pytest

from penin.errors import RefusedTypeError, RefusedValueError
from penin.settings import Settings, duration_s

HUGE = 10**5000  # more digits than Python makes of an integer


def type_name(value):
    return type(value).__name__


def test_the_bound_of_histories_has_a_bound():
    assert Settings(history_maxlen=2**31 - 1).history_maxlen == 2**31 - 1
    for number in (2**31, 2**63, HUGE):
        with pytest.raises(RefusedValueError, match="2147483647") as caught:
            Settings(history_maxlen=number)
        assert caught.value.field == "history_maxlen"


@pytest.mark.parametrize(
    "number", [HUGE, -HUGE, float("nan"), float("inf"), -1, 10**400], ids=type_name
)
def test_what_is_no_time_is_refused_in_a_short_sentence(number):
    with pytest.raises(RefusedValueError) as caught:
        Settings(lock_wait_s=number)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["batch_bytes_max", "mailbox_messages_max"])
def test_an_integer_without_end_is_refused_in_a_short_sentence(name):
    with pytest.raises(RefusedValueError) as caught:
        Settings(**{name: -HUGE})  # type: ignore[arg-type]
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", [[HUGE], "x" * 10_000, True, 1.5, {}, b"x"], ids=type_name)
def test_what_is_no_integer_is_refused_by_its_type(value):
    with pytest.raises(RefusedTypeError, match="not an integer") as caught:
        Settings(batch_messages_max=value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["never", [], None, HUGE], ids=type_name)
def test_an_unknown_fsync_is_refused(value):
    with pytest.raises(RefusedValueError, match="neither always nor everysec"):
        Settings(fsync=value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(None, 0), ("90s", 90), ("90m", 5400), ("36h", 129_600), ("7d", 604_800), ("2w", 1_209_600)],
)
def test_a_duration_is_a_number_and_a_unit(text, seconds):
    assert duration_s(Settings(keep_within=text).keep_within) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "0h", "-1h", "1.5h", "7 d", "7D", "1y", "9" * 99])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(RefusedValueError, match="such as 36h or 7d") as caught:
        Settings(keep_within=text)
    assert caught.value.field == "keep_within"


def test_a_duration_is_a_text():
    with pytest.raises(RefusedTypeError, match="keep_within"):
        Settings(keep_within=7)  # type: ignore[arg-type]


def test_the_checkpoint_before_the_newest_is_always_kept():
    with pytest.raises(RefusedValueError, match="way back"):
        Settings(keep_last=1)
    assert Settings(keep_last=2, keep_daily=0).keep_last == 2


def test_an_unknown_keeping_of_the_journal_is_refused():
    with pytest.raises(RefusedValueError, match="neither checkpoints nor forever"):
        Settings(keep_journal="never")  # type: ignore[arg-type]
