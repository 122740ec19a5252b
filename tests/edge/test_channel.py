from __future__ import annotations

import threading

import pytest

from mien.edge.channel import Channel


def test_items_come_in_order_and_then_an_end() -> None:
    channel: Channel[int] = Channel(2)
    sender = threading.Thread(target=lambda: ([channel.send(i) for i in range(100)], channel.finish()))
    sender.start()
    assert list(channel) == list(range(100)) and channel.dropped == 0
    sender.join()


def test_a_dropping_one_keeps_the_newest() -> None:
    channel: Channel[int] = Channel(2, drops=True)
    for i in range(5):
        assert channel.send(i)
    channel.finish()
    assert list(channel) == [3, 4] and channel.dropped == 3


def test_an_error_comes_after_the_items() -> None:
    channel: Channel[int] = Channel(2)
    channel.send(1)
    channel.finish(ValueError("torn"))
    seen = []
    with pytest.raises(ValueError, match="torn"):
        for item in channel:
            seen.append(item)
    assert seen == [1]


def test_a_waiting_sender_is_let_go_when_nobody_wants_more() -> None:
    channel: Channel[int] = Channel(1)
    channel.send(1)
    answers: list[bool] = []
    sender = threading.Thread(target=lambda: answers.append(channel.send(2)))
    sender.start()
    channel.cancel()
    sender.join(timeout=5)
    assert answers == [False] and list(channel) == []
