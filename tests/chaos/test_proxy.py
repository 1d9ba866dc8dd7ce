"""A node behind a proxy: whole, down, and back; with the password in no place where it shows."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import NodeFactory
from tests.support.process import Receiver, wait_until

pytestmark = pytest.mark.chaos

SECRET = "geh3im"
LOGIN = "b3BzOmdlaDNpbQ=="  # ops:geh3im


class Proxy:
    """A proxy that opens tunnels for whoever knows the password, as threads on blocking sockets."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.port = 0
        self._listening: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()

    def start(self) -> None:
        """Listen; after a `stop` on the same port again."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        self._run(self._accept, self._listening)

    def stop(self) -> None:
        """Close everything at once."""
        for sock in (self._listening, *self._open):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._open.clear()

    def _run(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                self._open.add(client)
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(4096)
                if not data:
                    return
                head += data
            text = head.decode()
            self.heads.append(text)
            if f"Proxy-Authorization: Basic {LOGIN}\r\n" not in text:
                client.sendall(b"HTTP/1.1 407 Who are you\r\n\r\n")
                return
            host, _, port = text.split(" ")[1].rpartition(":")
            with socket.create_connection((host, int(port))) as target:
                self._open.add(target)
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                while True:
                    for one in select.select([client, target], [], [])[0]:
                        data = one.recv(65536)
                        if not data:
                            return
                        (target if one is client else client).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    one = Proxy()
    one.start()
    yield one
    one.stop()


@pytest.mark.parametrize("processes", [1, 2])
def test_calls_leave_through_the_proxy_and_wait_for_it_where_it_is_down(
    processes: int, node: NodeFactory, receiver: Receiver, proxy: Proxy
) -> None:
    url = f"http://ops:{SECRET}@127.0.0.1:{proxy.port}"
    behind = node(
        env={"TOCSIN_PROXY": url, "TOCSIN_NO_PROXY": ""}, options=("--processes", str(processes))
    ).start()
    behind.create(
        [
            {
                "name": "beyond",
                "schedule": {"at": "2999-01-01T00:00:00Z"},
                "target": {"url": receiver.url(), "body": {}},
                "retry": {"max_attempts": 50, "initial": "200ms", "factor": 1},
                "delivery": "at_most_once",
            }
        ]
    )

    def ended(execution: str) -> object:
        found = behind.get(f"/executions/{execution}")
        return found if found["finished_at"] else None

    first = behind.post("/jobs/beyond/trigger", {}, expect=202)["id"]
    done = wait_until(lambda: ended(first), "the call through the proxy is over")
    [attempt] = done["attempts"]
    assert (done["state"], attempt["http_status"]) == ("succeeded", 200), done
    assert attempt["timings"]["proxy_ms"] > 0
    assert receiver.count() == 1
    assert [head.split("\r\n")[0] for head in proxy.heads] == [
        f"CONNECT 127.0.0.1:{receiver.port} HTTP/1.1"
    ]

    proxy.stop()
    second = behind.post("/jobs/beyond/trigger", {}, expect=202)["id"]
    tried = wait_until(
        lambda: behind.get(f"/executions/{second}")["attempts"], "a call has met no proxy"
    )
    assert tried[0]["error_kind"] == "connection"
    assert (
        f"cannot connect to the proxy 127.0.0.1:{proxy.port}: connection refused"
        in (tried[0]["error"])
    )
    proxy.start()
    done = wait_until(lambda: ended(second), "the call has been made when the proxy was back")
    assert done["state"] == "succeeded", done
    assert receiver.count() == 2

    told = behind.client.get("/api/v1/executions").text + behind.client.get("/metrics").text
    for text in (told, behind.whole_log(), *_command_lines()):
        assert SECRET not in text
        assert LOGIN not in text
    assert behind.terminate() == 0


def _command_lines() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            yield path.read_text(errors="replace")
