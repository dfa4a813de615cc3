from __future__ import annotations

import asyncio

import pytest

from penin.core import door
from penin.core.transitions import Ack, AddScore, Message
from penin.errors import ClosedError, JournalFailedError, MailboxFullError
from penin.runtime.mailbox import Mailbox
from penin.storage.commits import FRAME_BYTES_MAX
from tests.runtime.stores import pending, within

BYTES_MAX = 2**20


def mailbox(messages_max=100, bytes_max=BYTES_MAX):
    opened = Mailbox(messages_max, bytes_max)
    opened.open()
    return opened


def scores(letters):
    return [letter.message.body.score for letter in letters]


def sizes(letters):
    return [len(letter.message.raw) for letter in letters]


def sized(size):
    return Message(bytes(size), AddScore(score=0.0))


async def test_letters_are_taken_in_the_order_they_were_put():
    box = mailbox()
    for number in range(5):
        box.put(door.add_score(float(number)), None)
    assert scores(await box.take(100, BYTES_MAX)) == [0.0, 1.0, 2.0, 3.0, 4.0]


async def test_no_more_letters_are_taken_than_asked_for():
    box = mailbox()
    for number in range(5):
        box.put(door.add_score(float(number)), None)
    assert scores(await box.take(2, BYTES_MAX)) == [0.0, 1.0]
    assert scores(await box.take(2, BYTES_MAX)) == [2.0, 3.0]
    assert scores(await box.take(2, BYTES_MAX)) == [4.0]


async def test_no_more_bytes_are_taken_than_asked_for():
    box = mailbox()
    for _ in range(4):
        box.put(sized(50), None)
    assert len(await box.take(100, 149)) == 2
    assert len(await box.take(100, 100)) == 2


async def test_a_letter_longer_than_the_bound_is_taken_alone():
    box = mailbox()
    box.put(sized(500), None)
    box.put(sized(1), None)
    assert sizes(await box.take(100, 100)) == [500]


async def test_what_is_taken_together_fits_one_commit():
    box = mailbox(bytes_max=2 * FRAME_BYTES_MAX)
    box.put(sized(2**20 - 1), None)
    box.put(sized(door.MESSAGE_BYTES_MAX), None)
    taken = await box.take(1024, 2**20)
    assert sum(sizes(taken)) <= door.MESSAGE_BYTES_MAX


async def test_take_waits_for_the_first_letter():
    box = mailbox()
    taking = await pending(box.take(100, BYTES_MAX))
    assert not taking.done()
    box.put(door.add_score(1.0), None)
    assert scores(await within(taking)) == [1.0]


async def test_a_full_mailbox_refuses():
    box = mailbox(messages_max=2)
    box.put(door.add_score(1.0), None)
    box.put(door.add_score(2.0), None)
    with pytest.raises(MailboxFullError) as caught:
        box.put(door.add_score(3.0), None)
    assert caught.value.messages_max == 2
    assert len(box) == 2


async def test_a_mailbox_is_full_in_bytes_too():
    box = mailbox(bytes_max=10)
    box.put(sized(11), None)
    with pytest.raises(MailboxFullError):
        box.put(sized(1), None)
    await box.take(100, 100)
    box.put(sized(1), None)


def waiting_to_put(box, score):
    return pending(box.put_waiting(door.add_score(score), None))


async def test_senders_get_room_in_the_order_of_asking():
    box = mailbox(messages_max=1)
    box.put(door.add_score(0.0), None)
    senders = [await waiting_to_put(box, float(number)) for number in (1, 2, 3)]
    order = []
    for _ in range(4):
        order += scores(await within(box.take(1, BYTES_MAX)))
    assert order == [0.0, 1.0, 2.0, 3.0]
    for sender in senders:
        sender.cancel()


async def test_who_comes_later_does_not_take_the_place_of_who_waits():
    box = mailbox(messages_max=1)
    box.put(door.add_score(0.0), None)
    sender = await waiting_to_put(box, 1.0)
    await box.take(1, BYTES_MAX)  # the place is that of the sender now, who has not run yet
    with pytest.raises(MailboxFullError):
        box.put(door.add_score(2.0), None)
    assert scores(await within(box.take(1, BYTES_MAX))) == [1.0]
    sender.cancel()


