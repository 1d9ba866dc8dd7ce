"""What a job does in the programs that run on asyncio: one call to the receiver."""

import aiohttp
import common

_session: aiohttp.ClientSession
_receiver: str


def open_session(receiver: str, connections: int) -> None:
    """Open the client; before the first call."""
    global _session, _receiver  # noqa: PLW0603
    # One session for all calls, as its documentation asks for, with as many connections as there
    # are calls at once; all are kept open.
    connector = aiohttp.TCPConnector(limit=connections, keepalive_timeout=3_600)
    _session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    _receiver = receiver


async def call(job: int, fire: int | None = None) -> None:
    """Make the call of a job."""
    url = _receiver + common.query(job, fire)
    async with _session.post(url, data=common.BODY, headers=common.HEADERS) as response:
        await response.read()
        response.raise_for_status()
