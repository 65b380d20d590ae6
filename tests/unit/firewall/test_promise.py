"""Document → promise → script: what is open follows from the document alone."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from appliance.core.document import Document, parse
from appliance.engine.stand_ins import ROUTES
from appliance.firewall.promise import Machine, Promise, Service, promise
from appliance.firewall.rules import digest_in, script
from appliance.firewall.verify import verify
from appliance.kinds import KINDS
from appliance.pbx.media.model import Listener, Zone
from tests import strategies

Row = tuple[str, dict[str, Any]]
HQ: list[Row] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24", "2001:db8:3::/64"]}),
    ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": "192.0.2.10"}),
    ("listener", {"id": "lines", "name": "L", "transport": "udp", "address": "192.0.2.10", "port": 5080, "zone": "trunks"}),
]  # fmt: skip
VPN: list[Row] = [
    ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}], "pool6": "fd00:1:2:3::/64"}),
    ("branch", {"id": "torino", "site": "torino", "number": 1}),
]  # fmt: skip
HERE = Machine()


def document(*more: Row) -> Document:
    return Document.of(parse(KINDS, kind, data) for kind, data in (*HQ, *VPN, *more))


def network(id: str, zone: str, *networks: str) -> Row:
    return "network", {"id": id, "name": id, "zone": zone, "networks": list(networks)}


def listed(id: str, action: str, *networks: str) -> Row:
    return "address_list", {"id": id, "name": id, "action": action, "networks": list(networks)}


def services(made: Promise, group: str) -> set[tuple[Service, int]]:
    return {(each.service, each.ports[0]) for each in made.openings if each.sources.name == group}


def test_an_empty_document_opens_nothing_but_the_tunnel() -> None:
    assert {each.sources.name for each in promise(Document(), HERE).openings} == {
        "new-machine"
    }  # portal and SSH: test_tuning.py
    only = Document.of(parse(KINDS, kind, data) for kind, data in VPN[:1])
    assert [
        (each.sources.name, each.protocol, each.ports, each.at_times)
        for each in promise(only, HERE).openings
        if each.sources.name == "anybody"
    ] == [
        ("anybody", "udp", (1194, 1194), False),
        ("anybody", "tcp", (1194, 1194), True),  # while an invitation waits
    ]
    assert "tcp dport 1194 tcp dport @gate counter name enrolment accept" in script(promise(only, HERE))


def test_sites_reach_sip_through_the_tunnel_only() -> None:
    made = promise(document(), HERE)
    assert services(made, "vpn") == {(Service.SIP, 5060), (Service.MEDIA, 10000)}
    assert {each.interface for each in made.groups if each.name == "vpn"} == {"voice-*"}
    alone = Document.of(parse(KINDS, kind, data) for kind, data in HQ)
    assert {each.sources.name for each in promise(alone, HERE).openings} == {
        "new-machine"
    }  # no tunnel: nobody comes out of it


def test_edges_reach_the_service_for_them_from_within_the_tunnels_at_the_tunnels_own_addresses() -> None:
    made = promise(document(), HERE)
    found = [each for each in made.openings if each.service is Service.EDGES]
    assert [(each.protocol, each.address) for each in found] == [
        (protocol, address) for address in ("172.29.0.1", "fd00:1:2:3::1") for protocol in ("tcp", "udp")
    ]  # what they ask, and what they measure with
    assert {(each.sources.networks, each.sources.interface) for each in found} == {
        (("172.29.0.0/16", "fd00:1:2:3::/64"), "voice-*")
    }
    assert {"172.29.0.0/16", "fd00:1:2:3::/64"} <= set(made.inside), "nobody else has these addresses"


@pytest.mark.parametrize(("field", "pool"), [("pool", "172.29.0.0/24"), ("pool", "fd00::/64"), ("pool6", "fd00::/120")])
def test_a_pool_that_cant_be_opens_nothing(field: str, pool: str) -> None:
    """Verify refuses it; a draft with it can be looked at all the same."""
    one = {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}], field: pool}
    made = promise(Document.of([parse(KINDS, "concentrator", one)]), HERE)
    assert not [each for each in made.openings if each.service is Service.EDGES]


def test_each_zone_has_its_services() -> None:
    made = promise(document(network("a", "voice", "192.0.2.0/24"), network("b", "management", "192.0.2.8/29")), HERE)
    assert services(made, "network-a") == {(Service.SIP, 5060), (Service.MEDIA, 10000)}
    assert services(made, "network-b") == {(Service.PORTAL, 8443), (Service.SSH, 22)}


def trunk(**more: Any) -> list[Row]:
    media = {"media_networks": more.pop("media")} if "media" in more else {}
    return [
        ("provider", {"id": "telco", "name": "Telco", **media}),
        ("trunk", {"id": "line", "name": "Line", "provider": "telco", "auth": {"type": "address"}, **more}),
    ]


def test_by_the_gate_alone_the_engines_port_is_opened_to_nobody() -> None:
    wss = {"id": "w", "name": "W", "transport": "wss", "address": "192.0.2.1", "port": 8089, "certificate": "c"}
    networks = [
        ("network", {"id": zone, "name": zone, "zone": zone, "networks": [net]})
        for zone, net in (("voice", "192.0.2.0/24"), ("clients", "198.51.100.0/24"))
    ]
    for zone, opened in (("gate", set()), ("web", {"network-voice", "network-clients"}), ("phones", {"network-voice"})):
        made = Document.of(parse(KINDS, kind, data) for kind, data in [*networks, ("listener", {**wss, "zone": zone})])
        found = {each.sources.name for each in promise(made, HERE).openings if each.service is Service.SIP}
        assert found == opened


def test_what_stands_for_the_gates_clients_cant_come_by_a_wire_nor_be_sent_to_by_one() -> None:
    text = script(promise(Document(), HERE))
    for route in ROUTES:
        assert f"{route}" in next(line for line in text.splitlines() if "ip6 saddr {" in line)
        assert f"{route}" in next(line for line in text.splitlines() if "ip6 daddr {" in line)


def test_a_provider_reaches_its_listener_and_voice_from_its_own_addresses() -> None:
    made = promise(document(*trunk(host="198.51.100.5", media=["198.51.100.128/25"])), HERE)
    assert services(made, "trunk-line") == {(Service.SIP, 5080)}
    media = next(each.sources for each in made.openings if each.sources.name == "media-line")
    assert media.networks == ("198.51.100.5/32", "198.51.100.128/25")


def test_a_provider_known_by_name_is_let_in_when_the_name_is_known() -> None:
    found = document(*trunk(host="SIP.provider.example", accept_from=[]))
    assert services(promise(found, HERE), "trunk-line") == set()
    known = Machine(names={"sip.provider.example:5060": ("198.51.100.5", "2001:db8:2::5")})
    line = next(each.sources for each in promise(found, known).openings if each.sources.name == "trunk-line")
    assert (line.of(4), line.of(6)) == (("198.51.100.5/32",), ("2001:db8:2::5/128",))


def test_provisioning_is_opened_where_phones_are_and_only_when_something_answers() -> None:
    made = document(
        network("a", "voice", "192.0.2.0/24"),
        network("b", "clients", "0.0.0.0/0"),
        network("c", "management", "10.9.0.0/24"),
    )
    assert all(each.service is not Service.PROVISIONING for each in promise(made, HERE).openings)
    found = [
        each for each in promise(made, Machine(provisioning=8088)).openings if each.service is Service.PROVISIONING
    ]
    assert {(each.sources.name, each.protocol, each.ports) for each in found} == {
        ("vpn", "tcp", (8088, 8088)),
        ("network-a", "tcp", (8088, 8088)),
    }


def test_equal_promises_are_equal_scripts_and_others_are_told_apart() -> None:
    one = document(network("a", "voice", "192.0.2.0/24"), network("b", "clients", "::/0"))
    other = Document.of(reversed(list(one)))
    assert script(promise(one, HERE)) == script(promise(other, HERE))
    assert digest_in(script(promise(one, HERE))) != digest_in(script(promise(document(), HERE)))
    assert digest_in("table inet centralino { }") is None


def test_networks_within_networks_make_no_set_that_the_kernel_refuses() -> None:
    text = script(promise(document(network("a", "voice", "192.0.2.0/24", "192.0.2.128/25", "192.0.3.0/24")), HERE))
    assert "elements = { 192.0.2.0/23 }" in text


def test_trunks_that_may_do_the_same_are_looked_up_once() -> None:
    lines: list[Row] = []
    for n in range(50):
        lines.append(("provider", {"id": f"telco-{n}", "name": "T", "media_networks": [f"198.51.100.{n}/32"]}))
        auth = {"type": "address"}
        lines.append(
            (
                "trunk",
                {"id": f"line-{n}", "name": "L", "provider": f"telco-{n}", "host": f"203.0.113.{n}", "auth": auth},
            )
        )
    found = document(*lines, network("a", "voice", "192.0.2.0/25"), network("b", "voice", "192.0.2.128/25"))
    made, text = promise(found, HERE), script(promise(found, HERE))
    assert len([each for each in made.groups if each.name.startswith("trunk-")]) == 50  # what is shown stays apart
    chains = re.findall(r"chain (from-[a-z0-9-]+) {", text)
    assert chains == [
        "from-anybody", "from-vpn", "from-network-a", "from-edges", "from-trunk-line-0", "from-media-line-0"
    ]  # fmt: skip
    assert "elements = { 203.0.113.0/27, 203.0.113.32/28, 203.0.113.48/31 }" in text
    assert "elements = { 192.0.2.0/24 }" in text


def test_neighbours_are_one_set_without_networks_within_networks() -> None:
    site = {"id": "roma", "name": "Roma", "company": "demo", "networks": ["10.4.0.0/16", "10.4.7.0/24", "10.5.0.0/24"]}
    near = {"id": "roma", "site": "roma", "number": 2, "reaches": ["torino"]}
    text = script(promise(document(("site", site), ("branch", near)), HERE))
    (pairs,) = re.findall(r"set neighbours-4 {\n.*\n +elements = { (.*) }", text)
    one, both = "10.3.0.0/24", ("10.4.0.0/16", "10.5.0.0/24")
    assert sorted(pairs.split(", ")) == sorted(
        [*(f"{one} . {each}" for each in both), *(f"{each} . {one}" for each in both)]
    )


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(strategies.documents())
def test_nobody_but_named_networks_and_providers_ever_reaches_sip_or_voice(made: Document) -> None:
    if any(fault.error_id == "network_too_wide" for fault in verify(made)):
        return
    web = {each.port for each in made.all(Listener).values() if each.zone is Zone.WEB}
    for opening in promise(made, Machine(provisioning=8088)).openings:
        anybody = not opening.sources.networks or bool({"0.0.0.0/0", "::/0"} & set(opening.sources.networks))
        if anybody and opening.sources.interface != "voice-*":
            assert opening.service not in (Service.MEDIA, Service.SSH, Service.PROVISIONING)
            assert opening.service is not Service.SIP or (opening.protocol == "tcp" and opening.ports[0] in web)


def faults(*more: Row) -> list[tuple[str, str]]:
    return [(fault.path, fault.error_id) for fault in verify(document(*more))]


def test_a_network_that_would_open_voice_to_the_internet_is_refused_also_in_halves() -> None:
    assert faults(network("a", "voice", "0.0.0.0/1", "128.0.0.0/1"), network("m", "management", "10.0.0.0/8", "::/0")) == [
        ("network/a/networks[0]", "network_too_wide"),
        ("network/a/networks[1]", "network_too_wide"),
        ("network/m/networks[1]", "network_too_wide"),
    ]  # fmt: skip
    assert faults(network("w", "clients", "0.0.0.0/0"), network("m", "management", "10.0.0.0/8")) == []


def test_a_provider_that_may_call_from_anywhere_is_refused() -> None:
    assert faults(*trunk(host="198.51.100.5", accept_from=["0.0.0.0/0"], media=["::/3"])) == [
        ("trunk/line/accept_from[0]", "network_too_wide"),
        ("provider/telco/media_networks[0]", "network_too_wide"),
    ]


def test_a_list_that_shuts_out_our_own_is_refused() -> None:
    assert faults(listed("bad", "block", "203.0.113.0/24", "10.3.0.128/25")) == [
        ("address_list/bad/networks[1]", "blocks_our_own")
    ]
    assert faults(listed("bad", "block", "2001:db8::/32")) == [("address_list/bad/networks[0]", "blocks_our_own")]


def test_warnings() -> None:
    assert faults(network("a", "voice", "192.0.2.0/24")) == [("network/a/zone", "no_management_network")]
    assert faults(listed("bad", "block", "203.0.113.0/24"), listed("ok", "allow", "203.0.113.9/32")) == [
        ("address_list/bad/networks[0]", "allowed_and_blocked")
    ]