async def test_a_sender_cancelled_on_its_turn_passes_it_on():
    box = mailbox(messages_max=1)
    box.put(door.add_score(0.0), None)
    first, second = await waiting_to_put(box, 1.0), await waiting_to_put(box, 2.0)
    await box.take(1, BYTES_MAX)  # it is the turn of the first
    first.cancel()
    assert scores(await within(box.take(1, BYTES_MAX))) == [2.0]
    assert first.cancelled()
    second.cancel()
    await asyncio.wait({second})
    box.put(door.add_score(3.0), None)


async def test_a_sender_cancelled_before_its_turn_takes_none():
    box = mailbox(messages_max=1)
    box.put(door.add_score(0.0), None)
    first, second = await waiting_to_put(box, 1.0), await waiting_to_put(box, 2.0)
    first.cancel()
    await asyncio.wait({first})
    await box.take(1, BYTES_MAX)
    assert scores(await within(box.take(1, BYTES_MAX))) == [2.0]
    second.cancel()


async def test_a_cancelled_take_has_taken_nothing():
    box = mailbox()
    taking = await pending(box.take(100, BYTES_MAX))
    box.put(door.add_score(1.0), None)  # it is awake already, and has not run yet
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert scores(await within(box.take(100, BYTES_MAX))) == [1.0]


async def test_a_withdrawn_letter_is_left_out():
    box = mailbox()
    answers = [box.put(door.add_score(float(number)), None) for number in range(3)]
    answers[1].cancel()
    assert scores(await box.take(100, BYTES_MAX)) == [0.0, 2.0]


async def test_take_goes_on_waiting_when_all_that_there_was_is_withdrawn():
    box = mailbox()
    box.put(door.add_score(1.0), None).cancel()
    taking = await pending(box.take(100, BYTES_MAX))
    assert not taking.done()
    box.put(door.add_score(2.0), None)
    assert scores(await within(taking)) == [2.0]


async def test_a_mailbox_takes_nothing_before_it_is_open():
    with pytest.raises(ClosedError):
        Mailbox(10, 10).put(sized(1), None)


async def test_a_closed_mailbox_refuses_with_what_it_was_closed_with():
    box = mailbox()
    box.close(JournalFailedError("journal", "gone"))
    with pytest.raises(JournalFailedError, match="gone"):
        box.put(sized(1), None)


async def test_what_is_in_a_closed_mailbox_can_be_taken_and_then_nothing():
    box = mailbox()
    box.put(door.add_score(1.0), None)
    box.close(ClosedError("closed"))
    assert scores(await within(box.take(100, BYTES_MAX))) == [1.0]
    assert await within(box.take(100, BYTES_MAX)) == []


async def test_closing_wakes_the_taker_and_every_waiting_sender():
    box = mailbox(messages_max=1)
    taking = await pending(box.take(100, BYTES_MAX))
    box.close(ClosedError("closed"))
    assert await within(taking) == []

    full = mailbox(messages_max=1)
    full.put(sized(1), None)
    waiting = [await waiting_to_put(full, 1.0) for _ in range(3)]
    full.close(ClosedError("closed"))
    for outcome in await within(asyncio.gather(*waiting, return_exceptions=True)):
        assert isinstance(outcome, ClosedError)
    assert len(full) == 1


async def test_refusing_all_answers_every_queued_letter():
    box = mailbox()
    answers = [box.put(sized(1), None) for _ in range(3)]
    answers[0].cancel()
    box.refuse_all(ClosedError("closed"))
    for answer in answers[1:]:
        with pytest.raises(ClosedError):
            await answer
    assert len(box) == 0
    assert await within(box.take(100, BYTES_MAX)) == []


async def test_who_begins_to_wait_when_there_is_room_again_does_not_wait():
    box = mailbox(messages_max=1)
    box.put(door.add_score(0.0), None)
    late = box.put_waiting(door.add_score(1.0), None)  # a coroutine that nothing has begun yet
    await box.take(100, BYTES_MAX)
    sending = await pending(late)
    (letter,) = await within(box.take(100, BYTES_MAX))
    letter.answer.set_result(Ack(2))
    assert await within(sending) == Ack(2)
