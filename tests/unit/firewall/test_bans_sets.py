"""Bans as commands for nft. That the kernel does what they say is shown by tests/hil/test_bans_kernel.py."""

from __future__ import annotations

import pytest

from appliance.core.document import Document, parse
from appliance.core.errors import InvalidError
from appliance.firewall.bans import plan
from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Action, Ban, Decision, Reason
from appliance.firewall.bans.policy import Policy
from appliance.firewall.bans.sets import SETS, Doors, changed, filled
from appliance.firewall.promise import Machine
from appliance.kinds import KINDS
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
    lines = filled(Wanted(0, tuple(bans)), Doors()).splitlines()
    sets = [line.split()[1] for line in lines if line.startswith("  set ")]
    assert {one.name for one in SETS} <= set(sets)
    flushed = lines.index("flush set inet centralino-bans banned4")
    assert lines[flushed : flushed + len(SETS)] == [f"flush set inet centralino-bans {one.name}" for one in SETS]
    assert lines[flushed + 2 * len(SETS) :] == [
        f"add element inet centralino-bans {name} {{ {element} }}"
        for name, element in (
            ("banned4", "203.0.113.7 timeout 1s500ms"),
            ("banned4_wide", "203.0.113.0 timeout 604800s0ms"),  # nft takes eight digits: not 604800000ms
            ("banned6", "2001:db8:: timeout 90s0ms"),
            ("banned6_wide", "2001:db8:: timeout 90s0ms"),
            ("quarantined4", "10.0.0.1 timeout 90s0ms"),
            ("quarantined6", "2001:db8::1 timeout 90s0ms"),
        )
    ]


def test_the_last_decision_of_a_network_counts() -> None:
    one, longer = ban("203.0.113.7/32", 60_000), ban("203.0.113.7/32", 120_000)
    both = [
        Decision(Action.BAN, one),
        Decision(Action.LIFT, one),
        Decision(Action.SPARE, one),
        Decision(Action.BAN, longer),
    ]
    place = "element inet centralino-bans banned4 { 203.0.113.7"
    gone = [f"add {place} timeout 1h }}", f"delete {place} }}"]
    assert changed(both, 0).splitlines() == [*gone, f"add {place} timeout 120s0ms }}"]
    assert changed(both[:2], 0).splitlines() == gone
    assert changed(both[2:3], 0) == ""
    assert changed(both[:1], 60_000).splitlines() == gone  # it has ended meanwhile


def test_no_timeout_is_near_none_for_none_means_for_ever() -> None:
    assert "timeout 0s100ms" in changed([Decision(Action.BAN, ban("203.0.113.7/32", 1))], 0)


def test_what_has_ended_is_not_filled_in() -> None:
    assert "203.0.113.7" not in filled(Wanted(5000, (ban("203.0.113.7/32", 5000),)), Doors())


def test_many_are_shared_out_to_several_commands() -> None:
    many = [Decision(Action.BAN, ban(f"198.18.{n // 250}.{n % 250}/32", 60_000)) for n in range(1201)]
    lines = changed(many, 0).splitlines()
    assert [line.split()[0] for line in lines] == ["add"] * 3 + ["delete"] * 3 + ["add"] * 3
    assert max(map(len, lines)) < 20_000


def test_what_calls_for_help_is_a_number() -> None:
    for bad in ("", "112 drop", "1" * 16, "112@", "\u0661\u0661\u0662"):
        with pytest.raises(InvalidError, match="is no number"):
            Doors(emergency=(bad,))


def document(*rows: tuple[str, dict[str, object]]) -> Document:
    first = [
        ("company", {"id": "demo", "name": "Demo Srl"}),
        ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24", "2001:db8:3::/64"]}),
        ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": "192.0.2.10"}),
    ]
    return Document.of(parse(KINDS, kind, data) for kind, data in (*first, *rows))


def test_the_document_says_whom_the_judge_may_touch() -> None:
    def network(id: str, zone: str, *texts: str) -> tuple[str, dict[str, object]]:
        return "network", {"id": id, "name": id, "zone": zone, "networks": list(texts)}

    def listed(id: str, action: str, *texts: str) -> tuple[str, dict[str, object]]:
        return "address_list", {"id": id, "name": id, "action": action, "networks": list(texts)}

    made = document(
        network("phones", "voice", "192.0.2.0/24"),
        network("browsers", "clients", "0.0.0.0/0", "::/0", "10.9.0.0/16"),
        network("office", "management", "192.0.2.8/29"),
        listed("friends", "allow", "203.0.113.9/32"),
        listed("foes", "block", "198.51.100.0/24"),
    )
    found = plan.policy(made, Machine(), ["203.0.113.77"])
    assert found == Policy(
        networks("192.0.2.8/29", "203.0.113.9", "203.0.113.77"),
        networks("10.3.0.0/24", "10.9.0.0/16", "192.0.2.0/24", "2001:db8:3::/64"),
        networks("198.51.100.0/24"),
    )
    assert found.may_quarantine(*networks("10.3.0.7"))
    assert not found.may_quarantine(*networks("192.0.2.9"))
    assert found.may_ban(*networks("203.0.113.78"))
    doors = plan.doors(made, Machine(), ["112"])
    assert doors == Doors((), (("udp", (5060, 5060)),), ((10000, 19999),), ("112",))
