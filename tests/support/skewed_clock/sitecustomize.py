"""Makes the wall clock of a Python process wrong by ``SKEWED_CLOCK_BY`` seconds.

Put this directory on ``PYTHONPATH``: Python imports a module of this name before anything else.
The monotonic clocks stay right, as they do on a machine whose clock was set wrong. (``datetime``
stays right too: it cannot be replaced without harm, and Tocsin does not take the time from it.)
"""

import os
import time

_BY = float(os.environ.get("SKEWED_CLOCK_BY", "0"))
_time, _time_ns, _clock_gettime = time.time, time.time_ns, time.clock_gettime


def _skewed_clock_gettime(clock: int) -> float:
    return _clock_gettime(clock) + (_BY if clock == time.CLOCK_REALTIME else 0)


if _BY:
    time.time = lambda: _time() + _BY
    time.time_ns = lambda: _time_ns() + round(_BY * 1e9)
    time.clock_gettime = _skewed_clock_gettime
