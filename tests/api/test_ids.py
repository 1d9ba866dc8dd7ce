"""Ids of jobs, and references."""

from uuid import UUID

import pytest

from tocsin.services.ids import Uuid7, looks_like_uuid, read_ref

NOW = 1_767_225_600_000


class TestUuid7:
    def test_version_variant_and_time(self) -> None:
        made = UUID(Uuid7(lambda: NOW)())
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert made.int >> 80 == NOW

    def test_each_is_greater_whatever_the_clock_does(self) -> None:
        times = [NOW, NOW, NOW + 5, NOW + 4, NOW + 5, NOW + 6, NOW - 1_000] + [NOW + 6] * 5_000
        clock = iter(times)
        new_id = Uuid7(lambda: next(clock))
        made = [new_id() for _ in times]
        assert made == sorted(set(made))

    def test_counting_up_goes_on_in_the_bits_above(self) -> None:
        new_id = Uuid7(lambda: NOW, entropy=lambda size: b"\xff" * size)
        new_id()
        new_id._middle, new_id._low = 6, (1 << 62) - 2
        made = UUID(new_id()).int
        assert (made >> 80, made >> 64 & 0xFFF, made >> 62 & 0b11) == (NOW, 7, 0b10)
        assert made & ((1 << 62) - 1) == (1 << 32) - 2

    def test_a_millisecond_that_is_full_runs_into_the_next(self) -> None:
        new_id = Uuid7(lambda: NOW, entropy=lambda size: b"\xff" * size)
        new_id._middle, new_id._low = (1 << 12) - 1, (1 << 62) - 2
        new_id._time = NOW
        made = [new_id() for _ in range(3)]
        assert made == sorted(set(made))
        assert UUID(made[-1]).int >> 80 == NOW + 1


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("report", "report"),
        ("019B5144-0000-7ABC-8DEF-0123456789AB", "019b5144-0000-7abc-8def-0123456789ab"),
        ("Report", None),
        ("", None),
        ("a\n", None),
        ("x" * 101, None),
        ("\0", None),
    ],
)
def test_references(text: str, ref: str | None) -> None:
    assert read_ref(text) == ref


def test_what_looks_like_a_uuid() -> None:
    assert looks_like_uuid("00000000-0000-0000-0000-000000000000")
    assert not looks_like_uuid("00000000-0000-0000-0000-00000000000g")
