"""Listeners and codec policies as the engine's configuration."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.asterisk import Section
from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.media.codecs import allow
from appliance.pbx.media.doors import doors, opens
from appliance.pbx.media.model import Listener, Transport
from appliance.pbx.media.plan import browsers_voice, contribute, web_server
from appliance.pbx.media.verify import verify

EVERYWHERE = {"address": "0.0.0.0", "media_address": "192.0.2.1"}  # noqa: S104 (never bound)
INSTALLATION = Installation("token", certificates={"c": ("/c.crt", "/c.key")})


def listener(id: str, transport: str, port: int, **more: Any) -> dict[str, Any]:
    certificate = {"certificate": "c"} if transport in ("tls", "wss") else {}
    return {"id": id, "name": id, "transport": transport, "address": "192.0.2.1", "port": port, **certificate, **more}


def document(*listeners: dict[str, Any]) -> Document:
    return Document.of(parse(KINDS, "listener", data) for data in listeners)


def transports(made: Document) -> dict[str, Section]:
    return {section.name: section for section in contribute(made, INSTALLATION).pjsip if section.type == "transport"}


def test_udp_and_tcp_of_one_port_are_one_door_and_share_a_domain() -> None:
    found = transports(document(listener("u", "udp", 5060), listener("t", "tcp", 5060), listener("s", "tls", 5061)))
    assert found["u"].get("domain") == found["t"].get("domain") == "t.token"
    assert found["s"].get("domain") == "s.token"


def test_tls_has_its_certificate_and_is_never_below_1_2() -> None:
    tls = transports(document(listener("s", "tls", 5061)))["s"]
    assert (tls.get("cert_file"), tls.get("priv_key_file"), tls.get("method")) == ("/c.crt", "/c.key", "tlsv1_2")
    assert transports(document(listener("u", "udp", 5060)))["u"].get("method") is None


def test_providers_called_over_tls_must_prove_who_they_are_unless_said_otherwise() -> None:
    lab = Installation("token", authorities={"lab": "/lab.ca"})
    made = document(
        listener("a", "tls", 5061),
        listener("b", "tls", 5062, authority="lab"),
        listener("c", "tls", 5063, verify_providers=False),
    )
    found = {section.name: section for section in contribute(made, lab).pjsip if section.type == "transport"}
    assert {id: (item.get("verify_server"), item.get("ca_list_file")) for id, item in found.items()} == {
        "a": ("yes", "/etc/ssl/certs/ca-certificates.crt"),
        "b": ("yes", "/lab.ca"),
        "c": ("no", None),
    }
    assert {item.get("verify_client") for item in found.values()} == {"no"}
    assert transports(made)["b"].get("ca_list_file") == "/etc/ssl/certs/ca-certificates.crt", "not there: nobody's"


def test_ipv6_addresses_stand_in_brackets() -> None:
    found = transports(document(listener("six", "udp", 5060, address="2001:db8::1")))
    assert found["six"].get("bind") == "[2001:db8::1]:5060"


def test_a_door_for_trunks_is_closed_to_devices() -> None:
    (door,) = doors([Listener.model_validate(listener("lines", "udp", 5080, zone="trunks"))])
    assert not opens(door, Transport)
    (door,) = doors([Listener.model_validate(listener("phones", "udp", 5060))])
    assert opens(door, [Transport.UDP])
    assert not opens(door, [Transport.TLS])


def test_voice_is_bound_to_the_listeners_address_unless_that_is_any() -> None:
    made = [listener("own", "udp", 5060), listener("any", "udp", 5062, address="0.0.0.0")]  # noqa: S104
    made.append(listener("told", "udp", 5064, media_address="198.51.100.1"))
    found = {door.name: door.media for door in doors(Listener.model_validate(data) for data in made)}
    assert found == {"own": "192.0.2.1", "any": None, "told": "198.51.100.1"}


def test_full_queues_of_lamps_and_mailboxes_turn_no_call_away() -> None:
    (settings,) = (section for section in contribute(document(), INSTALLATION).pjsip if section.type == "global")
    assert settings.get("taskprocessor_overload_trigger") == "pjsip_only"


def test_browsers_are_told_the_voice_addresses_of_their_listeners_alone() -> None:
    by_the_gate = {"zone": "gate", "media_address": "203.0.113.7", "certificate": None}
    assert browsers_voice(document(listener("u", "udp", 5060))) == ()
    assert browsers_voice(document(listener("w", "wss", 8089), listener("u", "udp", 5060))) == ("192.0.2.1",)
    assert browsers_voice(document(listener("g", "wss", 8089, **by_the_gate))) == ("203.0.113.7",)


def test_the_web_server_is_the_wss_listeners() -> None:
    assert web_server(document(listener("u", "udp", 5060)), INSTALLATION) is None
    server = web_server(document(listener("w", "wss", 8089)), INSTALLATION)
    assert server is not None
    assert (server.address, server.port) == ("192.0.2.1", 8089)
    assert web_server(document(listener("w", "wss", 8089)), Installation("token")) is None  # no certificate yet


def test_by_the_gate_alone_no_port_is_opened_and_no_certificate_is_needed() -> None:
    made = document(listener("w", "wss", 8089, zone="gate", certificate=None))
    assert list(verify(made)) == []
    assert web_server(made, INSTALLATION) is None
    assert binds(made) == {"w": "[::1]:8088"}
    assert binds(document(listener("w", "wss", 8089))) == {"w": "192.0.2.1:8089"}


def binds(of: Document) -> dict[str, str | None]:
    return {each.name: each.get("bind") for each in contribute(of, INSTALLATION).pjsip if each.type == "transport"}


def test_codecs_are_those_of_the_policy_else_of_the_standard_one_else_the_usual() -> None:
    policies = [
        {"id": "thin", "name": "T", "codecs": ["ulaw"]},
        {"id": "standard", "name": "S", "codecs": ["g722", "alaw"]},
    ]
    made = Document.of(parse(KINDS, "codec_policy", data) for data in policies)
    assert allow(made, "thin") == "!all,ulaw"
    assert allow(made, None) == "!all,g722,alaw"
    assert allow(Document.of([]), None) == "!all,opus,g722,alaw,ulaw"


@pytest.mark.parametrize(
    ("listeners", "faults"),
    [
        ([listener("u", "udp", 5060), listener("t", "tcp", 5060)], []),
        ([listener("a", "udp", 5060), listener("b", "udp", 5060)], ["listener/b/port"]),
        ([listener("s", "tls", 5060), listener("t", "tcp", 5060)], ["listener/t/port"]),
        ([listener("u", "udp", 5060), listener("v", "tcp", 5060, zone="trunks")], ["listener/v/port"]),
        ([listener("s", "tls", 5061, certificate=None)], ["listener/s/certificate"]),
        ([listener("w", "wss", 8089), listener("x", "wss", 8090)], ["listener/x/transport"]),
        ([listener("a", "udp", 5060), listener("b", "udp", 5060, **EVERYWHERE)], ["listener/b/port"]),
        ([listener("a", "tls", 5061), listener("b", "tcp", 5061, **EVERYWHERE)], ["listener/b/port"]),
        ([listener("a", "udp", 5060), listener("b", "udp", 5062, **EVERYWHERE)], []),
        ([listener("a", "udp", 5060), listener("b", "udp", 5060, **{**EVERYWHERE, "address": "::"})], []),
        ([listener("w", "wss", 5061, zone="gate"), listener("s", "tls", 5061)], []),
        (
            [listener("w", "wss", 8089), listener("t", "tcp", 8088, **{**EVERYWHERE, "address": "::"})],
            ["listener/t/port"],
        ),
        ([listener("u", "udp", 5060, zone="gate")], ["listener/u/zone"]),
        ([listener("a", "udp", 5060, address="0.0.0.0")], ["listener/a/media_address"]),  # noqa: S104
        ([listener("a", "udp", 5060, media_address="::")], ["listener/a/media_address"]),
    ],
)
def test_what_listeners_can_t_be(listeners: list[dict[str, Any]], faults: list[str]) -> None:
    assert [fault.path for fault in verify(document(*listeners))] == faults
