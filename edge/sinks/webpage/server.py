"""The web server, in a thread of its own. uvicorn is imported when it starts: everything else runs without it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from typing import Any

from ...errors import ConfigError, SinkError
from .address import Address
from .guard import App

MAX_CONNECTIONS = 64
OWING = 10.0
"""Seconds for a client to send its whole request, once it is connected or has begun."""
_MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
_STUCK = 15_000
"""Milliseconds after which the kernel gives up a connection whose other end takes nothing."""
_BUFFER = 128 * 1024
"""Bytes that the kernel holds for a slow reader: a few pictures, so that what it sees is not old."""
_GRACE = 0.5
"""Seconds for those who are connected to take the rest, when the server ends."""
_PATIENCE = 5.0
"""Seconds for the server to start, and to end."""


class Server:
    """Serves an app at an address until it is stopped."""

    def __init__(self, app: App, address: Address) -> None:
        self._app, self._address = app, address
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._uvicorn: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = address.port
        """The one that was taken, once started."""

    def start(self) -> None:
        """Raises ConfigError if the certificate can't be used, SinkError if the address can't."""
        import uvicorn

        self._check_certificate()
        self._socket = self._bind()
        self.port = self._socket.getsockname()[1]
        config = uvicorn.Config(
            self._app,
            http=make_protocol(),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",  # not a line for each broken request: whoever sends them would fill the log
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=_MAX_HEAD,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=3,
            ssl_certfile=self._address.certificate,
            ssl_keyfile=self._address.key,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="web server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the server; streams must have been told to end."""
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._loop.call_later, _GRACE, self._abort_all)
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._socket is not None:
            self._socket.close()
        self._socket = self._thread = self._uvicorn = self._loop = None

    def _abort_all(self) -> None:
        """Breaks off those who are stuck."""
        for connection in list(self._uvicorn.server_state.connections):
            connection.transport.abort()

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._loop.set_exception_handler(_note)
            await self._uvicorn.serve(sockets=[self._socket])

        with asyncio.Runner(loop_factory=_Loop) as runner:
            runner.run(serve())

    def _check_certificate(self) -> None:
        certificate, key = self._address.certificate, self._address.key
        if certificate is None:
            return
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            what = error.strerror if isinstance(error, OSError) and error.strerror else error
            files = f"{certificate} and {key}" if key else str(certificate)
            raise ConfigError(f"can't use the certificate in {files}: {what}") from error

    def _bind(self) -> socket.socket:
        host, port = self._address.host, self._address.port
        listener: socket.socket | None = None
        try:
            family, kind, protocol, _, where = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            listener = socket.socket(family, kind, protocol)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Connections inherit these.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STUCK)
            listener.bind(where)
            listener.listen(MAX_CONNECTIONS)
            listener.setblocking(False)
        except OSError as error:  # socket.gaierror is one
            if listener is not None:
                listener.close()
            hint = ": another program, or another mien, is there; take another port" if error.errno == 98 else ""
            raise SinkError(f"can't serve at {self._address.url()}: {error.strerror}{hint}") from error
        return listener


class _Loop(asyncio.SelectorEventLoop):
    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """As always, but a client that is slow to agree on a key doesn't get a whole minute for it."""
        if options.get("ssl"):
            options["ssl_handshake_timeout"] = OWING
        return await super().create_server(*args, **options)


def make_protocol() -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol with limits: how many connections, and how long a request may take to arrive."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Limited(H11Protocol):
        app: Any
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            app: Any = self.app

            async def app_that_can_abort(scope: Any, receive: Any, send: Any) -> None:
                scope["mien.abort"] = transport.abort
                await app(scope, receive, send)

            self.app = app_that_can_abort
            if len(self.connections) > MAX_CONNECTIONS:
                transport.abort()
            else:
                self._deadline = self.loop.call_later(OWING, transport.abort)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # The client owes us something until its request is whole: a slow one would hold its place for ever.
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
                self._stop_waiting()
            elif self._deadline is None and not self.transport.is_closing():
                self._deadline = self.loop.call_later(OWING, self.transport.abort)

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def _stop_waiting(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Limited


def _no_password() -> str:
    raise ValueError("its key is locked with a password: use one without")


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Instead of asyncio's words on standard error: a client that breaks off is no news."""
    logging.getLogger("mien").debug("web server: %s", context.get("message"), exc_info=context.get("exception"))
