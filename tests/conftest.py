"""What holds for every test: nobody's own keys and settings get into them."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_own_logins(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))
    for name in ("TOCSIN_KEY", "TOCSIN_NAMESPACE", "TOCSIN_SERVER"):
        os.environ.pop(name, None)
