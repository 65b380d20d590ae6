"""What the lab's parts do to packets and make of them. The lab itself: tests/hil/test_lab.py."""

from __future__ import annotations

import random
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

from appliance.failover.quality import mos
from lab.ear import SILENT_S, WINDOW_S, _Voice
from lab.impairments import IMPAIRMENTS, PROFILES, WELL, Way, together
from lab.plan import BRANCHES, HEAD_OFFICE_FIRST, PHONES
from lab.resolver import answered
from lab.wire import QUEUE_S, Direction

WIDTH = 1 << 16


def passing(way: Way, count: int = 2000, octets: int = 200, pace_s: float = 0.02) -> list[float | None]:
    """How long each packet took; None: lost."""
    direction, chance = Direction(), random.Random(3)
    direction.becomes(way, 0.0)
    found = []
    for number in range(count):
        now = number * pace_s
        due = direction.due(now, octets, chance)
        found.append(None if due is None else due - now)
    return found


def test_a_well_line_does_nothing() -> None:
    assert set(passing(WELL)) == {0.0}


@pytest.mark.parametrize(
    ("way", "share"),
    [(Way(loss=1.0), 1.0), (Way(loss=0.03), 0.03), (Way(flap_s=5.0), 0.5), (Way(longest=199), 1.0), (Way(longest=200), 0.0),
     (Way(burst_every_s=2.0), 0.2 / 2.2)],
)  # fmt: skip
def test_so_much_is_lost(way: Way, share: float) -> None:
    lost = passing(way, 20_000).count(None) / 20_000
    assert lost == pytest.approx(share, abs=0.012)


def test_bursts_lose_everything_for_a_while() -> None:
    lost = "".join("x" if each is None else "." for each in passing(Way(burst_every_s=2.0)))
    runs = [len(run) for run in lost.split(".") if run]
    assert runs
    assert set(runs) <= {9, 10, 11}, "200 ms of them"


def test_delay_and_jitter() -> None:
    took = [each for each in passing(Way(delay_ms=30.0, jitter_ms=15.0)) if each is not None]
    assert min(took) == pytest.approx(0.030, abs=0.001)
    assert max(took) == pytest.approx(0.060, abs=0.001)
    assert sum(took) / len(took) == pytest.approx(0.045, abs=0.001)


def test_a_narrow_line_queues_and_then_drops() -> None:
    took = passing(Way(rate_kbit=40.0))  # half of what is sent
    kept = [each for each in took if each is not None]
    assert max(kept) <= QUEUE_S + 0.05
    assert len(kept) / len(took) == pytest.approx(0.5, abs=0.02)


def test_a_harmed_line_keeps_its_nature() -> None:
    both = together(PROFILES["25ms-loss1"], IMPAIRMENTS["loss3"].up)
    assert (both.delay_ms, both.loss) == (25.0, pytest.approx(1 - 0.99 * 0.97))
    assert together(PROFILES["45ms"], IMPAIRMENTS["flapping"].down).flap_s == 5.0


@pytest.mark.parametrize(
    ("one_way_ms", "lost", "wanted"), [(0, 0.0, 4.41), (0, 0.0405, 4.03), (0, 0.0811, 3.60), (0, 0.2093, 2.58), (600, 0.5, 1.0)]
)  # fmt: skip
def test_mos_is_that_of_the_e_model(one_way_ms: float, lost: float, wanted: float) -> None:
    """R of 93.2, 80, 70 and 50 (ITU-T G.107, table B.1)."""
    assert mos(one_way_ms, lost) == pytest.approx(wanted, abs=0.01)


class TestVoice:
    """The stream that a phone hears, as the ear takes it down."""

    def heard(self, numbers: list[int], late: dict[int, float] | None = None, after_s: float = 0.0) -> Any:
        voice = _Voice(1, numbers[0] % WIDTH + WIDTH, numbers[0] % WIDTH + WIDTH)
        for number in numbers:
            came = 100 + 0.02 * (number - numbers[0]) + (late or {}).get(number, 0.0)
            voice.take(came, number % WIDTH, 160 * (number - numbers[0]))
        return voice.heard(100 + 0.02 * (numbers[-1] - numbers[0]) + after_s)

    def test_all_of_it_also_where_numbers_begin_anew(self) -> None:
        found = self.heard(list(range(WIDTH - 60, WIDTH + 60)))
        assert (found.packets, found.lost, found.missing) == (120, 0, 0.0)

    def test_lost_twice_and_in_another_order(self) -> None:
        found = self.heard([*range(100, 150), 152, 151, 151, *range(154, 200)])
        assert (found.packets, found.lost) == (98, 2)
        assert found.missing == pytest.approx(2 / 100)

    def test_too_late_is_missing_and_not_lost(self) -> None:
        found = self.heard(list(range(100)), late=dict.fromkeys(range(50, 60), 0.07))
        assert (found.lost, found.missing) == (0, pytest.approx(0.1))

    @pytest.mark.parametrize("stray", [2331, -2331, 150, -150, 30_000])
    @pytest.mark.parametrize("at", [0, 1, 2, 50])
    def test_a_stray_number_is_none_of_it_wherever_it_comes(self, at: int, stray: int) -> None:
        numbers = list(range(5000, 5100))
        found = self.heard([*numbers[:at], 5000 + at + stray, *numbers[at:]])
        assert (found.packets, found.lost) == (100, 0)

    def test_an_outage_of_seconds_is_lost(self) -> None:
        found = self.heard([*range(1000, 1100), *range(1400, 1500)])
        assert (found.packets, found.lost) == (200, 300)

    def test_silence_counts(self) -> None:
        assert self.heard(list(range(100)), after_s=SILENT_S - 0.01).lost == 0
        found = self.heard(list(range(100)), after_s=1.0)
        assert found.lost == 50
        assert found.missing == pytest.approx(1 / 3, abs=0.01)
        assert self.heard(list(range(100)), after_s=WINDOW_S + 1).missing == 1.0

    def test_a_packet_of_another_stream_is_none_of_it(self) -> None:
        found = self.heard([100, 101, 9000, *range(102, 150)])
        assert (found.packets, found.lost) == (50, 0)
        found = self.heard([9000, *range(100, 150)])
        assert (found.packets, found.lost) == (50, 0)


def test_a_name_server_tells_the_truth_lies_or_knows_nothing() -> None:
    control: dict[str, object] = {
        "name": "voce.example.com",
        "address": "198.51.100.10",
        "lie": "203.0.113.99",
        "lied_to": ["192.0.2.9"],
    }
    asked = dns.message.make_query("VOCE.example.com.", "A")
    for sender, address in (("192.0.2.8", "198.51.100.10"), ("192.0.2.9", "203.0.113.99")):
        [found] = answered(asked, control, sender).answer
        assert [each.address for each in found] == [address]
    six = answered(dns.message.make_query("voce.example.com.", "AAAA"), control, "192.0.2.8")
    assert (six.answer, six.rcode()) == ([], dns.rcode.NOERROR)
    assert answered(dns.message.make_query("www.example.com.", "A"), control, "192.0.2.8").rcode() == dns.rcode.NXDOMAIN


def test_every_phone_of_the_lab_has_a_number_of_its_own() -> None:
    firsts = [*(branch.first for branch in BRANCHES), HEAD_OFFICE_FIRST]
    assert len({first + at for first in firsts for at in range(PHONES)}) == PHONES * len(firsts)
