"""Figures of a path come from numbers and times alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.failover.relay.meter import LOSS_S, Meter, Outlook, tenths


def sent_and_heard(
    delays: list[float | None], *, began: float = 3.0, first: int = 1, skew: float = 1234.5
) -> tuple[Meter, float]:
    """Fifty packets a second; a delay of None is a loss. ``skew``: how far the receiver's clock is from the sender's."""
    arrivals = [
        (began + 0.02 * step + delay, first + step, tenths(began + 0.02 * step + skew))
        for step, delay in enumerate(delays)
        if delay is not None
    ]
    meter = Meter()
    for at, number, time in sorted(arrivals):
        meter.heard(number & 0xFFFFFFFF, time, 200, at)
    return meter, max(at for at, *_ in arrivals)


def test_an_even_path_has_neither_jitter_nor_lateness() -> None:
    meter, now = sent_and_heard([0.015] * 200)
    told = meter.told(3, now)
    assert (told.path, told.highest, told.received, told.size, told.silent) == (3, 200, 200, 200, 0)
    assert told.jitter <= 1
    assert told.late <= 1


def test_jitter_is_the_mean_change_of_transit_times() -> None:
    meter, now = sent_and_heard([0.010, 0.030] * 200)
    assert meter.told(0, now).jitter == pytest.approx(
        200, rel=0.1
    )  # RFC 3550: every packet 20 ms other than the one before


def test_lateness_is_told_against_the_fastest() -> None:
    meter, now = sent_and_heard([0.010] * 100 + [0.070] * 100)
    assert meter.told(0, now).late == pytest.approx(600, rel=0.05)


def test_what_is_late_for_long_is_the_new_measure() -> None:
    meter, now = sent_and_heard([0.010] * 50 + [0.070] * 1000)
    assert meter.told(0, now).late <= 5


@given(st.lists(st.booleans(), min_size=2, max_size=100), st.sampled_from([0, 1000, 2**31, 2**32 - 20, 2**33]))
def test_loss_is_what_was_sent_less_what_came(came: list[bool], before: int) -> None:
    came = [True, *came, True]
    outlook, meter = Outlook(), Meter()
    meter.highest = before
    for step, arrives in enumerate(came):
        now = 10 + LOSS_S * step / len(came) / 2
        if arrives:
            assert meter.heard((before + 1 + step) & 0xFFFFFFFF, tenths(now), 100, now)
            outlook.reported(meter.told(0, now), now)
    assert outlook.loss is not None
    assert outlook.loss == pytest.approx(1 - sum(came[1:]) / (len(came) - 1))


def test_copies_and_repeats_of_a_packet_count_once() -> None:
    meter = Meter()
    assert meter.heard(5, 0, 100, 1.0)
    assert not meter.heard(5, 0, 100, 1.1)
    assert not meter.heard(4, 0, 100, 1.2)  # late, and counted
    assert not meter.heard(4, 0, 100, 1.3)
    told = meter.told(0, 1.3)
    assert (told.highest, told.received) == (5, 2)


def test_round_trip_leaves_out_what_the_other_end_held() -> None:
    meter, outlook = Meter(), Outlook()
    meter.heard(1, tenths(100.0), 100, 7.0)  # ours at 100.0; their clock says 7
    outlook.reported(meter.told(0, 7.2), 100.24)
    assert outlook.rtt_ms == pytest.approx(40, abs=0.3)


def test_an_older_report_by_a_slower_path_changes_nothing() -> None:
    meter, outlook = Meter(), Outlook()
    meter.heard(1, 0, 100, 1.0)
    older = meter.told(0, 1.0)
    meter.heard(9, 0, 100, 1.1)
    outlook.reported(meter.told(0, 1.1), 1.2)
    at = outlook.at
    outlook.reported(older, 1.5)
    assert outlook.at == at


def test_the_longest_datagram_is_forgotten_after_a_while() -> None:
    meter = Meter()
    meter.heard(1, 0, 1400, 1.0)
    meter.heard(2, 0, 100, 2.0)
    assert meter.told(0, 2.0).size == 1400
    meter.heard(3, 0, 100, 4.0)
    assert meter.told(0, 7.0).size <= 100
    assert meter.told(0, 12.0).size == 0


def test_before_anything_came_it_says_so() -> None:
    told = Meter().told(2, 5.0)
    assert (told.received, told.silent) == (0, 60_000)
    outlook = Outlook()
    outlook.reported(told, 5.0)
    assert outlook.rtt_ms is None
    assert outlook.loss is None
