"""Pictures of pages in fewer bytes, with every pixel as it was.

Chromium filters each line, which helps photographs; pages are flat areas and repeated letters,
which compress better as they are.
"""

import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BYTES = {2: 3, 6: 4}
"""Of a pixel, by the type of its colour: RGB and RGBA, as Chromium writes them."""


def smaller(png: bytes) -> bytes:
    """The same picture in the fewer bytes of the two ways."""
    chunks = _chunks(png)
    width, height, depth, kind = struct.unpack(">IIBB", chunks[0][1][:10])
    assert depth == 8, "a picture of eight bits per colour was expected"
    data = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    lines = _unfiltered(data, width * _BYTES[kind], height, _BYTES[kind])
    packed = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    made = _SIGNATURE + b"".join(
        _chunk(name, body) for name, body in ((*chunks[0],), (b"IDAT", packed), (b"IEND", b""))
    )
    return min(made, png, key=len)


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _unfiltered(data: bytes, stride: int, height: int, size: int) -> list[bytes]:
    """The lines as they are: to each byte is added what it was told apart from (PNG, 9.2)."""
    above = bytes(stride)
    lines = []
    for number in range(height):
        start = number * (stride + 1)
        kind, line = data[start], bytearray(data[start + 1 : start + 1 + stride])
        for at in range(stride if kind else 0):
            left = line[at - size] if at >= size else 0
            match kind:
                case 1:
                    told = left
                case 2:
                    told = above[at]
                case 3:
                    told = (left + above[at]) // 2
                case _:
                    told = _paeth(left, above[at], above[at - size] if at >= size else 0)
            line[at] = (line[at] + told) & 0xFF
        above = bytes(line)
        lines.append(above)
    return lines


def _paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda one: abs(guess - one))
