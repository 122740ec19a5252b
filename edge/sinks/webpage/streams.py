"""Answers without an end: the live picture, and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Protocol

from .hub import FACES_RATE, PICTURE_RATE, Hub

if TYPE_CHECKING:
    from starlette.responses import Response

STALL = 10.0
"""Seconds for which a reader may take nothing before it is dropped."""
BOUNDARY = "picture"
"""Between the parts of the live picture."""


class Record(Protocol):
    """What the page is asked for besides the latest picture and faces; called in any thread, each call is quick."""

    def status(self) -> dict[str, Any]:
        """The run's state."""

    def events(self, since: float | None, until: float | None, limit: int, after: int | None) -> list[dict[str, Any]]:
        """The first `limit` events whose number is greater than `after`, or the last ones; times in seconds."""

    def history(self, since: float, until: float, step: int) -> list[dict[str, Any]]:
        """Seconds of each emotion in each `step` seconds, a whole number of minutes."""


async def mjpeg(hub: Hub) -> AsyncGenerator[bytes, None]:
    """Pictures one after another, each the latest when the reader has taken the one before."""
    hub.viewers += 1
    try:
        sent, _ = hub.picture  # not that one: it is from when somebody looked last
        with hub.listening() as changed:
            while not hub.closed:
                changed.clear()
                number, data = hub.picture
                if number > sent:
                    sent = number
                    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    yield head.encode() + data + b"\r\n"
                    await asyncio.sleep(1 / PICTURE_RATE)
                else:
                    await _wait(changed, 1.0)
    finally:
        hub.viewers -= 1


async def sse(hub: Hub, record: Record) -> AsyncGenerator[bytes, None]:
    """Readings when there are new ones, the state and new events every second."""
    from starlette.concurrency import run_in_threadpool

    hub.streams += 1
    try:
        loop = asyncio.get_running_loop()
        newest = await run_in_threadpool(record.events, None, None, 1, None)
        seen = newest[-1]["id"] if newest else 0
        shown, due = None, 0.0
        with hub.listening() as changed:
            while not hub.closed:
                changed.clear()
                if loop.time() >= due:
                    due = loop.time() + 1.0
                    yield _message("status", await run_in_threadpool(record.status))
                    for event in await run_in_threadpool(record.events, None, None, 100, seen):
                        seen = event["id"]
                        yield _message("event", event)
                if shown is None or hub.time != shown:
                    shown = hub.time
                    yield _message("faces", hub.faces_and_durations())
                await asyncio.sleep(1 / FACES_RATE)
                await _wait(changed, due - loop.time())
    finally:
        hub.streams -= 1


def _message(kind: str, value: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        pass


def make_stream(content: AsyncGenerator[bytes, None], media_type: str) -> Response:
    """An answer without end, that drops a reader who takes nothing for a while."""
    from starlette.responses import StreamingResponse

    class Stuck(Exception):
        pass

    class Stream(StreamingResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def send_in_time(message: Any) -> None:
                try:
                    async with asyncio.timeout(STALL):
                        await send(message)
                except TimeoutError:
                    raise Stuck from None

            try:
                await super().__call__(scope, receive, send_in_time)
            except* Stuck:
                scope["mien.abort"]()
                await asyncio.sleep(0.01)  # until the server has noticed, else it takes this for a mistake
            finally:
                await content.aclose()  # now, not when the garbage is collected: it counts who looks

    return Stream(content, media_type=media_type)
