"""Slices for tests, and an edge that is enrolled with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from appliance.edge.identity import Identity
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State
from appliance.vpn.model import Concentrator
from appliance.vpn.pki import Granted
from appliance.vpn.plan import end_lines
from appliance.vpn.slices import Slice, signed
from tests.unit.vpn.ground import Ground

LINES = end_lines(Concentrator.model_validate({"id": "vpn", "name": "VPN", "addresses": [{"host": "198.51.100.7"}]}))


def a_slice(site: str = "milan", **more: Any) -> Slice:
    return Slice.model_validate(
        {
            "revision": 7,
            "site": site,
            "remotes": [{"host": "vpn.example.com", "port": 1194}, {"host": "198.51.100.7", "port": 5000}],
            "openvpn": LINES,
            "networks": ["10.3.0.0/24", "2001:db8:3::/64"],
            "inside": ["172.29.0.1", "fd00:1:2:3::1"],
            "inside_port": 8194,
            **more,
        }
    )


def install(identity: Identity, ground: Ground, granted: Granted, slice: Slice) -> State:
    content = signed(slice, ground.authority.signer())
    return identity.install(granted.chain, granted.root, granted.tls_crypt_key, content)


def enrolled(directory: Path, ground: Ground, site: str = "milan", **slice: Any) -> Identity:
    identity = Identity(EdgePaths(directory / "edge"))
    install(identity, ground, ground.authority.enrol(site, identity.prepare()), a_slice(site, **slice))
    return identity
