"""Addresses that stand for the gate's clients."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.stand_ins import ROUTES, client, stand_in

NETWORKS = [ipaddress.IPv6Network(each) for each in ROUTES]
SIX = [ipaddress.ip_network(each) for each in ("2000::/3", "fc00::/7", "fe80::/10")]


@pytest.mark.parametrize(
    ("address", "stands"),
    [
        ("198.51.100.7", "8000::ffff:c633:6407"),
        ("127.0.0.1", "8000::ffff:7f00:1"),
        ("2001:db8::7", "a001:db8::7"),
        ("3fff:f::7", "bfff:f::7"),
        ("fd00::7", "7d00::7"),
        ("fe80::7", "7e80::7"),
        ("::1", "::1"),
    ],
)
def test_each_client_has_one(address: str, stands: str) -> None:
    found = ipaddress.ip_address(address)
    assert str(stand_in(found)) == stands
    assert client(stand_in(found)) == found


@given(st.one_of(st.ip_addresses(v=4), *(st.ip_addresses(network=str(each)) for each in SIX)))
def test_it_is_undone_and_is_no_address_that_anybody_has(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    found = stand_in(address)
    assert client(found) == address
    assert any(found in each for each in NETWORKS)
    assert not any(found in each for each in (*SIX, ipaddress.ip_network("ff00::/8")))


@given(st.one_of(st.ip_addresses(v=4), *(st.ip_addresses(network=str(each)) for each in SIX)))
def test_whoever_comes_by_another_way_is_himself(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert client(address) == address


@pytest.mark.parametrize("address", ["ff02::1", "::", "4000::1", "64:ff9b::c633:6407"])
def test_what_no_client_has_has_none(address: str) -> None:
    with pytest.raises(ValueError, match=address):
        stand_in(ipaddress.ip_address(address))
