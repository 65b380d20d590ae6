from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import CorruptError
from appliance.engine.openvpn_status import parse_pairs, parse_states, parse_status, parse_version
from tests.hil.agents.openvpn_replay import recorded, status

ROWS = status(2)[:-1]
CLIENTS = "\t".join(ROWS[2].split("\t")[2:])


def with_row(*cells: str) -> list[str]:
    return [*ROWS[:3], "\t".join(("CLIENT_LIST", *cells))]


def test_the_status_of_a_real_server() -> None:
    found = parse_status(ROWS)
    milan, rome = sorted(found.clients, key=lambda client: client.common_name)
    assert found.title.startswith("OpenVPN 2.6.14")
    assert found.at > 1_795_000_000
    assert (found.handshakes, found.unreadable) == (0, 0)
    assert milan.address.version == 4
    assert milan.port
    assert milan.virtual4 == IPv4Address("10.99.0.2")
    assert milan.virtual6 == IPv6Address("fd00:99::1000")
    assert milan.networks == (IPv4Network("192.168.7.0/24"),)
    assert milan.received > 10_000
    assert milan.cipher == "AES-256-GCM"
    assert rome.address == IPv6Address("2001:db8:1::13")
    assert rome.port is None
    assert rome.networks == ()
    assert {milan.cid, rome.cid} == {0, 1}


def test_a_server_without_clients() -> None:
    assert parse_status(status(0)[:-1]).clients == ()


def test_a_daemon_that_is_a_client_has_no_clients() -> None:
    (rows,) = (lines for sent, lines in recorded("client") if sent == "status 3")
    assert parse_status(rows[: rows.index("END")]).clients == ()


@pytest.mark.parametrize(
    ("real", "address", "port"),
    [
        ("192.0.2.1:1194", "192.0.2.1", 1194),
        ("2001:db8::1", "2001:db8::1", None),
        ("[2001:db8::1]:1194", "2001:db8::1", 1194),
        ("udp4:192.0.2.1:1194", "192.0.2.1", 1194),
        ("udp6:2001:db8::1", "2001:db8::1", None),
        ("tcp4-server:192.0.2.1:443", "192.0.2.1", 443),
    ],
)
def test_real_addresses_of_this_and_later_versions(real: str, address: str, port: int | None) -> None:
    cells = ["x", real, "10.99.0.9", "", "1", "2", "then", "3", "UNDEF", "4", "5", "AES-256-GCM"]
    (client,) = parse_status(with_row(*cells)).clients
    assert (str(client.address), client.port) == (address, port)
    assert client.virtual6 is None


def test_two_sessions_of_one_certificate_and_address() -> None:
    cells = ["x", "2001:db8::1", "10.99.0.9", "", "1", "2", "then", "3", "UNDEF", "4", "5", "AES-256-GCM"]
    rows = [*with_row(*cells), "\t".join(["CLIENT_LIST", *cells[:9], "6", *cells[10:]])]
    assert [client.cid for client in parse_status(rows).clients] == [4, 6]


def test_who_is_on_the_way_in_is_counted() -> None:
    cells = ["UNDEF", "192.0.2.1:1194", "", "", "1", "2", "then", "3", "UNDEF", "4", "5", "none"]
    found = parse_status(with_row(*cells))
    assert (found.clients, found.handshakes) == ((), 1)


@pytest.mark.parametrize("at", range(11))
def test_a_row_that_makes_no_sense_hides_no_other(at: int) -> None:
    cells = ["x", "192.0.2.1:1", "10.99.0.9", "", "1", "2", "then", "3", "UNDEF", "4", "5", "AES-256-GCM"]
    if at in {0, 6, 8}:  # texts
        del cells[at]
    else:
        cells[at] = "-1"
    found = parse_status([*ROWS, "\t".join(["CLIENT_LIST", *cells])])
    assert (len(found.clients), found.unreadable) == (2, 1)


def test_networks_that_were_cached_on_the_way_are_left_out() -> None:
    name, real = next(row.split("\t")[1:3] for row in ROWS if row.startswith("CLIENT_LIST\tm"))
    rows = [f"ROUTING_TABLE\t{what}\t{name}\t{real}\tthen\t1" for what in ("192.168.7.9C", "2001:db8:9::/64", "x")]
    milan = next(client for client in parse_status([*ROWS, *rows]).clients if client.common_name == "milan")
    assert milan.networks == (IPv4Network("192.168.7.0/24"), IPv6Network("2001:db8:9::/64"))


@pytest.mark.parametrize(
    "rows", [[], ["END"], ["TIME\tx\t1"], ["HEADER"], ["TIME"], [ROWS[1], "HEADER\tROUTING_TABLE"]]
)
def test_what_is_no_status(rows: list[str]) -> None:
    with pytest.raises(CorruptError):
        parse_status(rows)


@given(st.lists(st.sampled_from(ROWS).flatmap(lambda row: st.permutations(row.split("\t")).map("\t".join)) | st.text()))
def test_garbage_gives_its_own_error_or_none(rows: list[str]) -> None:
    for parse in (parse_status, parse_states, parse_version):
        try:
            parse(rows)
        except CorruptError as error:
            assert error.error_id == "vpn_protocol"  # noqa: PT017


def test_version_state_and_numbers() -> None:
    (rows,) = (lines[:-1] for sent, lines in recorded("server") if sent == "version")
    version = parse_version(rows)
    assert version.program.startswith("OpenVPN 2.6.14 ")
    assert version.interface == 5
    (rows,) = (lines[:-1] for sent, lines in recorded("server") if sent == "state all")
    state = parse_states(rows)
    assert state is not None
    assert (state.name, state.detail, state.address4) == ("CONNECTED", "SUCCESS", "10.99.0.1")
    assert parse_states([]) is None
    assert parse_pairs("nclients=2,bytesin=29286,bytesout=7535", "bytesin", "nclients") == (29286, 2)
    with pytest.raises(CorruptError):
        parse_pairs("nclients=2", "bytesin")
