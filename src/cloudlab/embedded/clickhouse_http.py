"""ClickHouse's HTTP interface, as far as its clients use it, in front of the engine of this process.

`GET /ping`; `POST /` with the statement in `?query=`, in the body, or first one then the other; `param_*`, `database`,
`session_id`, `query_id` and settings as URL parameters; lz4, zstd and gzip both ways; `X-ClickHouse-*` headers; errors
with ClickHouse's code. Application code therefore needs nothing but an ordinary ClickHouse client, and production is
another URL.
"""

import base64
import binascii
import hmac
import os
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from socketserver import TCPServer
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from cloudlab.embedded import clickhouse_coding as coding
from cloudlab.embedded import clickhouse_reply as reply
from cloudlab.embedded import clickhouse_statement as statement
from cloudlab.embedded.clickhouse_engine import Engine
from cloudlab.embedded.clickhouse_session import QueryFailed, Session

_MAX_CONNECTIONS = 512
_ENGINE_IS_DEAD = 236
# Parameters that belong to HTTP and not to the statement; those that are not read below have no effect.
_NO_SETTING = re.compile(
    r"param_.*|query|query_id|database|session_(id|check|timeout)|user|password|role|quota_key|default_format"
    r"|(de)?compress|enable_http_compression|wait_end_of_query|buffer_size|client_protocol_version"
    r"|send_progress_in_http_headers|http_headers_progress_interval_ms|cancel_http_readonly_queries_on_client_close"
)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request, taken apart."""

    params: Mapping[str, str]
    bound: Mapping[str, str]
    settings: Mapping[str, str]
    body: Iterator[bytes]


class Server(ThreadingHTTPServer):
    """A thread for each connection, a bounded number of them; statements are bounded by the engine."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, port: int, engine: Engine, user: str, password: str) -> None:
        self.engine = engine
        self._credentials = f"{user}:{password}".encode()
        self._connections = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for this machine's name, as the standard library would."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def knows(self, user: str, password: str) -> bool:
        """Compare the credentials in constant time."""
        return hmac.compare_digest(f"{user}:{password}".encode(), self._credentials)

    def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Give the connection a thread, or refuse it when there are too many."""
        if not self._connections.acquire(blocking=False):
            cast(socket, request).sendall(b"HTTP/1.1 503 Too many connections\r\nContent-Length: 0\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """Serve one connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def abandon(self) -> None:
        """End the process: its engine refuses everything from now on, and a crash is seen and healed by `up`."""
        sys.stderr.write("the engine has stopped after a fatal error; ending\n")
        sys.stderr.flush()
        os._exit(70)

    def service_actions(self) -> None:
        """Between connections: close what is too old."""
        self.engine.expire_sessions()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A caller that went away is no news; anything else goes to the log with its traceback."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection: requests one after the other until it is closed."""

    protocol_version = "HTTP/1.1"
    server_version = "CloudLab-ClickHouse"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    timeout = 900

    @property
    def _engine(self) -> Engine:
        return cast(Server, self.server).engine

    def do_GET(self) -> None:
        """Answer the health check, or a statement that only reads."""
        if urlsplit(self.path).path in {"/ping", "/"} and "query=" not in self.path:
            self._reply(HTTPStatus.OK, {"X-ClickHouse-Version": self._engine.version}, [b"Ok.\n"])
        else:
            self.do_POST()

    def do_POST(self) -> None:
        """Run one statement."""
        raw = coding.raw_chunks(self.rfile, self.headers)
        try:
            params = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
            self._authenticate(params)
            self._answer(self._request(params, raw))
        except QueryFailed as failed:
            self._drain(raw)
            self._fail(failed)
            if failed.code == _ENGINE_IS_DEAD:
                cast(Server, self.server).abandon()
        except (coding.BadBody, statement.TooLarge, UnicodeDecodeError, ValueError) as error:
            self.close_connection = True
            self._fail(QueryFailed(36, "BAD_ARGUMENTS", str(error)))

    def _authenticate(self, params: Mapping[str, str]) -> None:
        user, password = params.get("user", "default"), params.get("password", "")
        if given := self.headers.get("X-ClickHouse-User"):
            user, password = given, self.headers.get("X-ClickHouse-Key", "")
        elif (basic := self.headers.get("Authorization", "")).startswith("Basic "):
            try:
                user, _, password = base64.b64decode(basic[6:]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                user = ""
        if not cast(Server, self.server).knows(user, password):
            said = f"{user}: Authentication failed: password is incorrect, or there is no user with such name."
            raise QueryFailed(516, "AUTHENTICATION_FAILED", said)

    def _request(self, params: dict[str, str], raw: Iterator[bytes]) -> _Request:
        body = coding.decoded(raw, self.headers.get("Content-Encoding", ""))
        content_type = self.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            params |= coding.form_fields(content_type, b"".join(body))
            body = iter(())
        bound = {name.removeprefix("param_"): value for name, value in params.items() if name.startswith("param_")}
        settings = {name: value for name, value in params.items() if not _NO_SETTING.fullmatch(name)}
        return _Request(params, bound, settings, _after(params.get("query", ""), body))

    def _answer(self, request: _Request) -> None:
        params = request.params
        with self._engine.session(
            params.get("session_id", ""),
            must_exist=params.get("session_check") == "1",
            timeout_seconds=float(params.get("session_timeout", 60)),
        ) as session:
            session.prepare(params.get("database", ""), request.settings)
            said, text = statement.read(request.body)
            self._allowed(said)
            if said.data_at < 0 and said.reads and said.format == "Native" and params.get("wait_end_of_query") != "1":
                self._stream(request, session, text.decode())
            else:
                self._finish(request, session, said, text)

    def _allowed(self, said: statement.Statement) -> None:
        if said.several:
            raise QueryFailed(62, "SYNTAX_ERROR", "Multi-statements are not allowed.")
        if not said.keyword:
            raise QueryFailed(62, "SYNTAX_ERROR", "Empty query.")
        if self.command == "GET" and not said.reads:
            raise QueryFailed(164, "READONLY", "GET may only read; use POST.")

    def _finish(self, request: _Request, session: Session, said: statement.Statement, text: bytes) -> None:
        """Run a statement to its end and answer with a length: an error is an error from the first byte."""
        started = time.monotonic_ns()
        headers: dict[str, str] = {}
        if said.data_at >= 0:
            outcome = session.insert(text, said, request.body)
        else:
            output = request.params.get("default_format") or self.headers.get("X-ClickHouse-Format", "TabSeparated")
            outcome = session.query(text.decode(), output, request.bound)
            headers = reply.format_headers(said.format or output) if said.reads else {}
        headers |= reply.common_headers(request.params) | reply.summary_headers(outcome, started)
        self._reply(HTTPStatus.OK, headers, [outcome.body], self._coding(request))

    def _stream(self, request: _Request, session: Session, text: str) -> None:
        """Send the blocks of a SELECT as they come; an error after the first is written behind them."""
        headers = reply.common_headers(request.params) | reply.format_headers("Native")
        # Closed before the handle is, come what may: a handle that is closed under a running stream ends the engine.
        with closing(session.stream(text, "Native", request.bound)) as blocks:
            first, tag = next(blocks, b""), secrets.token_hex(8)
            headers |= {"X-ClickHouse-Exception-Tag": tag}
            self._reply(HTTPStatus.OK, headers, reply.tagged(first, blocks, tag), self._coding(request), chunked=True)

    def _coding(self, request: _Request) -> str:
        wanted = request.params.get("enable_http_compression", "0") in {"1", "true"}
        return coding.chosen_coding(self.headers.get("Accept-Encoding", "")) if wanted else ""

    def _fail(self, failed: QueryFailed) -> None:
        text = f"{failed.text} (version {self._engine.version} (official build))\n"
        self._reply(reply.status_of(failed), {"X-ClickHouse-Exception-Code": str(failed.code)}, [text.encode()])

    def _reply(
        self,
        status: int,
        headers: Mapping[str, str],
        body: Iterable[bytes],
        content_coding: str = "",
        *,
        chunked: bool = False,
    ) -> None:
        pieces = coding.encoded(iter(body), content_coding)
        whole = b"" if chunked else b"".join(pieces)
        self.send_response(status)
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(whole))}
        encoding = {"Content-Encoding": content_coding} if content_coding else {}
        closing = {"Connection": "close"} if self.close_connection else {}
        for name, value in {**headers, **encoding, **length, **closing}.items():
            self.send_header(name, value)
        self.end_headers()
        if chunked:
            for piece in filter(None, pieces):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(whole)
        self.wfile.flush()

    def _drain(self, raw: Iterator[bytes]) -> None:
        """Read what the caller still sends, so that the connection can be used again."""
        try:
            for _ in raw:
                pass
        except coding.BadBody:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log no requests: they carry data."""


def _after(query: str, body: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the statement of the URL, then the body, as ClickHouse reads them: one text."""
    if query:
        first = next(body, b"")
        yield query.encode() + (b"\n" + first if first else b"")
    yield from body
