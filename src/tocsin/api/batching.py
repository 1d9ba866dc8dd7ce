"""What holds for the whole process while batches of jobs are made."""

import asyncio
import ctypes
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TURN = 0.000_5
"""Seconds after which a thread that computes lets another one that waits for it."""

REST = 1.0
"""Seconds without a batch after which the memory that the last ones took is given back."""

_holders = 0
_rest: asyncio.TimerHandle | None = None
_usual_turn = sys.getswitchinterval()


@contextmanager
def batch_under_way() -> Iterator[None]:
    """Collect no cycles, and let threads take short turns, while any such block lasts.

    A batch makes hundreds of thousands of objects, all of them alive until it is answered and none
    of them in a cycle: collections take a third of its time and find nothing. Reference counts
    free it all at its end.

    The store's thread needs the interpreter's lock for moments, to begin and to end its
    statements. While jobs are checked it would get it every 5 ms only, so that a batch was written
    after the next was checked rather than meanwhile.

    The C library keeps what they have freed; some time after the last one the system gets it back.
    """
    global _holders, _usual_turn, _rest  # noqa: PLW0603  # there is one of each per process
    collects = gc.isenabled()
    if _holders == 0:
        _usual_turn = sys.getswitchinterval()
        if not collects:
            yield  # somebody has turned it off for good
            return
    if _rest is not None:
        _rest.cancel()
    _holders += 1
    gc.disable()
    sys.setswitchinterval(TURN)
    try:
        yield
    finally:
        _holders -= 1
        if _holders == 0:
            gc.enable()
            sys.setswitchinterval(_usual_turn)
            _rest = asyncio.get_running_loop().call_later(REST, _rested)


def _rested() -> None:
    # It takes milliseconds, in which only who asks the C library for memory waits.
    threading.Thread(target=give_back, name="give-memory-back", daemon=True).start()


def _trimmer() -> Callable[[int], int] | None:
    """What gives free memory back, where the C library keeps it: glibc's ``malloc_trim``."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_trim = _trimmer()


def give_back() -> None:
    """Give the system what was freed and is kept in case it is needed again."""
    if _trim is not None:
        _trim(0)
