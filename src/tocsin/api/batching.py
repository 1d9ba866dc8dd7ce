"""What holds for the whole process while batches of jobs are made."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TURN = 0.000_5
"""Seconds after which a thread that computes lets another one that waits for it."""

_holders = 0
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
    """
    global _holders, _usual_turn  # noqa: PLW0603  # there is one of each per process
    collects = gc.isenabled()
    if _holders == 0:
        _usual_turn = sys.getswitchinterval()
        if not collects:
            yield  # somebody has turned it off for good
            return
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
