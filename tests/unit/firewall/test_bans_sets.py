"""Bans as commands for nft. That the kernel does what they say is shown by tests/hil/test_bans_kernel.py."""

from __future__ import annotations

from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Action, Ban, Decision, Reason
from appliance.firewall.bans.sets import SETS, changed, declarations, filled
from tests.unit.firewall.attempts import DAY, networks


def ban(text: str, until: int, *, quarantine: bool = False) -> Ban:
    [network] = networks(text)
    return Ban(network, 0, until, 0, Reason.GUESSING, "guesses", quarantine=quarantine)


def test_every_ban_has_its_set() -> None:
    bans = [
        ban("203.0.113.7/32", 1500),
        ban("203.0.113.0/24", 7 * DAY),
        ban("2001:db8::/64", 90_000),
        ban("2001:db8::/56", 90_000),
        ban("10.0.0.1/32", 90_000, quarantine=True),
        ban("2001:db8::1/128", 90_000, quarantine=True),
    ]
    lines = filled(Wanted(0, tuple(bans), networks("198.51.100.0/25", "2001:db8:9::/48"))).splitlines()
    assert lines[: len(SETS)] == [f"flush set inet centralino {one.name}" for one in SETS]
    assert lines[2 * len(SETS) :] == [
        f"add element inet centralino {name} {{ {element} }}"
        for name, element in (
            ("banned4", "203.0.113.7 timeout 1s500ms"),
            ("banned4_wide", "203.0.113.0 timeout 604800s0ms"),  # nft takes eight digits: not 604800000ms
            ("banned6", "2001:db8:: timeout 90s0ms"),
            ("banned6_wide", "2001:db8:: timeout 90s0ms"),
            ("quarantined4", "10.0.0.1 timeout 90s0ms"),
            ("quarantined6", "2001:db8::1 timeout 90s0ms"),
            ("black4", "198.51.100.0/25"),
            ("black6", "2001:db8:9::/48"),
        )
    ]
    assert all(f"set {one.name} {{" in declarations() for one in SETS)


def test_the_last_decision_of_a_network_counts() -> None:
    one, longer = ban("203.0.113.7/32", 60_000), ban("203.0.113.7/32", 120_000)
    both = [
        Decision(Action.BAN, one),
        Decision(Action.LIFT, one),
        Decision(Action.SPARE, one),
        Decision(Action.BAN, longer),
    ]
    place = "element inet centralino banned4 { 203.0.113.7"
    gone = [f"add {place} timeout 1h }}", f"delete {place} }}"]
    assert changed(both, 0).splitlines() == [*gone, f"add {place} timeout 120s0ms }}"]
    assert changed(both[:2], 0).splitlines() == gone
    assert changed(both[2:3], 0) == ""
    assert changed(both[:1], 60_000).splitlines() == gone  # it has ended meanwhile


def test_no_timeout_is_near_none_for_none_means_for_ever() -> None:
    assert "timeout 0s100ms" in changed([Decision(Action.BAN, ban("203.0.113.7/32", 1))], 0)


def test_what_has_ended_is_not_filled_in() -> None:
    assert "timeout" not in filled(Wanted(5000, (ban("203.0.113.7/32", 5000),), ()))


def test_many_are_shared_out_to_several_commands() -> None:
    many = [Decision(Action.BAN, ban(f"198.18.{n // 250}.{n % 250}/32", 60_000)) for n in range(1201)]
    lines = changed(many, 0).splitlines()
    assert [line.split()[0] for line in lines] == ["add"] * 3 + ["delete"] * 3 + ["add"] * 3
    assert max(map(len, lines)) < 20_000
