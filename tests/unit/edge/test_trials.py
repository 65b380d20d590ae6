"""Trials: by running time, over restarts; and slices that weren't good are tried again, rarer and rarer."""

from __future__ import annotations

from pathlib import Path

from appliance.clock import DAY, HOUR, MINUTE, Moment
from appliance.edge import trials
from appliance.edge.trials import Refused
from tests.unit.edge.slices import a_slice

NOW = Moment(10**12, 50_000, "a")


def at(uptime: int, boot: str = "a") -> Moment:
    return Moment(-(10**12), uptime, boot)  # whatever the wall clock says


def test_a_trial_ends_by_running_time_and_goes_on_after_a_start_of_the_machine() -> None:
    trial = trials.begun("000001", MINUTE, NOW)
    assert not trials.over(trial, at(50_000 + MINUTE - 1))
    assert trials.over(trial, at(50_000 + MINUTE))
    assert trials.carried_on(trial, MINUTE, NOW) is None
    tries = 1
    for boot in "bcd":
        more = trials.carried_on(trial, MINUTE, at(10, boot))
        assert more is not None
        trial, tries = more, tries + 1
        assert trial.tries == tries
        assert trials.over(trial, at(10, boot)) is (tries > trials.TRIES)


def test_its_time_goes_by_the_addresses_that_can_be_tried() -> None:
    assert trials.time_for(a_slice()) == 70_000
    many = [{"host": "198.51.100.7", "port": port} for port in range(1, 100)]
    assert trials.time_for(a_slice(remotes=many)) == trials.LONGEST


def test_a_slice_that_was_not_good_is_tried_again_later_and_later(tmp_path: Path) -> None:
    refused = Refused(tmp_path / "refused.json")
    bad, good = a_slice(), a_slice(networks=[])
    assert not refused.waits(bad.digest, NOW)
    waits = []
    for _ in range(8):
        refused.add(bad, "nobody there", NOW)
        waits.append(next(each for each in range(30) if not refused.waits(bad.digest, at(50_000 + each * HOUR))))
    assert waits == [1, 2, 4, 8, 16, 24, 24, 24]
    assert not refused.waits(good.digest, NOW)
    again = Refused(tmp_path / "refused.json")
    assert again.last == refused.last
    assert again.waits(bad.digest, at(5))
    assert again.waits(bad.digest, at(DAY))
    assert not again.waits(bad.digest, at(5 + DAY))
    refused.add(good, "neither", NOW)
    assert refused.last is not None
    assert refused.last.times == 1
    refused.forget()
    assert Refused(tmp_path / "refused.json").last is None
    for garbage in (b"", b"{}", b'{"digest": 1, "revision": "x"}', b"[" * 9999):
        (tmp_path / "refused.json").write_bytes(garbage)
        assert Refused(tmp_path / "refused.json").last is None
