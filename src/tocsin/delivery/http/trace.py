"""What one call has done so far; each part of the client fills in what it did."""

from tocsin.delivery.http.answer import AnswerReader


class Trace:
    """Durations in seconds, ``None`` until the phase happens; instants by ``perf_counter``."""

    __slots__ = ("connect", "dns", "phase", "reader", "tls", "written", "written_at")

    def __init__(self) -> None:
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self.phase = ""
        """What opening a connection is busy with, for the message of a timeout."""
        self.written = False
        """A byte of the request may have been written, on whichever connection."""
        self.written_at = 0.0
        self.reader: AnswerReader | None = None
        """Of the last exchange that began, with as much of an answer as came."""
