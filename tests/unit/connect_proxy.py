"""A real proxy for the tests: it opens tunnels by CONNECT, and notes what it was asked for."""

import asyncio
import base64
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from hostile_server import HostileServer, Peer

from tocsin.domain.proxy import ProxyRules

SECRET = "geh3im"
LOGIN = f"ops:{SECRET}"
BASIC = "Basic " + base64.b64encode(LOGIN.encode()).decode()

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class ConnectProxy:
    """A script for `hostile_server.serving`: an honest proxy."""

    names: Mapping[str, str] = field(default_factory=dict)
    """What it knows of names that no name server does."""
    credentials: str | None = None
    """The only ``Proxy-Authorization`` that it accepts."""
    opened: bytes = OPENED
    heads: list[bytes] = field(default_factory=list)
    carried: bytearray = field(default_factory=bytearray)
    """What clients sent through their tunnels."""

    @property
    def targets(self) -> list[str]:
        return [head.split(b" ")[1].decode() for head in self.heads]

    def header(self, name: str) -> list[str | None]:
        """The values of a header, one for each request."""
        found = []
        for head in self.heads:
            lines = head.decode("latin-1").split("\r\n")[1:]
            pairs = (line.partition(": ") for line in lines)
            found.append(next((v for n, _, v in pairs if n.lower() == name.lower()), None))
        return found

    async def __call__(self, peer: Peer) -> None:
        head = await peer.head()
        if not head:
            return
        self.heads.append(head)
        method, target, _ = head.decode("latin-1").split("\r\n")[0].split(" ")
        assert method == "CONNECT"
        if self.credentials is not None and self.header("Proxy-Authorization")[-1] != (
            self.credentials
        ):
            peer.send(
                b"HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic realm=x\r\n"
                b"Content-Length: 3\r\n\r\nno!"
            )
            return
        host, _, port = target.rpartition(":")
        try:
            reader, writer = await asyncio.open_connection(
                self.names.get(host, host.strip("[]")), int(port)
            )
        except OSError:
            peer.send(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        peer.send(self.opened)
        back = asyncio.create_task(self._back(reader, peer))
        try:
            while data := await peer.some():
                self.carried += data
                writer.write(data)
        finally:
            writer.close()
            back.cancel()
            await asyncio.wait({back})
            with suppress(OSError):
                await writer.wait_closed()

    async def _back(self, reader: asyncio.StreamReader, peer: Peer) -> None:
        """Carry what the target says; its end is the tunnel's."""
        with suppress(OSError):
            while data := await reader.read(65536):
                peer.send(data)
        peer.close()


def proxy_url(server: HostileServer, credentials: str = "") -> str:
    """The setting that names a proxy."""
    at = f"{credentials}@" if credentials else ""
    return f"http://{at}{server.host}:{server.port}"


def through(server: HostileServer, *, login: str = LOGIN, no_proxy: str = "") -> ProxyRules:
    """The rules of a client that goes through a proxy."""
    return ProxyRules.read(proxy_url(server, login), no_proxy)
