"""A receiver within the test that keeps whole requests, and answers as the path says.

``/echo`` answers the request as it came, ``/redirect?to=URL`` leads elsewhere (307), anything else
is answered with 200.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit


class Seen(NamedTuple):
    """A request as it arrived."""

    target: str
    headers: dict[str, str]
    """By names in lower case."""
    body: bytes


@dataclass
class Listener:
    """What has arrived until now."""

    port: int
    seen: list[Seen] = field(default_factory=list)

    def url(self, path: str = "/ok") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            listener.seen.append(Seen(self.path, headers, body))
            parts = urlsplit(self.path)
            if parts.path == "/redirect":
                self.send_response(307)
                self.send_header("Location", parse_qs(parts.query)["to"][0])
                answer = b""
            else:
                self.send_response(200)
                head = f"{self.command} {self.path}\n{self.headers}"
                answer = head.encode() + body if parts.path == "/echo" else b"ok"
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_PUT = do_POST  # noqa: N815  # as the standard library calls them

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    listener = Listener(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
