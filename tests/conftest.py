"""What holds for every test: nobody's own keys and settings get into them, and none is timed."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Out of the box an example that takes 0.2 s fails, and that is any one of thousands while the
# machine does something else.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(autouse=True, scope="session")
def _no_own_logins(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    for name in ("TOCSIN_KEY", "TOCSIN_NAMESPACE", "TOCSIN_SERVER"):
        os.environ.pop(name, None)
