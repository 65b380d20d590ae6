"""Document → coturn's configuration, credentials and openings: relays reach the engine's voice, and what overlaps is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.applier.plan import build
from appliance.core.document import Document, parse
from appliance.core.model import Object
from appliance.core.plan import Effect
from appliance.firewall.promise import Machine, Opening, Promise, Service, promise
from appliance.firewall.rules import script
from appliance.kinds import KINDS
from appliance.turn.addresses import GATE_PORT, ice_servers, listen_addresses, peers, turn_server
from appliance.turn.credentials import LIFETIME_S, credentials
from appliance.turn.plan import FILE, files
from appliance.turn.verify import verify
from tests import strategies

Row = tuple[str, dict[str, Any]]
HERE = Machine(portal=443, turn=True)


def server(**more: Any) -> Row:
    return "turn_server", {"id": "turn", "name": "TURN", "addresses": [{"host": "turn.example.com"}], **more}


def listener(id: str, address: str, transport: str = "wss", **more: Any) -> Row:
    zone = "web" if transport == "wss" else "phones"
    return "listener", {"id": id, "name": id, "transport": transport, "address": address, "zone": zone, **more}


def network(id: str, zone: str, *networks: str) -> Row:
    return "network", {"id": id, "name": id, "zone": zone, "networks": list(networks)}


def document(*rows: Row) -> Document:
    return Document.of(parse(KINDS, kind, data) for kind, data in rows)


WEB = listener("wss", "192.0.2.10", port=8089)


def lines(made: Document) -> list[str]:
    return files(made)[FILE].splitlines()


def ids(made: Document) -> set[tuple[str, str]]:
    return {(fault.error_id, fault.path) for fault in verify(made)}


def test_relays_reach_the_voice_of_browsers_and_nothing_else() -> None:
    made = document(
        server(), WEB, listener("udp", "192.0.2.20", "udp"), listener("wss2", "::", media_address="192.0.2.11")
    )
    found = lines(made)
    assert [line for line in found if "peer-ip" in line] == [
        "denied-peer-ip=0.0.0.0-255.255.255.255",
        "denied-peer-ip=::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "allowed-peer-ip=192.0.2.10",
        "allowed-peer-ip=192.0.2.11",
    ]
    assert [line for line in found if line.startswith(("listening-ip", "aux-server", "relay-ip", "tcp-proxy"))] == [
        "listening-ip=127.0.0.1", f"tcp-proxy-port={GATE_PORT}", "aux-server=192.0.2.10:3478", "aux-server=192.0.2.11:3478",
        "relay-ip=127.0.0.1",
    ]  # fmt: skip
    for wanted in (
        "no-cli", "no-tls", "no-dtls", "no-tcp-relay", "no-multicast-peers", "no-dynamic-ip-list", "use-auth-secret",
        "no-software-attribute", "stale-nonce=600", "fingerprint", "no-rfc5780", "max-bps=64000", "user-quota=24",
        "total-quota=1000", "min-port=30000", "max-port=31999",
    ):  # fmt: skip
        assert wanted in found
    assert not [line for line in found if line.startswith(("static-auth-secret", "user=", "no-auth", "allow-loopback"))]


def test_the_loopback_is_nobodys_peer() -> None:
    made = document(server(), listener("wss", "127.0.0.1", port=8089))
    assert peers(made) == ()
    assert not [line for line in lines(made) if line.startswith("allowed")]
    assert ("turn_without_peers", "listener/wss/media_address") in ids(made)


def test_without_one_in_use_there_is_no_file() -> None:
    assert files(document(WEB)) == {}
    off = document(server(enabled=False), WEB)
    assert turn_server(off) is None
    assert files(off) == {}
    assert promise(off, HERE).relays is None


def test_listening_addresses_are_the_documents_or_the_browsers() -> None:
    made = document(server(listen=["2001:db8::10", "192.0.2.30"], port=443), WEB)
    one = turn_server(made)
    assert one is not None
    assert listen_addresses(made, one) == ("2001:db8::10", "192.0.2.30")
    assert "aux-server=[2001:db8::10]:443" in lines(made)


def test_a_change_drops_what_it_carries_and_a_new_one_disturbs_nobody() -> None:
    before, after = files(document(server(), WEB)), files(document(server(relays=5), WEB))
    assert build({}, before).effect is Effect.LIVE
    assert build(before, after).effect is Effect.DROPS_CONNECTIONS
    assert build(before, {}).effect is Effect.DROPS_CONNECTIONS
    assert build(before, before).effect is Effect.LIVE


@pytest.mark.parametrize(
    ("more", "rows", "fault"),
    [
        ({"relay_first": 19000}, (), ("relay_range_taken", "turn_server/turn/relay_first")),
        ({"relay_first": 1000, "relay_last": 4000}, (), ("relay_range_taken", "turn_server/turn/relay_first")),
        ({"relay_first": 3000, "relay_last": 3999, "port": 3500}, (), ("relay_range_taken", "turn_server/turn/relay_first")),
        ({"relay_first": 31999, "relay_last": 30000}, (), ("relay_range", "turn_server/turn/relay_last")),
        ({"relays": 2001}, (), ("relay_ports", "turn_server/turn/relays")),
        ({"port": GATE_PORT}, (), ("port_taken", "turn_server/turn/port")),
        ({"port": 15000}, (), ("port_taken", "turn_server/turn/port")),
        ({"port": 5060}, (listener("udp", "192.0.2.10", "udp"),), ("port_taken", "turn_server/turn/port")),
        ({"port": 5060}, (listener("udp", "0.0.0.0", "udp", media_address="192.0.2.9"),), ("port_taken", "turn_server/turn/port")),  # noqa: S104
        ({"port": 1200}, (("concentrator", {"id": "vpn", "name": "V", "addresses": [{"host": "vpn.example.com"}]}),), ("port_taken", "turn_server/turn/port")),
        ({"listen": ["192.0.2.1", "::"]}, (), ("turn_any_address", "turn_server/turn/listen[1]")),
        ({}, (("turn_server", {"id": "two", "name": "T", "enabled": False, "addresses": [{"host": "turn.example.com"}]}),), ("second_turn_server", "turn_server/two")),
        ({}, (network("phones", "voice", "192.0.2.0/24"),), ("turn_closed", "turn_server/turn/open_to")),
    ],
)  # fmt: skip
def test_what_can_not_be_is_told(more: dict[str, Any], rows: tuple[Row, ...], fault: tuple[str, str]) -> None:
    assert ids(document(server(), WEB, network("web", "clients", "0.0.0.0/0"))) == set()
    assert ids(document(server(**more), WEB, *rows)) == {fault}


def test_ports_that_only_touch_are_free() -> None:
    assert ids(document(server(relay_first=20000, relay_last=20999, port=21000), WEB)) == set()
    other = listener("udp", "192.0.2.99", "udp", port=3478)
    assert ids(document(server(), WEB, other)) == set(), "another address of this machine"
    assert ids(document(server())) == {("turn_without_browsers", "turn_server/turn/enabled")}


def test_credentials_are_the_hmac_of_their_end_and_of_a_name_that_says_nothing() -> None:
    made = credentials("secret", "anna", 1_800_000_000.9)
    ends, _, who = made.username.partition(":")
    assert (int(ends), made.expires) == (1_800_000_000 + LIFETIME_S, 1_800_000_000 + LIFETIME_S)
    assert "anna" not in made.username
    again = credentials("secret", "anna", 1_900_000_000)
    assert again.username.endswith(who), "one person has one name, by which relays are counted"
    assert not credentials("secret", "berta", 1_800_000_000).username.endswith(who)
    assert not credentials("other", "anna", 1_800_000_000).username.endswith(who)
    digest = hmac.new(b"secret", made.username.encode(), hashlib.sha1).digest()
    assert made.password == base64.b64encode(digest).decode()
    assert made.password not in repr(made)


def test_browsers_are_told_every_address_both_ways() -> None:
    made = document(
        server(addresses=[{"host": "turn.example.com", "port": 443}, {"host": "2001:db8::1", "tls_port": 8443}])
    )
    one = turn_server(made)
    assert one is not None
    (found,) = ice_servers(one, credentials("secret", "anna", 0))
    assert found["urls"] == [
        "turn:turn.example.com:443?transport=udp", "turns:turn.example.com:443?transport=tcp",
        "turn:[2001:db8::1]:3478?transport=udp", "turns:[2001:db8::1]:8443?transport=tcp",
    ]  # fmt: skip
    assert found["username"].startswith(f"{LIFETIME_S}:")


def opened(made: Promise) -> set[tuple[str, Service, tuple[int, int], str | None]]:
    return {
        (each.sources.name, each.service, each.ports, each.address)
        for each in made.openings
        if each.sources.name != "vpn"
    }


def test_the_firewall_opens_it_to_whom_the_document_says() -> None:
    web, phones = network("web", "clients", "198.51.100.0/24"), network("phones", "voice", "192.0.2.0/24")
    turn = (Service.TURN, (3478, 3478), "192.0.2.10")
    clients = opened(promise(document(server(), WEB, web, phones), HERE))
    assert ("network-web", *turn) in clients
    assert {name for name, service, *_ in clients if service is Service.TURN} == {"network-web"}
    anybody = promise(document(server(open_to="anybody"), WEB, web), HERE)
    assert ("anybody", *turn) in opened(anybody)
    assert ("anybody", Service.PORTAL, (443, 443), None) in opened(anybody)
    elsewhere = promise(document(server(open_to="anybody"), WEB, web), Machine(portal=443))
    assert not [each for each in elsewhere.openings if each.service is Service.TURN], "it doesn't run on this machine"
    assert isinstance(anybody.openings[0], Opening)
    text = script(anybody)
    assert "meta skuid 45062 jump from-relays" in text
    assert "ip daddr { 192.0.2.10 } udp dport 10000-19999 accept" in text
    assert "relays-out" not in script(elsewhere)


def test_who_has_no_relay_is_limited_before_anything_is_accepted() -> None:
    text = script(promise(document(server(open_to="anybody"), WEB), HERE))
    limits = "udp dport 3478 jump turn-limits"
    assert text.index(limits) < text.index("udp dport 3478 counter name turn accept")
    within = text[text.index("chain turn-limits {") :]
    within = within[: within.index("}\n  chain")]
    places = [within.index(each) for each in ("@turn-known-4 return", "@turn-rate-4", "limit rate over 500/second")]
    assert places == sorted(places), (
        "who is known passes first, and one source alone doesn't use up what all have together"
    )
    assert "turn-known" not in script(promise(document(server(), WEB), Machine(portal=443)))


def some(kind: str) -> st.SearchStrategy[list[Object]]:
    return st.lists(strategies.objects(kind), max_size=3, unique_by=lambda item: item.id)


@given(some("turn_server"), some("listener"), some("concentrator"), some("network"))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_document_is_too_odd(
    servers: list[Object], listeners: list[Object], vpn: list[Object], networks: list[Object]
) -> None:
    made = Document.of([*servers, *listeners, *vpn, *networks])
    list(verify(made))
    for text in files(made).values():
        allowed = [line for line in text.splitlines() if line.startswith("allowed-peer-ip=")]
        assert all(not line.startswith(("allowed-peer-ip=127.", "allowed-peer-ip=0.")) for line in allowed)
        assert text.count("denied-peer-ip=") == 2
    script(promise(made, HERE))
