"""What one call has done so far; each part of the client fills in what it did."""

from time import perf_counter

from tocsin.delivery.http.answer import AnswerReader
from tocsin.delivery.http.connection import Connection


class Opening:
    """How long opening connections took, in seconds; ``None`` until the phase happens."""

    __slots__ = ("connect", "dns", "phase", "proxy", "tls")

    def __init__(self) -> None:
        self.dns: float | None = None
        self.connect: float | None = None
        self.proxy: float | None = None
        self.tls: float | None = None
        self.phase = ""
        """What it is busy with, for the message of a timeout."""


class Trace:
    """One call; instants by ``perf_counter``."""

    __slots__ = ("began", "opening", "reader", "written", "written_at")

    def __init__(self) -> None:
        self.began = perf_counter()
        self.opening: Opening | None = None
        """Only where a connection is opened for it: most calls find one that is idle."""
        self.written = False
        """A byte of the request may have been written, on whichever connection."""
        self.written_at = 0.0
        self.reader: AnswerReader | None = None
        """Of the last exchange that began, with as much of an answer as came."""

    def write_on(self, connection: Connection) -> None:
        """Note that an exchange begins."""
        self.reader = connection.reader
        self.written = True
        self.written_at = perf_counter()
