"""Stands before every page: who asks, under which name, from where; and what a browser may do with the answer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from .access import Access
from .address import Address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOCAL = ("localhost", "127.0.0.1", "::1")
_OPEN = ("/login", "/style.css", "/login.js", "/icon.svg")
"""What the login itself needs."""
_HEADERS = {
    # Nothing from elsewhere, and no script or style within the page: what is injected doesn't run.
    "content-security-policy": (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Refusal(Exception):
    """A request that isn't answered: its status, and why."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


class Guard:
    """Lets requests through to `app` that may see it, and puts the security headers on every answer."""

    def __init__(self, app: App, address: Address, access: Access | None) -> None:
        """Without `access` everyone may see it who can reach it."""
        self._app, self._address, self._access = app, address, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            headers = _headers(scope)
            self._check_name(headers)
            _check_origin(scope, headers)
            scope["mien.cookie"] = self._has_session(headers)
            if self._access and scope["path"] not in _OPEN and not scope["mien.cookie"]:
                self._check_token(headers)
        except Refusal as refusal:
            await self._refuse(refusal, scope, send)
        else:
            await self._app(scope, receive, _adding_headers(send))

    def _check_name(self, headers: dict[str, str]) -> None:
        """On loopback another name means that a page elsewhere had its own name lead here (DNS rebinding)."""
        if not self._address.is_loopback:
            return  # there the token, or the cookie, which belongs to one name, keeps others out
        try:
            name = urlsplit(f"//{headers.get('host', '')}").hostname
        except ValueError:
            name = None
        if name not in (*_LOCAL, self._address.host):
            raise Refusal(421, "this page is served to this machine alone: open it as localhost")

    def _has_session(self, headers: dict[str, str]) -> bool:
        if self._access is None:
            return False
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(cookie_name(self._address))
        except CookieError:
            return False
        return cookie is not None and self._access.knows(cookie.value)

    def _check_token(self, headers: dict[str, str]) -> None:
        assert self._access is not None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not self._access.allows(token.strip()):
            raise Refusal(401, "send the token as Authorization: Bearer TOKEN, or log in at /login")

    async def _refuse(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        status, headers = refusal.status, [(b"content-type", b"application/json")]
        if status == 401 and scope["path"] == "/":
            status, headers = 303, [(b"location", b"/login")]
        elif status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        body = json.dumps({"error": refusal.reason}).encode()
        headers.append((b"content-length", str(len(body)).encode()))
        send = _adding_headers(send)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def cookie_name(address: Address) -> str:
    """With TLS its name makes browsers refuse it from any other host, or without TLS."""
    return "__Host-mien" if address.certificate else "mien"


def _headers(scope: Scope) -> dict[str, str]:
    """Names in small letters; one that tells who asks may be there once only."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        if name in headers and name in ("host", "origin", "authorization"):
            raise Refusal(400, f"the header {name} is there twice")
        value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}; {value}" if name == "cookie" and name in headers else value
    return headers


def _check_origin(scope: Scope, headers: dict[str, str]) -> None:
    """Pages of other origins may lead here by a link, but neither embed the picture nor send forms."""
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
    safe = scope["method"] in ("GET", "HEAD")
    if site not in ("none", "same-origin") and not (safe and mode == "navigate"):
        raise Refusal(403, "another site's page can't do that")
    if not safe and "origin" in headers and urlsplit_host(headers["origin"]) != headers.get("host"):
        raise Refusal(403, "another site's page can't do that")


def urlsplit_host(origin: str) -> str | None:
    """Host and port of an origin; None if it is none."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None


def _adding_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            names = {name.lower() for name, _ in message.get("headers", ())}
            more = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in names]
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return send_with_headers
