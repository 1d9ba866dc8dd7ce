"""How long the randomised tests search: ``TOCSIN_TEST_SCALE`` multiplies their examples."""

import os

from hypothesis import HealthCheck, settings

SCALE = float(os.environ.get("TOCSIN_TEST_SCALE", "1"))


def examples(count: int, **others: object) -> settings:
    """Settings for ``count`` examples, times the scale; time is bounded by their number alone."""
    return settings(
        max_examples=max(1, round(count * SCALE)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        **others,  # type: ignore[arg-type]
    )
