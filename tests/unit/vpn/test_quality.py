"""How good the way to a branch is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.vpn.echoes import answer_of, checksum, echo
from appliance.vpn.quality import KEPT_MAX, LATE_S, WINDOW_S, Quality, Window


def test_nothing_is_claimed_of_who_never_answers() -> None:
    window = Window()
    for second in range(60):
        window.sent(second, float(second))
    assert window.quality(60.0) == Quality()


def test_loss_and_round_trips_of_the_last_half_minute() -> None:
    window = Window()
    for second in range(100):
        window.sent(second, float(second))
        if second < 50 or second % 10:
            window.answered(second, second + (0.040 if second == 98 else 0.020))
    found = window.quality(99.9)
    assert found.rtt_ms == pytest.approx(20.0)
    assert found.median_ms == pytest.approx(20.0)
    assert found.loss == pytest.approx(3 / 30), "70, 80 and 90; what is on its way isn't lost yet"


def test_who_answered_once_and_no_more_has_lost_everything() -> None:
    window = Window()
    window.sent(0, 0.0)
    window.answered(0, 0.5)
    for second in range(1, 50):
        window.sent(second, float(second))
    assert window.quality(50.0) == Quality(None, None, 1.0)
    assert window.quality(200.0) == Quality(), "nobody asked for so long"


def test_what_comes_late_twice_or_unasked_counts_for_nothing() -> None:
    window = Window()
    window.sent(0, 0.0)
    window.sent(1, 0.1)
    window.answered(1, 0.11)
    window.sent(2, 0.2)
    window.answered(1, 0.5)
    window.answered(3, 1.5)
    window.answered(2, 0.2 + LATE_S + 0.1)
    assert window.quality(3.0) == Quality(pytest.approx(10.0), pytest.approx(10.0), 0.5)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0, 5) | st.none()), max_size=200))
def test_whatever_happens_a_share_is_a_share(steps: list[tuple[float, float | None]]) -> None:
    window, now = Window(), 0.0
    for number, (pause, trip) in enumerate(steps):
        now += pause
        window.sent(number, now)
        if trip is not None:
            window.answered(number, now + trip)
        assert len(window._echoes) <= KEPT_MAX
        found = window.quality(now)
        assert found.loss is None or 0 <= found.loss <= 1
        assert found.median_ms is None or 0 <= found.median_ms <= 1000 * LATE_S
    assert window.quality(now + WINDOW_S + LATE_S).rtt_ms is None


def test_echoes_on_the_wire() -> None:
    packet = echo(8, 0x1234, 1, b"12345678")
    assert packet[:2] == b"\x08\0"
    assert checksum(packet) == 0, "with its own checksum the sum is nothing (RFC 1071)"
    answer = b"\0" + packet[1:]
    assert answer_of(b"\x46" + b"\0" * 23 + answer, six=False) == b"12345678", "a header with options"
    assert answer_of(b"\x81" + packet[1:], six=True) == b"12345678"
    for garbage in (b"", b"\x45", b"\x45" + b"\0" * 19 + answer[:12], b"\xff" * 60, b"\x45" + b"\0" * 19 + packet):
        assert answer_of(garbage, six=False) == b""
