"""What the kernel should have of an edge's lines, and how it comes there: the pure half (with a real kernel: tests/hil/test_edge_links.py)."""

from __future__ import annotations

import os
import socket
import struct
import tomllib
from fnmatch import fnmatch
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.edge.links.changes import changes
from appliance.edge.links.kernel import matters
from appliance.edge.links.leases import SCRIPT, read
from appliance.edge.links.things import (
    MAIN,
    UNREACHABLE,
    Address,
    Change,
    Device,
    Found,
    Lease,
    Route,
    Rule,
    Wanted,
)
from appliance.edge.links.wanted import mark_of, table_of, wanted
from appliance.paths import CHECKOUT
from appliance.vpn.slices.model import Link

UP = Device(3, up=True, carrier=True)


def link(number: int, device: str, **access: Any) -> Link:
    return Link.model_validate({"number": number, "device": device, "access": access or {"type": "dhcp"}})


def static(number: int, *addresses: str, gateways: tuple[str, ...]) -> Link:
    return link(number, f"eth{number}", type="static", addresses=addresses, gateways=gateways)


LEASE = Lease(IPv4Interface("192.0.2.9/24"), (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")))
POOL = ["192.0.2.7/24", "198.51.100.2/30", "203.0.113.77/32", "2001:db8:1::7/64", "2001:db8:2::7/127"]


@st.composite
def situations(draw: st.DrawFn) -> tuple[tuple[Link, ...], dict[str, Lease | None]]:
    """Lines as a slice may have them, and what was leased."""
    links, leases = [], {}
    for number in draw(st.sets(st.integers(1, 4))):
        own = draw(st.lists(st.sampled_from(POOL), max_size=3, unique=True))
        if own:
            gateways = {ip_interface(each).version: str(ip_interface(each).network[0]) for each in own}
            links.append(static(number, *own, gateways=tuple(gateways.values())))
        else:
            links.append(link(number, f"eth{number}"))
            leases[f"eth{number}"] = draw(st.sampled_from([None, LEASE]))
    return tuple(links), leases


class Kernel:
    """As it takes one change after the other."""

    def __init__(self, *devices: str) -> None:
        self.devices = {name: Device(at, up=False, carrier=True) for at, name in enumerate(devices, 2)}
        self.addresses: set[Address] = set()
        self.routes: set[Route] = set()
        self.rules: set[Rule] = set()

    def found(self) -> Found:
        ours = frozenset(self.addresses)
        return Found(dict(self.devices), ours, ours, frozenset(self.routes), frozenset(self.rules))

    def take(self, change: Change) -> None:
        match change.what:
            case str(name):
                self.devices[name] = Device(self.devices[name].index, up=True, carrier=True)
            case Address():
                (self.addresses.add if change.made else self.addresses.remove)(change.what)
            case Rule():
                (self.rules.add if change.made else self.rules.remove)(change.what)
            case Route() if not change.made:
                self.routes.remove(change.what)
            case Route() as route:
                own = [each.interface for each in self.addresses if each.device == route.device]
                assert route.device is None or any(route.gateway in each.network for each in own), (
                    "no way to the gateway"
                )
                self.routes = {each for each in self.routes if each.place != route.place} | {route}

    def settle(self, want: Wanted) -> list[Change]:
        done: list[Change] = []
        for _turn in range(3):
            todo = changes(self.found(), want)
            for each in todo:
                self.take(each)
            done += todo
        assert changes(self.found(), want) == ()
        return done

    def way(self, line: int, version: int) -> str | None:
        """By which interface it goes that is marked for a line."""
        fitting = [each for each in self.routes if each.table == table_of(line) and each.to.version == version]
        return min(fitting, key=lambda each: each.metric).device if fitting else "no table"


@given(st.lists(situations(), min_size=1, max_size=4))
def test_from_anything_to_anything_and_the_kernel_has_what_is_wanted(
    given_: list[tuple[tuple[Link, ...], dict[str, Lease | None]]],
) -> None:
    kernel = Kernel("eth1", "eth2", "eth3", "eth4")
    for links, leases in given_:
        want = wanted(links, leases, {})
        kernel.settle(want)
        assert (kernel.addresses, kernel.routes, kernel.rules) == (want.addresses, want.routes, want.rules)
        for each in links:
            for version in (4, 6):
                assert kernel.way(each.number, version) in (each.device, None), "never by another line"
    kernel.settle(Wanted())
    assert not kernel.addresses | kernel.routes | kernel.rules  # type: ignore[operator]


@given(situations(), situations())
def test_a_line_that_stays_as_it_is_has_a_way_at_every_moment(
    before: tuple[tuple[Link, ...], dict[str, Lease | None]], after: tuple[tuple[Link, ...], dict[str, Lease | None]]
) -> None:
    kernel = Kernel("eth1", "eth2", "eth3", "eth4")
    kernel.settle(wanted(*before, {}))
    stays = [
        each for each in before[0] if each in after[0] and before[1].get(each.device) == after[1].get(each.device)
    ]  # fmt: skip
    had = {(each.number, version): kernel.way(each.number, version) for each in stays for version in (4, 6)}
    for change in changes(kernel.found(), wanted(*after, {})):
        kernel.take(change)
        assert {key: kernel.way(*key) for key in had} == had


def test_what_is_ours_and_not_wanted_goes_whoever_made_it_and_what_is_others_stays() -> None:
    want = wanted((static(1, "192.0.2.7/24", gateways=("192.0.2.1",)),), {}, {})
    stray = Address("eth9", IPv4Interface("10.0.0.1/8"))
    theirs = Address("eth1", IPv4Interface("192.0.2.8/24"))
    old = Route(next(iter(want.routes)).to, 5304, 1, "eth9", IPv4Address("10.0.0.2"))
    found = Found(
        {"eth1": UP}, want.addresses | {theirs}, want.addresses | {stray}, want.routes | {old}, want.rules | {Rule(4, 5399, 77)}
    )  # fmt: skip
    assert changes(found, want) == (
        Change(Rule(4, 5399, 77), made=False), Change(old, made=False), Change(stray, made=False),
    )  # fmt: skip


def test_an_address_that_somebody_else_has_made_already_will_do() -> None:
    want = wanted((static(1, "192.0.2.7/24", gateways=("192.0.2.1",)),), {}, {})
    assert changes(Found({"eth1": UP}, want.addresses, frozenset(), want.routes, want.rules), want) == ()


def test_of_an_interface_that_is_not_there_nothing_is_made_and_of_one_that_is_down_no_route() -> None:
    want = wanted((static(1, "192.0.2.7/24", gateways=("192.0.2.1",)),), {}, {})
    made = {type(each.what) for each in changes(Found(), want)}
    assert made == {Route, Rule}
    assert all(each.what.device is None for each in changes(Found(), want) if isinstance(each.what, Route))
    down = changes(Found({"eth1": Device(3, up=False, carrier=False)}, routes=frozenset()), want)
    assert down[0] == Change("eth1")
    assert all(each.what.device is None for each in down if isinstance(each.what, Route))


def test_a_line_with_dhcp_has_the_first_router_and_of_ipv6_what_is_advertised() -> None:
    router = IPv6Address("fe80::1")
    want = wanted((link(2, "eth2"),), {"eth2": LEASE}, {"eth2": (router,), "eth3": (IPv6Address("fe80::3"),)})
    assert want.addresses == {Address("eth2", LEASE.address)}
    ways = {(each.table, each.metric, each.gateway) for each in want.routes}
    assert ways == {
        (5302, 1, IPv4Address("192.0.2.1")), (5302, 1, router), (5302, UNREACHABLE, None), (MAIN, 5302, IPv4Address("192.0.2.1")),
    }  # fmt: skip
    nothing = wanted((link(2, "eth2"),), {"eth2": None}, {})
    assert (nothing.addresses, {each.metric for each in nothing.routes}) == (set(), {UNREACHABLE})
    assert nothing.devices == {"eth2"}


def test_marks_of_lines_are_apart() -> None:
    assert len({mark_of(line) for line in range(1, 5)}) == 4
    assert all(mark_of(line) & 0x0F000000 == mark_of(line) for line in range(1, 5))


GOOD = b"at=100.5\nip=192.0.2.9\nmask=255.255.255.0\nrouter=192.0.2.1 192.0.2.2\ndns=192.0.2.53\nserverid=192.0.2.1\nlease=600\n"


def test_what_a_server_said_is_good_for_as_long_as_it_said() -> None:
    found = read(GOOD, 101.0)
    assert found == Lease(
        LEASE.address, LEASE.gateways, (IPv4Address("192.0.2.53"),), IPv4Address("192.0.2.1"), pytest.approx(599.5)
    )
    assert read(GOOD, 700.4) is not None
    assert read(GOOD, 700.5) is None
    assert read(GOOD, 100.4) is None, "of another start of the machine"
    for never in (b"lease=4294967295", b"lease="):
        found = read(GOOD.replace(b"lease=600", never), 1e9)
        assert found is not None
        assert found.ends_in_s is None


@pytest.mark.parametrize(
    ("said", "gateways"),
    [
        (b"router=", ()),
        (b"router=10.0.0.1", ()),  # no neighbour
        (b"router=192.0.2.9", ()),  # ourselves
        (b"router=0.0.0.0 garbage 224.0.0.1 192.0.2.254", ("192.0.2.254",)),
    ],
)
def test_a_router_that_can_be_none_is_none(said: bytes, gateways: tuple[str, ...]) -> None:
    found = read(GOOD.replace(b"router=192.0.2.1 192.0.2.2", said), 101.0)
    assert found is not None
    assert found.gateways == tuple(map(ip_address, gateways))


def test_the_router_of_an_address_alone_may_be_anywhere() -> None:
    found = read(
        GOOD.replace(b"255.255.255.0", b"255.255.255.255").replace(b"router=192.0.2.1 192.0.2.2", b"router=10.0.0.1"),
        101.0,
    )
    assert found is not None
    assert found.gateways == (IPv4Address("10.0.0.1"),)


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\xff", b"at=1", b"at=x\nip=192.0.2.9\n", b"at=1\nip=\n", b"at=1\nip=2001:db8::1\n", b"at=1\nip=127.0.0.1\nmask=255.0.0.0\n",
        b"at=1\nip=0.0.0.0\nmask=255.0.0.0\n", b"at=1\nip=255.255.255.255\n", b"at=1\nip=192.0.2.9\nmask=1.2.3.4\n",
        b"at=1\nip=192.0.2.9\nlease=soon\n", b"at=1\nip=192.0.2.9/8\nmask=255.0.0.0\n",
    ],
)  # fmt: skip
def test_what_cannot_be_is_no_lease(garbage: bytes) -> None:
    try:
        found = read(garbage, 2.0)
    except ValueError:
        found = None
    assert found is None


