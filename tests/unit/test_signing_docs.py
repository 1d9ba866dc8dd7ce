"""The receiver of docs/signing.md that needs no library, run."""

import re
import time
from pathlib import Path
from typing import Any

from tocsin.delivery.signing import Signer
from tocsin.services.secrets import new_signing_value

PAGE = (Path(__file__).parents[2] / "docs" / "signing.md").read_text()
BODY = b'{"a": 1}'


def verifier() -> Any:
    [code] = [
        code
        for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
        if "def verify(" in code
    ]
    space: dict[str, Any] = {}
    exec(code, space)
    return space["verify"]


def sent(value: str, at: int, *others: str) -> dict[str, str]:
    signature = Signer([*others, value]).sign("id", at, BODY)
    return {"webhook-id": "id", "webhook-timestamp": str(at), "webhook-signature": signature}


def test_it_accepts_what_is_signed_and_nothing_else() -> None:
    verify, value, now = verifier(), new_signing_value(), int(time.time())
    assert verify(value, sent(value, now), BODY)
    assert verify(value, sent(value, now, new_signing_value()), BODY)
    assert not verify(value, sent(value, now), BODY + b" ")
    assert not verify(new_signing_value(), sent(value, now), BODY)
    assert not verify(value, sent(value, now - 301), BODY)


def test_there_is_a_receiver_in_each_language() -> None:
    assert re.findall(r"```(python|typescript|go)\n", PAGE) == [
        "python",
        "typescript",
        "go",
        "python",
    ]
