"""What a peer's TCP has not acknowledged of what was written to it."""

import struct
import sys
from contextlib import suppress
from typing import Any

if sys.platform == "linux":
    from fcntl import ioctl
    from termios import TIOCOUTQ

    def unacknowledged(sock: Any) -> int:
        """Return how many bytes are on their way or still to be sent, 0 where it is not known.

        The kernel keeps count of them (SIOCOUTQ, see tcp(7)).  Where the end of the peer's stream
        has been read, whatever had reached the peer before it closed is acknowledged: its FIN says
        how much that is.  After a reset the count means nothing, as what a reset acknowledges is
        not looked at.
        """
        with suppress(OSError, ValueError):
            return int(struct.unpack("i", ioctl(sock.fileno(), TIOCOUTQ, b"\0\0\0\0"))[0])
        return 0

else:

    def unacknowledged(sock: Any) -> int:  # noqa: ARG001
        """Return 0: it is not known here."""
        return 0
