"""Trunks over TCP and TLS: whom the engine trusts with calls and passwords, and SDES on the wire."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.agents.stream_provider import Authority, StreamProvider
from tests.hil.agents.tap import Tap
from tests.hil.company import rows
from tests.hil.office import Row
from tests.hil.system import System

PBX, OUTSIDE = "192.0.2.10", "198.51.100.10"
# Trunk → last part of its address, its provider, and whose certificate it has for which address.
TRUNKS = {
    "good": (31, "private", "lab", "198.51.100.31"),
    "misnamed": (32, "private", "lab", "198.51.100.99"),
    "stranger": (33, "private", "other", "198.51.100.33"),
    "public": (34, "public", "lab", "198.51.100.34"),
    "unchecked": (35, "unchecked", "other", "198.51.100.99"),
    "tcp": (36, "tcp", "", ""),
}


def listener(id: str, transport: str, port: int, **more: Any) -> Row:
    tls = {"certificate": "appliance"} if transport == "tls" else {}
    fields = {"id": id, "name": id, "transport": transport, "address": OUTSIDE, "port": port, "zone": "trunks"}
    return "listener", {**fields, **tls, **more}


def document() -> list[Row]:
    made: list[Row] = [
        listener("public", "tls", 5061),
        listener("private", "tls", 5062, authority="lab"),
        listener("unchecked", "tls", 5063, verify_providers=False),
        listener("tcp", "tcp", 5064),
        ("listener", {"id": "tls", "name": "TLS", "transport": "tls", "address": PBX, "port": 5061, "certificate": "appliance"}),
        ("device", {"id": "202-1", "extension": "ext-202", "secret": "202-1", "allowed_transports": ["tls"], "media_security": "sdes"}),
        *(("provider", {"id": id, "name": id, "transport": "tls", "media_security": "sdes", "listener": id, "probe": False})
          for id in ("public", "private", "unchecked")),
        ("provider", {"id": "tcp", "name": "TCP", "transport": "tcp", "probe": False}),
    ]  # fmt: skip
    for order, (id, (number, provider, _, _)) in enumerate(TRUNKS.items(), 1):
        auth = {"type": "register", "username": id, "secret": "line"}
        made += [
            ("trunk", {"id": id, "name": id, "provider": provider, "host": f"198.51.100.{number}",
                       "port": 5061, "auth": auth, "caller_number": "+390200000200"}),
            ("outbound_route", {"id": id, "name": id, "order": order, "prefixes": [f"+3902{number}"], "trunks": [id]}),
        ]  # fmt: skip
    return [*rows(more=[*made, ("secret", {"id": "line"})])]


@dataclass
class World:
    system: System
    net: Network
    providers: dict[str, StreamProvider]
    phone: SoftPhone
    work: Path

    def dial(self, trunk: str) -> str:
        """Call over a trunk that answers with busy, if the call gets there: what the phone was told."""
        self.providers[trunk].answers("486 Busy Here")
        return self.phone.call(f"002{TRUNKS[trunk][0]}00001").closed(40)

    def requests(self, trunk: str) -> list[str]:
        return [raw.split(b" ")[0].decode() for raw in self.providers[trunk].raw]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    work = tmp_path_factory.mktemp("streams")
    lab, other = Authority("Lab"), Authority("Somebody else")
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Network())
        pbx = net.host("pbx", number=10).join("provider", 10)
        system = System(pbx, work / "system", document())
        password = system.passwords["line"] = secrets.token_urlsafe(12)
        system.paths.engine.tls.mkdir(parents=True)
        (system.paths.engine.tls / "lab.ca").write_bytes(lab.pem)
        providers = {}
        for id, (number, _, signer, name) in TRUNKS.items():
            context = {"lab": lab, "other": other}[signer].server(work / id, name) if signer else None
            made = StreamProvider(net.host(id, "provider", number), {id: password}, context=context)
            providers[id] = stack.enter_context(made)
        stack.enter_context(system)
        desk = net.host("desk")
        phone = SoftPhone(desk, work / "phone", "201-1", system.passwords["201-1"], PBX)
        yield World(system, net, providers, stack.enter_context(phone).register(), work)


@pytest.mark.parametrize("trunk", ["good", "unchecked", "tcp"])
def test_a_provider_that_is_who_it_should_be_gets_registration_and_calls(world: World, trunk: str) -> None:
    assert world.providers[trunk].registered(trunk, 40)
    assert "486" in world.dial(trunk)
    assert world.providers[trunk].invited().method == "INVITE"


@pytest.mark.parametrize("trunk", ["misnamed", "stranger", "public"])
def test_who_cant_prove_it_gets_neither_password_nor_call(world: World, trunk: str) -> None:
    """A certificate for another address, one of an unknown authority, one of a private authority where public ones
    are expected."""
    provider = world.providers[trunk]
    eventually(lambda: provider.handshakes, "the engine tries to register", 40)
    assert "486" not in world.dial(trunk)
    eventually(lambda: provider.handshakes >= 2, "the engine tries to call", 20)
    assert world.requests(trunk) == []


def test_phones_over_tls_are_not_disturbed(world: World) -> None:
    trust = world.system.paths.engine.tls / "appliance.crt"
    made = SoftPhone(
        world.phone.host, world.work / "tls", "202-1", world.system.passwords["202-1"], PBX,
        transport="tls", media="srtp", trust=trust, tone_hz=600,
    )  # fmt: skip
    with made as phone:
        phone.register()
        call = world.phone.call("202").ringing()
        phone.incoming().answer()
        call.established()
        assert world.phone.hears(600).listen(600).good()
        call.hangup()


@pytest.mark.parametrize(("trunk", "encrypted"), [("good", True), ("tcp", False)])
def test_voice_over_a_trunk_is_encrypted_or_not(world: World, trunk: str, encrypted: bool) -> None:
    provider = world.providers[trunk]
    assert provider.registered(trunk, 40)
    provider.answers("200 OK")  # sends back what it hears
    with Tap(provider.host, world.work / f"{trunk}.pcap") as tap:
        call = world.phone.call(f"002{TRUNKS[trunk][0]}00001").established(20)
        assert world.phone.hears(world.phone.tone_hz).listen(world.phone.tone_hz).good()
        call.hangup()
        streams = [stream for stream in tap.streams() if len(stream.packets) > 20]
        assert streams
        assert all(stream.looks_encrypted is encrypted for stream in streams)
