from __future__ import annotations

import logging
import time

import pytest

from appliance.engine.revival import Revival


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


@pytest.fixture
def revival(clock: Clock) -> Revival:
    return Revival("coturn", logging.getLogger("test"))


def pause(revival: Revival, clock: Clock) -> float:
    """Seconds from a death until it is due."""
    since = clock.now
    while not revival.due():
        assert revival.waiting
        clock.now += 0.5
    return clock.now - since


def test_who_never_ran_is_started_at_once(revival: Revival) -> None:
    assert revival.due()
    assert not revival.waiting


def test_pauses_double_up_to_half_a_minute_and_a_good_life_ends_that(
    revival: Revival, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    found = []
    for _ in range(7):
        revival.began()
        clock.now += 2
        found.append(pause(revival, clock))
    assert found == [1, 2, 4, 8, 16, 30, 30]
    assert [record.getMessage() for record in caplog.records][2] == "coturn died; starting it again in 4 s"
    revival.began()
    clock.now += 61
    assert pause(revival, clock) == 1


def test_one_that_can_not_be_started_waits_longer_each_time(revival: Revival, clock: Clock) -> None:
    revival.began()
    found = [pause(revival, clock)]
    for _ in range(3):
        revival.failed()
        found.append(pause(revival, clock))
    assert found == [1, 2, 4, 8]


def test_one_that_was_ended_on_purpose_is_started_at_once(revival: Revival, clock: Clock) -> None:
    revival.began()
    pause(revival, clock)
    revival.forget()
    assert revival.due()
