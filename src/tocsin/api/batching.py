"""Holding back the garbage collector while a batch is made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_holders = 0


@contextmanager
def collector_paused() -> Iterator[None]:
    """Collect no cycles while any such block lasts.

    A batch makes hundreds of thousands of objects, all of them alive until it is answered and none
    of them in a cycle: collections take a third of its time and find nothing. Reference counts
    free it all at its end.
    """
    global _holders  # noqa: PLW0603  # there is one collector per process
    if _holders == 0 and not gc.isenabled():
        yield  # somebody has turned it off for good
        return
    _holders += 1
    gc.disable()
    try:
        yield
    finally:
        _holders -= 1
        if _holders == 0:
            gc.enable()
