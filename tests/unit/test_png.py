"""Pictures of the documentation lose bytes, and no pixel."""

import random
import struct
import zlib

import pytest
from tests.e2e.png import smaller

SIZE = {2: 3, 6: 4}
"""Bytes of a pixel, by the type of its colour."""


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def picture(width: int, lines: list[bytes], *, kind: int, filters: list[int]) -> bytes:
    """A PNG whose lines are filtered as told."""
    size = SIZE[kind]
    above = bytes(width * size)
    data = b""
    for line, chosen in zip(lines, filters, strict=True):
        made = bytearray()
        for at, value in enumerate(line):
            left = line[at - size] if at >= size else 0
            corner = above[at - size] if at >= size else 0
            guess = left + above[at] - corner
            near = min(
                (abs(guess - one), order, one)
                for order, one in enumerate((left, above[at], corner))
            )[2]
            told = (0, left, above[at], (left + above[at]) // 2, near)[chosen]
            made.append((value - told) & 0xFF)
        data += bytes([chosen]) + made
        above = line
    header = struct.pack(">IIBBBBB", width, len(lines), 8, kind, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data, 1))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", [2, 6])
@pytest.mark.parametrize("chosen", range(5))
def test_every_pixel_stays_as_it_was(kind: int, chosen: int) -> None:
    chance = random.Random(chosen)
    width = 60
    # Few different lines, as on a page.
    some = [chance.randbytes(width * SIZE[kind]) for _ in range(3)]
    lines = [some[chance.randrange(3)] for _ in range(40)]
    plain = picture(width, lines, kind=kind, filters=[0] * 40)
    filtered = picture(width, lines, kind=kind, filters=[chosen] * 40)
    made = smaller(filtered)
    assert len(made) <= len(filtered)
    # Without filters, at the highest level: what the plain picture becomes, too.
    assert made in {smaller(plain), filtered}
