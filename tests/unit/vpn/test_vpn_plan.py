"""Document → daemons: addresses follow from numbers, networks from sites, and nobody is given what isn't theirs."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.core.document import Document, parse
from appliance.core.errors import Fault
from appliance.kinds import KINDS
from appliance.vpn.addresses import address_in, daemons_for, part4, part6, tunnel_ports
from appliance.vpn.model import BRANCHES, DAEMONS, THIRD
from appliance.vpn.plan import NO_DCO, Installation, branch_lines, daemons
from appliance.vpn.verify import verify
from tests import strategies

Row = tuple[str, dict[str, Any]]


def site(id: str, *networks: str) -> Row:
    return "site", {"id": id, "name": id, "company": "demo", "networks": list(networks)}


def branch(id: str, number: int, **more: Any) -> Row:
    return "branch", {"id": id, "site": id, "number": number, **more}


def concentrator(**more: Any) -> Row:
    addresses = [{"host": "vpn.example.com"}, {"host": "198.51.100.7", "port": 5000}]
    return "concentrator", {"id": "vpn", "name": "VPN", "addresses": addresses, **more}


CENTRE: list[Row] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": ["192.0.2.0/24"]}),
    ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": "198.51.100.20", "media_address": "192.0.2.5"}),
]  # fmt: skip


def document(*more: Row) -> Document:
    return Document.of(parse(KINDS, kind, data) for kind, data in (*CENTRE, *more))


TWO = (
    concentrator(pool6="fd00:1:2:3::/64"),
    site("torino", "10.3.0.0/24", "2001:db8:3::/64"),
    site("roma", "10.4.0.0/24"),
    branch("torino", 1, reaches=["roma"]),
    branch("roma", 2),
)


def test_a_branch_is_given_its_address_its_networks_and_the_ways_to_the_others() -> None:
    (made,) = daemons(document(*TWO), Installation(cores=8))
    assert (made.port, made.interface) == (1194, "voice-0")
    assert made.clients["torino"].splitlines()[1:] == [
        "ifconfig-push 172.29.0.2 255.255.240.0",
        "ifconfig-ipv6-push fd00:1:2:3::2/108 fd00:1:2:3::1",
        "iroute 10.3.0.0 255.255.255.0",
        "iroute-ipv6 2001:db8:3::/64",
        'push "route 192.0.2.0 255.255.255.0"',
        'push "route 198.51.100.20 255.255.255.255"',
        'push "route 192.0.2.5 255.255.255.255"',
        'push "route 10.4.0.0 255.255.255.0"',
    ]
    assert 'push "route 10.3.0.0 255.255.255.0"' in made.clients["roma"]  # one names the other: both reach each other
    for line in (
        "route 10.3.0.0 255.255.255.0",
        "route-ipv6 2001:db8:3::/64",
        "ccd-exclusive",
        "replay-window 10000 30",
    ):
        assert line in made.config.splitlines()


def test_without_a_concentrator_or_out_of_use_there_is_nothing() -> None:
    assert daemons(document(*TWO[1:]), Installation()) == ()
    assert daemons(document(concentrator(enabled=False), *TWO[1:]), Installation()) == ()
    off = document(concentrator(), *TWO[1:3], branch("torino", 1, enabled=False), branch("roma", 2))
    (made,) = daemons(off, Installation())
    assert list(made.clients) == ["roma"]
    assert "10.3.0.0" not in made.config
    assert branch_lines(off, "torino", 1) == ()


def many(number: int) -> Document:
    rows: list[Row] = [concentrator()]
    for each in range(1, number + 1):
        rows += [site(f"s{each}", f"10.{each // 250}.{each % 250}.0/24"), branch(f"s{each}", each)]
    return document(*rows)


def test_five_hundred_branches_are_shared_out_and_each_knows_its_daemon_first() -> None:
    found = many(500)
    made = daemons(found, Installation(cores=4))
    assert [each.port for each in made] == [1194, 1195, 1196, 1197]
    assert [len(each.clients) for each in made] == [125] * 4
    assert "s7" in made[2].clients
    remotes = [line for line in branch_lines(found, "s7", 4) if line.startswith("remote ")]
    assert remotes[:6] == 3 * ["remote vpn.example.com 1196 udp", "remote 198.51.100.7 5002 udp"]
    assert remotes[6:8] == ["remote vpn.example.com 1194 udp", "remote 198.51.100.7 5000 udp"]
    assert len(remotes) == 2 * (3 + 3)


def test_daemons_are_as_many_as_branches_need_and_cores_allow() -> None:
    assert [daemons_for(number, 4) for number in (0, 1, 100, 101, 500)] == [1, 1, 1, 2, 4]
    assert daemons_for(BRANCHES, 64) == DAEMONS


def test_a_router_of_another_maker_has_a_daemon_of_its_own_and_none_when_those_are_not_let_in() -> None:
    rows = (
        site("torino", "10.3.0.0/24"),
        site("roma", "10.4.0.0/24"),
        branch("torino", 1),
        branch("roma", 2, router="third_party"),
    )
    on, off = document(concentrator(third_party=True), *rows), document(concentrator(), *rows)
    made = daemons(on, Installation(cores=4))
    assert [(each.interface, each.port, list(each.clients)) for each in made] == [
        ("voice-0", 1194, ["torino"]), ("voice-third", 1209, ["roma"])
    ]  # fmt: skip
    assert made[1].clients["roma"].splitlines()[1] == "ifconfig-push 172.29.240.3 255.255.240.0"
    assert tunnel_ports(on, 4) == (1194, 1209)
    assert [line for line in branch_lines(on, "roma", 4) if line.startswith("remote ")] == [
        "remote vpn.example.com 1209 udp", "remote 198.51.100.7 5015 udp"
    ]  # fmt: skip
    assert "1209" not in "".join(branch_lines(on, "torino", 4))
    assert NO_DCO in branch_lines(on, "torino", 4)
    assert NO_DCO not in branch_lines(on, "roma", 4), "OpenVPN 2.5 would end itself on that word"
    (only,) = daemons(off, Installation(cores=4))
    assert list(only.clients) == ["torino"]
    assert "10.4.0.0" not in only.config
    assert tunnel_ports(off, 4) == (1194,)
    assert branch_lines(off, "roma", 4) == ()
    assert faults(concentrator(), *rows) == [("branch/roma/router", "third_party_off")]
    assert faults(concentrator(third_party=True), *rows) == []


@given(st.integers(0, THIRD), st.integers(1, BRANCHES), st.integers(0, THIRD), st.integers(1, BRANCHES))
def test_no_two_branches_have_one_address(daemon: int, number: int, other: int, another: int) -> None:
    one, two = address_in(part4("10.64.0.0/16", daemon), number), address_in(part4("10.64.0.0/16", other), another)
    assert (one == two) == ((daemon, number) == (other, another))
    assert ipaddress.ip_address(one) in part4("10.64.0.0/16", daemon)
    assert ipaddress.ip_address(one) not in (part4("10.64.0.0/16", daemon)[1], part4("10.64.0.0/16", daemon)[-1])
    assert ipaddress.ip_address(address_in(part6("fd00::/64", daemon), number)) in part6("fd00::/64", daemon)


def faults(*rows: Row) -> list[tuple[str, str]]:
    return [(fault.path, fault.error_id) for fault in verify(document(*rows))]


def test_a_sound_vpn_has_no_faults() -> None:
    assert faults(*TWO) == []


def test_overlapping_networks_are_refused_wherever_they_meet() -> None:
    rows = (concentrator(), branch("torino", 1), branch("roma", 2))
    assert faults(*rows, site("torino", "10.3.0.0/16"), site("roma", "10.3.7.0/24")) == [
        ("site/roma/networks", "networks_overlap")
    ]
    assert faults(*rows, site("torino", "172.29.5.0/24"), site("roma", "192.0.2.128/25")) == [
        ("site/torino/networks", "networks_overlap"),
        ("site/roma/networks", "networks_overlap"),
    ]
    # A site without a branch isn't routed: its networks are nobody's concern here.
    assert faults(*rows[:2], site("torino", "10.3.0.0/16"), site("roma", "10.3.7.0/24")) == []


def test_what_else_can_be_wrong_is_told_at_its_field() -> None:
    rows = (site("torino", "10.3.0.0/24"), site("roma", "2001:db8:4::/64"), site("empty"))
    found = faults(
        *rows,
        concentrator(port=65530, pool="10.0.0.0/24"),
        ("concentrator", {"id": "zweite", "name": "B", "addresses": [{"host": "vpn.example.com"}]}),
        branch("torino", 1),
        branch("roma", 1),
        ("branch", {"id": "again", "site": "torino", "number": 3}),
        branch("empty", 4),
    )
    assert set(found) == {
        ("concentrator/vpn/pool", "pool_too_small"),
        ("concentrator/vpn/port", "no_ports_left"),
        ("concentrator/zweite", "second_concentrator"),
        ("branch/torino/site", "site_twice"),
        ("branch/torino/number", "branch_number_taken"),
        ("branch/empty/site", "site_without_networks"),
        ("concentrator/vpn/pool6", "pool6_missing"),
    }
    assert faults(concentrator(pool="fd00::/64", pool6="fd00::/120")) == [
        ("concentrator/vpn/pool", "pool_family"),
        ("concentrator/vpn/pool6", "pool_too_small"),
    ]


def test_a_listener_at_the_public_address_and_branches_without_a_centre_are_warned_of() -> None:
    outside = ("listener", {"id": "out", "name": "O", "transport": "udp", "address": "198.51.100.7", "port": 5090})
    assert faults(*TWO, outside) == [("listener/out/address", "listener_outside")]
    (made,) = daemons(document(*TWO, outside), Installation())
    assert "198.51.100.7" not in made.clients["torino"]  # a route to it would lead the tunnel into itself
    assert faults(*TWO[1:]) == [("branch/roma/site", "no_concentrator")]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(strategies.documents(complete=True))
def test_whatever_verify_lets_pass_can_be_planned(made: Document) -> None:
    found: list[Fault] = [fault for fault in verify(made) if fault.severity == "error"]
    if not found:
        for each in daemons(made, Installation(cores=2)):
            for text in (each.config, *each.clients.values()):
                assert {line.split()[0] for line in text.splitlines()} <= WORDS


WORDS = {
    "#", "route-gateway", "mode", "tls-server", "dev", "dev-type", "disable-dco", "proto", "port", "multihome", "topology", "ifconfig", "push", "ifconfig-ipv6",
    "route", "route-ipv6", "data-ciphers", "tls-groups", "tun-mtu", "mssfix", "passtos", "replay-window", "hand-window",
    "tls-timeout", "persist-key", "persist-tun", "auth-nocache", "sndbuf", "rcvbuf", "keepalive", "ccd-exclusive", "max-clients",
    "connect-freq-initial", "status-version", "verb", "mute", "ifconfig-push", "ifconfig-ipv6-push", "iroute", "iroute-ipv6",
}  # fmt: skip
"""Nothing of the document begins a line of its own: not one that would start a program."""