@given(st.binary(max_size=300))
def test_whatever_is_in_the_file_it_is_read_or_refused(content: bytes) -> None:
    try:
        found = read(content, 1e6)
    except ValueError:
        return
    assert found is None or isinstance(found, Lease)


def message(kind: int, family: int, more: bytes = b"") -> bytes:
    """One of rtnetlink's."""
    body = bytes([family]) + bytes(7) + more
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body + bytes(-len(body) % 4)


def test_that_an_address_of_ipv6_lasts_longer_is_no_reason_to_look() -> None:
    lasts = message(20, socket.AF_INET6, b"abc")
    assert not matters(lasts)
    assert not matters(lasts * 5)
    for kind, family in (
        (20, socket.AF_INET),
        (21, socket.AF_INET6),
        (24, socket.AF_INET6),
        (16, 0),
        (33, socket.AF_INET),
    ):
        assert matters(message(kind, family))
        assert matters(lasts + message(kind, family) + lasts)
    assert not matters(b"")


@given(st.binary(max_size=200))
def test_whatever_is_said_it_comes_to_an_end(said: bytes) -> None:
    assert matters(said) in (True, False)


def test_what_udhcpc_starts_comes_with_the_product_and_may_be_started() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    packed = project["tool"]["setuptools"]["package-data"]["*"]
    assert any(fnmatch(SCRIPT.name, pattern) for pattern in packed)
    assert os.access(SCRIPT, os.X_OK)
