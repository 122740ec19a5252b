"""What is served at which path. Starlette is imported when the app is made: everything else runs without it."""

from __future__ import annotations

import html
import math
import time
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from .access import SESSION, Access
from .address import Address
from .guard import App, Guard, cookie_name
from .hub import MAX_STREAMS, MAX_VIEWERS, Hub
from .streams import BOUNDARY, Record, make_stream, mjpeg, sse

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

ASSETS = Path(__file__).parent / "assets"
_BODY = 1024
"""Bytes of a login form: a token is much shorter."""
_HOUR = 3600.0
_MAX_STEPS = 1500


class BadRequest(Exception):
    """A parameter that can't be used."""


def make_app(hub: Hub, record: Record, address: Address, access: Access | None, texts: Mapping[str, str]) -> App:
    """The whole page as an ASGI app; `texts` has what index.html leaves open."""
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect
    from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse
    from starlette.responses import Response as PlainResponse
    from starlette.routing import Route

    def page(name: str, **more: str) -> str:
        text = (ASSETS / name).read_text(encoding="utf-8")
        for key, value in {**texts, **more}.items():
            text = text.replace("{{" + key + "}}", html.escape(value))
        return text

    def asset(name: str, media_type: str) -> Route:
        content = (ASSETS / name).read_bytes()

        async def answer(request: Request) -> Response:
            return PlainResponse(content, media_type=media_type, headers={"cache-control": "no-cache"})

        return Route(f"/{name}", answer, methods=["GET"])

    async def index(request: Request) -> Response:
        return HTMLResponse(page("index.html", login="yes" if access else "no"))

    async def login_form(request: Request) -> Response:
        if access is None or request.scope["mien.cookie"]:
            return RedirectResponse("/", 303)
        return HTMLResponse(page("login.html", message=""))

    async def login(request: Request) -> Response:
        if access is None:
            return RedirectResponse("/", 303)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY:
                return HTMLResponse(page("login.html", message="That is not the token."), 413)
        token = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0].strip()
        if not access.allows(token):
            return HTMLResponse(page("login.html", message="That is not the token."), 403)
        answer = RedirectResponse("/", 303)
        secure = address.certificate is not None
        answer.set_cookie(
            cookie_name(address), access.session(), SESSION, path="/", secure=secure, httponly=True, samesite="strict"
        )
        return answer

    async def logout(request: Request) -> Response:
        answer = RedirectResponse("/login" if access else "/", 303)
        secure = address.certificate is not None
        answer.delete_cookie(cookie_name(address), path="/", secure=secure, httponly=True, samesite="strict")
        return answer

    async def status(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(record.status))

    async def faces(request: Request) -> Response:
        return JSONResponse(hub.faces())

    async def events(request: Request) -> Response:
        query = _query(request, "since", "until", "limit", "after")
        since, until = _time(query, "since"), _time(query, "until")
        limit = _whole(query, "limit", 100, 1, 1000)
        after = _whole(query, "after", 0, 0, 2**53) if "after" in query else None
        return JSONResponse({"events": await run_in_threadpool(record.events, since, until, limit, after)})

    async def history(request: Request) -> Response:
        query = _query(request, "since", "until", "step")
        until = _time(query, "until")
        if until is None:  # a film's time is not the clock's; a whole minute is taken, which goes on
            until = (hub.time or time.time()) // 60 * 60 + 60
        since = _time(query, "since")
        since = until - _HOUR if since is None else since
        step = _whole(query, "step", 60, 60, 86_400)
        if step % 60:
            raise BadRequest("step must be a whole number of minutes, in seconds")
        step = max(step, math.ceil((until - since) / _MAX_STEPS / 60) * 60)
        rows = await run_in_threadpool(record.history, since, until, step) if since < until else []
        return JSONResponse({"step_s": step, "steps": rows})

    async def description(request: Request) -> Response:
        text = (ASSETS / "openapi.json").read_text(encoding="utf-8")
        return PlainResponse(text.replace("{{version}}", version("mien")), media_type="application/json")

    async def stream(request: Request) -> Response:
        if hub.streams >= MAX_STREAMS:
            return too_many("listen to the readings")
        return endless(request, sse(hub, record), "text/event-stream")

    async def picture(request: Request) -> Response:
        if not address.picture:
            raise HTTPException(404, "this page is served without the picture")
        if hub.viewers >= MAX_VIEWERS:
            return too_many("look at the picture")
        return endless(request, mjpeg(hub), f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    def endless(request: Request, content: AsyncGenerator[bytes, None], media_type: str) -> Response:
        if request.method == "HEAD":
            return PlainResponse(media_type=media_type)
        return make_stream(content, media_type)

    def too_many(what: str) -> Response:
        return JSONResponse({"error": f"too many {what} already"}, 503, {"retry-after": "10"})

    async def bad_request(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400)

    async def gone(request: Request, error: Exception) -> Response:
        return PlainResponse(status_code=400)  # to nobody: without this the server would log a traceback

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    routes = [
        Route("/", index, methods=["GET"]),
        asset("style.css", "text/css"),
        asset("page.js", "text/javascript"),
        asset("icon.svg", "image/svg+xml"),
        Route("/login", login_form, methods=["GET"]),
        Route("/login", login, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
        Route("/picture.mjpeg", picture, methods=["GET"]),
        Route("/api/v1/status", status, methods=["GET"]),
        Route("/api/v1/faces", faces, methods=["GET"]),
        Route("/api/v1/events", events, methods=["GET"]),
        Route("/api/v1/history", history, methods=["GET"]),
        Route("/api/v1/stream", stream, methods=["GET"]),
        Route("/api/v1/openapi.json", description, methods=["GET"]),
    ]
    app = Starlette(
        routes=routes, exception_handlers={BadRequest: bad_request, ClientDisconnect: gone, HTTPException: http_error}
    )
    app.router.redirect_slashes = False  # its answer would name whatever host the request named
    return Guard(app, address, access)


def _query(request: Request, *known: str) -> dict[str, str]:
    """The parameters, each at most once. Raises BadRequest."""
    pairs = request.query_params.multi_items()
    query = dict(pairs)
    if unknown := [name for name in query if name not in known]:
        raise BadRequest(f"unknown parameter {unknown[0]!r}: known are {', '.join(known)}")
    if len(query) < len(pairs):
        raise BadRequest("a parameter is given twice")
    return query


def _time(query: Mapping[str, str], name: str) -> float | None:
    """ISO 8601 with a time zone, as the log has it, in seconds since the Epoch."""
    if name not in query:
        return None
    try:
        moment = datetime.fromisoformat(query[name])
        if moment.tzinfo is None:
            raise ValueError("no time zone")
        return moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"{name} must be a time such as 2026-01-31T12:00:00Z") from error


def _whole(query: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high):
        raise BadRequest(f"{name} must be a whole number from {low} to {high}")
    return int(text)
