"""What is tested by each line, as far as it needs no network: reading what the kernel says, figures, and words."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import InvalidError, UnavailableError
from appliance.edge.reach import names, netlink, ping, trace
from appliance.edge.reach.gateway import link_of, was_heard
from appliance.edge.reach.netlink import Neighbour, Route, best
from appliance.edge.reach.ping import Echo, Pinged
from appliance.edge.reach.reports import ERROR4, ERROR6, Kind, Report, report_in, report_of
from appliance.edge.reach.trace import Hop
from appliance.edge.reach.verdicts import Link, Verdict, Where
from appliance.edge.reach.way import Way, checked_device, checked_host, in_words
from appliance.i18n import speaking, translated

# Reports


def extended(number: int, origin: int, type: int, code: int, information: int, by: str) -> bytes:
    """``struct sock_extended_err`` and who reports, as Linux makes it."""
    head = struct.pack("=IBBBBII", number, origin, type, code, 0, information, 0)
    if not by:
        return head + bytes(16)
    address = ipaddress.ip_address(by)
    if address.version == 4:
        return head + struct.pack("=HH", socket.AF_INET, 0) + address.packed + bytes(8)
    return head + struct.pack("=HHI", socket.AF_INET6, 0, 0) + address.packed + bytes(4)


@pytest.mark.parametrize(
    ("value", "kind", "mtu", "words"),
    [
        (extended(errno.EHOSTUNREACH, 2, 11, 0, 0, "192.0.2.1"), Kind.PASSED, None, ""),
        (extended(errno.EHOSTUNREACH, 3, 3, 0, 0, "2001:db8::1"), Kind.PASSED, None, ""),
        (extended(errno.ECONNREFUSED, 2, 3, 3, 0, "192.0.2.1"), Kind.ARRIVED, None, ""),
        (extended(errno.ECONNREFUSED, 3, 1, 4, 0, "2001:db8::1"), Kind.ARRIVED, None, ""),
        (extended(errno.EMSGSIZE, 2, 3, 4, 1400, "192.0.2.1"), Kind.TOO_LARGE, 1400, ""),
        (extended(errno.EMSGSIZE, 3, 2, 0, 1280, "2001:db8::1"), Kind.TOO_LARGE, 1280, ""),
        (extended(errno.EMSGSIZE, 1, 0, 0, 1492, ""), Kind.TOO_LARGE, 1492, ""),
        (extended(errno.EMSGSIZE, 2, 3, 4, 3, "192.0.2.1"), Kind.TOO_LARGE, None, ""),
        (extended(errno.ENETUNREACH, 2, 3, 0, 0, "192.0.2.1"), Kind.UNREACHABLE, None, "192.0.2.1 says: it knows no way there"),
        (extended(errno.EHOSTUNREACH, 2, 3, 13, 0, "192.0.2.1"), Kind.UNREACHABLE, None, "192.0.2.1 says: it is forbidden to go there"),
        (extended(errno.EHOSTUNREACH, 3, 1, 3, 0, "2001:db8::1"), Kind.UNREACHABLE, None, "2001:db8::1 says: nobody answers at that address"),
        (extended(errno.EHOSTUNREACH, 1, 0, 0, 0, ""), Kind.UNREACHABLE, None, "nobody answers at that address"),
    ],
)  # fmt: skip
def test_reports_of_routers_and_of_the_kernel_are_told_apart(
    value: bytes, kind: Kind, mtu: int | None, words: str
) -> None:
    level = ERROR6 if b"\x20\x01\x0d\xb8" in value else ERROR4
    found = report_in([(1, 35, bytes(16)), (*level, value)])
    assert found is not None
    assert (found.kind, found.mtu, found.words) == (kind, mtu, words)
    speaking("it")
    assert not words or translated(words) != words
    speaking("en")


@given(st.binary(max_size=64))
def test_whatever_is_in_the_queue_is_read_or_passed_over(value: bytes) -> None:
    found = report_of(value)
    assert found is None or found.mtu is None or 68 <= found.mtu <= 65535


# Figures


def test_loss_and_jitter_are_of_the_echoes_in_their_order() -> None:
    found = ping.summed(
        [Echo(3, 30.0), Echo(1, 10.0), Echo(4, None, "192.0.2.1 says: it knows no way there"), Echo(2, 14.0)]
    )
    assert found == Pinged(4, 3, 0.25, 10.0, 18.0, 30.0, 10.0, "192.0.2.1 says: it knows no way there")
    assert ping.summed([Echo(1, None)]) == Pinged(1, 0, 1.0, None, None, None, None)
    assert ping.summed([Echo(1, 5.0)]).jitter_ms is None


def test_hops_together_tell_the_smallest_packet() -> None:
    found = trace.summed(
        [Hop(1, ("192.0.2.1",), 1.0, 1492), Hop(2), Hop(3, ("198.51.100.1",), 9.0, 1400, reached=True)]
    )
    assert (found.reached, found.mtu, found.said) == (True, 1400, "")
    assert trace.summed([Hop(1, said="no")]).said == "no"


@pytest.mark.parametrize("count", [0, 101, -1])
def test_no_more_is_sent_than_one_may_want(count: int) -> None:
    with pytest.raises(InvalidError):
        list(ping.ping(Way(ipaddress.ip_address("127.0.0.1")), count))
    with pytest.raises(InvalidError):
        list(trace.trace(Way(ipaddress.ip_address("127.0.0.1")), count))


# What the kernel says


def attribute(type: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), type) + data + bytes(-len(data) % 4)


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def route(*attributes: bytes, family: int = socket.AF_INET, length: int = 0, type: int = 1, flags: int = 0) -> bytes:
    return struct.pack("=8BI", family, length, 0, 0, 254, 3, 0, type, flags) + b"".join(attributes)


def test_routes_of_all_shapes_are_read() -> None:
    plain = route(
        attribute(5, packed("192.0.2.1")),
        attribute(4, number(7)),
        attribute(6, number(100)),
        attribute(15, number(102)),
    )
    anywhere = ipaddress.ip_network("0.0.0.0/0")
    assert list(netlink.routes_in(plain)) == [Route(anywhere, 7, ipaddress.ip_address("192.0.2.1"), 100, 102)]
    hops = b"".join(
        struct.pack("=HBBi", 16, 0, 0, device) + attribute(5, packed(gateway))
        for device, gateway in ((7, "192.0.2.1"), (8, "198.51.100.1"))
    )
    assert [(each.device, str(each.gateway)) for each in netlink.routes_in(route(attribute(9, hops)))] == [
        (7, "192.0.2.1"),
        (8, "198.51.100.1"),
    ]
    by_six = route(attribute(18, struct.pack("=H", socket.AF_INET6) + packed("fe80::1")), attribute(4, number(7)))
    assert [str(each.gateway) for each in netlink.routes_in(by_six)] == ["fe80::1"]
    modem = route(attribute(4, number(9)))
    assert [each.gateway for each in netlink.routes_in(modem)] == [None]
    assert list(netlink.routes_in(route(attribute(4, number(9)), type=7))) == [], "unreachable"
    assert list(netlink.routes_in(route(attribute(4, number(9)), flags=0x200))) == [], "remembered of a host"


def test_the_narrowest_route_of_a_device_is_taken() -> None:
    gateway = ipaddress.ip_address("192.0.2.1")
    known = [
        Route(ipaddress.ip_network("0.0.0.0/0"), 7, gateway, 200),
        Route(ipaddress.ip_network("0.0.0.0/0"), 7, ipaddress.ip_address("192.0.2.2"), 100),
        Route(ipaddress.ip_network("198.51.100.0/24"), 7, None),
        Route(ipaddress.ip_network("::/0"), 7, ipaddress.ip_address("fe80::1")),
        Route(ipaddress.ip_network("0.0.0.0/0"), 8, gateway),
    ]
    assert best(known, 7, ipaddress.ip_address("203.0.113.1"), 4) == known[1]
    assert best(known, 7, ipaddress.ip_address("198.51.100.9"), 4) == known[2]
    assert best(known, 7, None, 4) == known[1]
    assert best(known, 7, ipaddress.ip_address("fe80::9%eth0"), 6) == known[3]
    assert best(known, 9, None, 4) is None


def test_addresses_that_can_be_sent_from_are_read() -> None:
    head = struct.pack("=BBBBI", socket.AF_INET, 24, 0x80, 0, 7)
    assert list(netlink.address_in(head + attribute(2, packed("192.0.2.5")))) == [
        (7, ipaddress.ip_interface("192.0.2.5/24"))
    ]
    head = struct.pack("=BBBBI", socket.AF_INET6, 64, 0, 0, 7)
    found = attribute(1, packed("2001:db8::5"))
    assert [str(each) for _, each in netlink.address_in(head + found)] == ["2001:db8::5/64"]
    assert list(netlink.address_in(head + found + attribute(8, number(0x40)))) == [], "not sure to be ours alone yet"


def test_a_neighbour_was_heard_when_it_answered_since_we_asked() -> None:
    head = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, 7, 0x02, 0, 1)
    body = (
        head
        + attribute(1, packed("192.0.2.1"))
        + attribute(2, bytes(6))
        + attribute(3, struct.pack("=4I", 150, 0, 0, 1))
    )
    [known] = netlink.neighbour_in(body)
    assert (str(known.address), known.device, known.heard_s) == ("192.0.2.1", 7, pytest.approx(150 / netlink._TICKS))
    assert was_heard(Neighbour(known.address, 7, 0x02, 1.0), 2.0)
    assert not was_heard(Neighbour(known.address, 7, 0x02, 20.0), 2.0), "that was before"
    assert not was_heard(Neighbour(known.address, 7, netlink.FAILED, 1.0), 2.0)
    assert not was_heard(None, 2.0)


@given(st.binary(min_size=12, max_size=80))
def test_whatever_the_kernel_says_is_read_or_passed_over(body: bytes) -> None:
    for read in (netlink.address_in, netlink.routes_in, netlink.neighbour_in):
        found: Any = read
        list(found(body))


def test_this_machine_s_own_loopback() -> None:
    link = link_of("lo")
    assert (link.there, link.device) == (True, "lo")
    assert link_of("nothing0") == Link("nothing0")


def test_what_a_driver_tells_of_its_cable(tmp_path: Path) -> None:
    for name, value in (("carrier", "0"), ("speed", "-1"), ("flags", "0x1003"), ("operstate", "down")):
        (tmp_path / "nothing0").mkdir(exist_ok=True)
        (tmp_path / "nothing0" / name).write_text(value + "\n")
    assert link_of("nothing0", tmp_path) == Link(
        "nothing0", there=True, on=True, carrier=False, speed=None, state="down"
    )
    (tmp_path / "nothing0/speed").write_text("1000\n")
    assert link_of("nothing0", tmp_path).speed == 1000
    (tmp_path / "nothing0/carrier").unlink()
    assert link_of("nothing0", tmp_path).carrier is None, "an interface that is off doesn't tell"


# Words and input


@pytest.mark.parametrize("where", list(Where))
@pytest.mark.parametrize(
    ("target", "gateway"), [("", ""), ("", "192.0.2.1"), ("vpn.example.com", ""), ("vpn.example.com", "192.0.2.1")]
)
def test_there_are_words_for_every_verdict_in_both_languages(where: Where, target: str, gateway: str) -> None:
    verdict = Verdict(where, Link("eth1"), target, gateway)
    texts = [text for text in (verdict.message, verdict.hint) if text]
    assert bool(verdict.hint) is not verdict.well
    speaking("it")
    assert all(translated(text) not in ("", text) for text in texts), texts
    speaking("en")


@pytest.mark.parametrize("text", ["vpn.example.com", "192.0.2.1", "2001:db8::1", "fe80::1%eth0", "pbx"])
def test_hosts(text: str) -> None:
    assert checked_host(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-c1",
        "a b",
        "host;id",
        "198.51.100.777",
        "1.2.3",
        "::zz",
        "a%eth0",
        "fe80::1%../x",
        "x" * 254,
        "a\n",
        "192.0.2.1\n",
    ],
)
def test_no_hosts(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        checked_host(text)
    assert caught.value.error_id == "bad_host"


@pytest.mark.parametrize("text", ["", "-x", "..", ".", "a/b", "a b", "a:1", "x" * 16, "a\0b", "eth0\n"])
def test_no_devices(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        checked_device(text)
    assert caught.value.error_id == "bad_device"


def test_what_the_kernel_refuses_is_told_in_words() -> None:
    assert in_words(OSError(errno.ENETUNREACH, "x")) == "this machine has no route there"
    assert in_words(OSError(errno.EIO, "Input/output error")) == "Input/output error"


def test_name_servers_of_a_file() -> None:
    text = "# nameserver 192.0.2.9\nnameserver 192.0.2.1\nnameserver\nnameserver x\nsearch a\nnameserver fe80::1%eth0\nnameserver 192.0.2.1\n"
    assert names.servers_in(text) == ("192.0.2.1", "fe80::1%eth0")


def test_where_no_name_server_is_known_it_is_said(tmp_path: Path) -> None:
    for place in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UnavailableError) as caught:
            list(names.ask_all("vpn.example.com", path=place))
        assert caught.value.error_id == "no_name_servers"


def test_a_report_that_is_ours_names_nobody() -> None:
    from appliance.edge.reach.way import said_by

    report = Report(Kind.UNREACHABLE, "127.0.0.1", reason="nobody answers at that address")
    assert said_by(report) == "nobody answers at that address"
    assert said_by(Report(Kind.UNREACHABLE, "192.0.2.77", reason="x")) == "192.0.2.77 says: x"
