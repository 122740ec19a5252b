"""A bounded queue between two threads, whose ends can both be closed."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """Items from one thread to another, at most `size` of them under way.

    A full one makes the sender wait, or drops its oldest item, if it was told to, and counts it.
    """

    def __init__(self, size: int, drops: bool = False) -> None:
        self._items: deque[T] = deque()
        self._size, self._drops = size, drops
        self._changed = threading.Condition()
        self._finished = self._cancelled = False
        self._error: BaseException | None = None
        self.dropped = 0
        """Items that were thrown away because the receiver was slow."""

    def send(self, item: T) -> bool:
        """Hands an item over; False if the receiver wants no more."""
        with self._changed:
            while len(self._items) >= self._size and not self._cancelled:
                if self._drops:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._changed.wait()
            if self._cancelled:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def receive(self, timeout: float) -> T | None:
        """The next item; None if there was none for `timeout` seconds, or no more will come (see `ended`)."""
        with self._changed:
            if not self._items and not self._finished and not self._cancelled:
                self._changed.wait(timeout)
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def ended(self) -> bool:
        """Whether none waits and no more will come."""
        with self._changed:
            return not self._items and (self._finished or self._cancelled)

    @property
    def waiting(self) -> int:
        """Items that wait."""
        return len(self._items)

    def finish(self, error: BaseException | None = None) -> None:
        """The sender has no more, or failed."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def cancel(self) -> None:
        """The receiver wants no more."""
        with self._changed:
            self._cancelled = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        """Items until the sender finishes; then raises what it failed with, if it did."""
        while True:
            with self._changed:
                while not self._items and not self._finished and not self._cancelled:
                    # Not for ever: so that a signal that arrives in the main thread is handled.
                    self._changed.wait(0.2)
                if self._cancelled:
                    return
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
