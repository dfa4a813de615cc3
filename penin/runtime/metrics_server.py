"""Metrics and health over HTTP: `/metrics`, `/healthz`, `/readyz`.

It has a thread of its own, and one for each request. So a slow reader holds up nobody, and an
event loop that does not turn any more is told as that instead of not being answered.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import BaseServer, ThreadingTCPServer
from typing import TYPE_CHECKING, Any, Final

from anyio import TASK_STATUS_IGNORED, CancelScope, to_thread
from anyio.abc import TaskStatus

from penin.errors import UsageError
from penin.runtime.exposition import exposed, require_prometheus
from penin.runtime.health import Health

if TYPE_CHECKING:
    from penin.runtime.supervisor import Supervisor

PATIENCE_S: Final = 2.0
"""How long an answer of the actor, or of the disk, is waited for."""
REQUESTS_MAX: Final = 16
"""So many requests are answered at a time; more are not taken."""
READ_S: Final = 5.0
"""How long a client may take for its request, and to read the answer."""
_SHUTDOWN_POLL_S: Final = 0.1
_TEXT: Final = "text/plain; charset=utf-8"


class MetricsServer:
    """Serves one supervisor at `host:port`, as a companion from its start to its end.

    Made, it listens: raises UsageError for an address that is none or cannot be listened at, for
    one beyond this machine without `anywhere`, and where prometheus-client is not installed.
    """

    def __init__(self, address: str, *, anywhere: bool = False) -> None:
        require_prometheus()
        host, port = _split(address)
        try:
            family, _, _, _, place = socket.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            if not anywhere and not ipaddress.ip_address(place[0]).is_loopback:
                raise UsageError(
                    f"metrics at {address}: it is not of this machine alone, who reaches it can "
                    "read them: that has to be asked for (--metrics-anywhere)"
                )
            self._server = _Server(family, place)
        except OSError as error:
            raise UsageError(f"metrics at {address}: {error.strerror}") from error

    @property
    def address(self) -> str:
        """Where it listens; the port is the real one also where 0 was asked for."""
        host, port = map(str, self._server.server_address[:2])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Listen no more; for one that is not run."""
        self._server.server_close()

    async def run(
        self, supervisor: Supervisor, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED
    ) -> None:
        """Serve until cancelled."""
        server = self._server
        server.answers = Answers(supervisor, asyncio.get_running_loop())
        thread = threading.Thread(
            target=server.serve_forever, args=[_SHUTDOWN_POLL_S], name="penin-metrics", daemon=True
        )
        thread.start()
        supervisor.log.info("metrics.served", address=self.address)
        task_status.started()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(server.shutdown)
            server.server_close()


Answer = tuple[HTTPStatus, bytes, str]


class Answers:
    """What each path answers; called from threads that are not the event loop's."""

    def __init__(self, supervisor: Supervisor, loop: asyncio.AbstractEventLoop) -> None:
        self._supervisor = supervisor
        self._loop = loop
        self._health = Health(supervisor, PATIENCE_S)

    def answer(self, path: str, accept: str) -> Answer:
        """The answer to a request of a path; `accept` is what the client wants of the metrics."""
        if path == "/metrics":
            return HTTPStatus.OK, *exposed(self._supervisor, accept)
        if path == "/healthz":
            return self._told(self._illness())
        if path == "/readyz":
            return self._told(self._unreadiness())
        return HTTPStatus.NOT_FOUND, b"there are /metrics, /healthz and /readyz\n", _TEXT

    def _told(self, question: Coroutine[Any, Any, str | None]) -> Answer:
        cause: str | None
        try:
            asked = asyncio.run_coroutine_threadsafe(question, self._loop)
            try:
                cause = asked.result(2 * PATIENCE_S)
            except TimeoutError:
                asked.cancel()
                cause = "the event loop does not turn"
        except (CancelledError, RuntimeError):  # of a loop that is closed
            question.close()
            cause = "the worker has ended"
        if cause is None:
            return HTTPStatus.OK, b"ok\n", _TEXT
        return HTTPStatus.SERVICE_UNAVAILABLE, f"{cause}\n".encode(), _TEXT

    async def _illness(self) -> str | None:
        """Why the worker is not alive."""
        supervisor = self._supervisor
        if supervisor.failure is not None:
            return f"failed: {supervisor.failure}"
        if supervisor.actor is None or supervisor.phase not in {"running", "draining"}:
            return None  # it recovers, or has ended what it had to do
        return await self._health.of_actor()

    async def _unreadiness(self) -> str | None:
        """Why the worker takes no messages."""
        supervisor = self._supervisor
        if supervisor.phase != "running":
            return f"the phase is {supervisor.phase}"
        return await self._health.of_room() or await self._health.of_all()


class _Server(ThreadingTCPServer):
    """A bounded number of daemon threads, and no word on stderr."""

    allow_reuse_address = True
    daemon_threads = True
    answers: Answers

    def __init__(self, family: int, place: Any) -> None:
        self.address_family = family
        self._places = threading.Semaphore(REQUESTS_MAX)
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error, and there is nobody else to tell."""


class _Handler(BaseHTTPRequestHandler):
    """One request, then the connection is closed (HTTP/1.0)."""

    timeout = READ_S
    server_version = "penin"
    sys_version = ""
    server: BaseServer

    def do_GET(self) -> None:
        """Answer, with what `Answers` says."""
        assert isinstance(self.server, _Server)
        accept = self.headers.get("Accept", "")
        status, body, content_type = self.server.answers.answer(self.path.split("?")[0], accept)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  # the name that the standard library looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as in the base
        """Nothing: each look at the metrics would be a line."""


def _split(address: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:9464`, `[::1]:9464` or `localhost:9464`."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdecimal() or int(port) >= 2**16:
        raise UsageError(f"metrics at {address}: not a host and a port, as 127.0.0.1:9464")
    return host, int(port)
