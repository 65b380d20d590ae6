"""Token buckets: so many at once, so many a second."""

from __future__ import annotations

from appliance.console.limits import KEPT, Buckets


def test_a_burst_and_then_the_rate() -> None:
    buckets = Buckets(2.0, 3)
    assert [buckets.take("a", 0.0).left for _ in range(3)] == [2, 1, 0]
    assert buckets.take("a", 0.0).wait_s == 1
    assert buckets.take("b", 0.0).wait_s == 0
    assert buckets.take("a", 0.5).wait_s == 0
    assert buckets.take("a", 0.5).wait_s == 1
    assert [buckets.take("a", 100.0).left for _ in range(3)] == [2, 1, 0]


def test_a_clock_that_goes_back_gives_nothing() -> None:
    buckets = Buckets(1.0, 1)
    assert buckets.take("a", 10.0).wait_s == 0
    assert buckets.take("a", 5.0).wait_s == 1


def test_not_everybody_is_remembered() -> None:
    buckets = Buckets(0.001, 1)
    for number in range(KEPT + 10):
        buckets.take(str(number), 0.0)
    assert len(buckets._held) == KEPT
