"""How many files this process may have open: every connection is one."""

import sys

MOST = 65_536
"""As many are never needed; where there is no limit, some programs get slow by that."""


def raise_limit() -> int:
    """Raise the limit as far as this user may; how many it is then.

    What shells and service managers give by default (1,024) is for programs that use ``select``.
    """
    if sys.platform == "win32":
        return MOST
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # a container that forbids it
            return soft
        return wanted
    return soft
