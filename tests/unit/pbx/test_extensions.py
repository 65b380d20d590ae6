"""Devices and extensions as the engine's configuration."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.core.asterisk import ConfFile, parse
from appliance.core.document import Document
from appliance.core.document import parse as make
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.extensions.patterns import patterns
from appliance.pbx.extensions.verify import verify
from appliance.pbx.numbers.model import NumberRange
from appliance.pbx.plan import desired

INSTALLATION = Installation("token", {"s": "password"}, {"c": ("/c.crt", "/c.key")})
Row = tuple[str, dict[str, Any]]


def listener(id: str, port: int, transport: str, **more: Any) -> Row:
    certificate = {"certificate": "c"} if transport in ("tls", "wss") else {}
    return "listener", {
        "id": id, "name": id, "transport": transport, "address": "192.0.2.1", "port": port, **certificate, **more
    }  # fmt: skip


ROWS: list[Row] = [
    ("company", {"id": "c", "name": "C", "language": "en", "caller_number": "+390200000100"}),
    ("site", {"id": "hq", "name": "HQ", "company": "c", "class_of_service": "site"}),
    ("site", {"id": "branch", "name": "B", "company": "c", "language": "it", "emergency_number": "+390200000300"}),
    ("class_of_service", {"id": "site", "name": "S"}),
    ("class_of_service", {"id": "own", "name": "O", "may_transfer_outside": True}),
    ("number_plan", {"id": "p", "name": "P", "ranges": [{"first": "200", "last": "299"}]}),
    listener("udp", 5060, "udp"),
    listener("tcp", 5060, "tcp"),
    listener("tls", 5061, "tls"),
    listener("wss", 8089, "wss"),
    listener("lines", 5080, "udp", zone="trunks"),
    ("secret", {"id": "s"}),
    ("extension", {"id": "e", "number": "201", "label": "Desk", "site": "hq"}),
    ("device", {"id": "d", "extension": "e", "secret": "s"}),
]


def document(*more: Row) -> Document:
    found = {(kind, data["id"]): make(KINDS, kind, data) for kind, data in (*ROWS, *more)}
    return Document.of(found.values())


def endpoints(made: Document, installation: Installation = INSTALLATION) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for section in desired(made, installation)["pjsip.conf"].sections:
        if section.type == "endpoint":
            for key, value in section.options:
                found.setdefault(section.name, {}).setdefault(key, []).append(value)
    return found


def device(**fields: Any) -> Row:
    return "device", {"id": "d", "extension": "e", "secret": "s", **fields}


@pytest.mark.parametrize(
    ("transports", "names"),
    [
        (["udp"], {"d@tcp.token"}),  # one door with tcp: they share a port
        (["tcp", "tls"], {"d@tcp.token", "d@tls.token"}),
        (["tls"], {"d@tls.token"}),
    ],
)
def test_a_device_has_an_endpoint_for_each_door_it_may_use(transports: list[str], names: set[str]) -> None:
    assert set(endpoints(document(device(allowed_transports=transports)))) == names


def row(made: Document) -> list[str]:
    (section,) = desired(made, INSTALLATION)["tables/extensions.conf"].sections  # type: ignore[union-attr]
    return section.options[0][1].split("|")


def test_a_device_whose_doors_differ_in_voice_is_dialled_where_it_is_registered() -> None:
    """By column 12 the straight path is left, and the device's contact is looked at."""
    tls, udp = ["tls"], ["udp", "tls"]
    assert len(row(document(device(allowed_transports=udp)))) == 10
    vpn = listener("vpn", 5060, "udp", address="198.51.100.1")
    assert row(document(vpn, device(allowed_transports=udp)))[11] == "many"
    assert len(row(document(vpn, device(allowed_transports=tls)))) == 10
    same = listener("vpn", 5060, "udp", address="198.51.100.1", media_address="192.0.2.1")
    assert len(row(document(same, device(allowed_transports=udp)))) == 10


def test_devices_behind_a_thin_line_speak_its_codecs_first() -> None:
    thin = ("codec_policy", {"id": "thin", "name": "T", "codecs": ["ulaw"]})
    linked = ("site", {"id": "branch", "name": "B", "company": "c", "links": [{"to": "hq", "codec_policy": "thin"}]})
    (far,) = endpoints(document(thin, linked, device(site="branch"))).values()
    assert far["allow"] == ["!all,ulaw,opus,g722,alaw"]
    assert far["codec_prefs_incoming_answer"] == [
        "prefer: configured, operation: intersect, keep: all, transcode: allow"
    ]
    (near,) = endpoints(document(thin, linked, device())).values()
    assert near["allow"] == ["!all,opus,g722,alaw,ulaw"]
    assert "codec_prefs_incoming_answer" not in near
    before = document(thin, linked, device(site="branch"))
    assert endpoints(before)
    wider = make(KINDS, "codec_policy", {"id": "thin", "name": "T", "codecs": ["alaw"]})
    (changed,) = endpoints(before.with_changes([wider])).values()
    assert changed["allow"] == ["!all,alaw,opus,g722,ulaw"]


def test_a_browser_has_its_bare_name_and_decoys_everywhere_else() -> None:
    found = endpoints(document(device(allowed_transports=["wss"], media_security="dtls")))
    assert found.pop("d")["webrtc"] == ["yes"]
    assert set(found) == {"d@tcp.token", "d@tls.token", "d@lines.token"}
    assert all(options == {"context": ["refused"], "auth": ["nobody.at.all"]} for options in found.values())


def test_no_endpoint_is_without_authentication() -> None:
    without = Installation("token")
    made = document(device(), ("device", {"id": "x", "extension": "e", "secret": "s", "slot": 2}))
    sections = desired(made, without)["pjsip.conf"].sections
    secured = {section.name for section in sections if section.type == "auth"}
    used = [section.get("auth") for section in sections if section.type == "endpoint"]
    assert len(used) == 2
    assert set(used) <= secured
    digests = [section.get("password_digest") for section in sections if section.type == "auth"]
    assert len(set(digests)) == len(digests)


def test_what_a_device_is_resolves_from_near_to_far() -> None:
    def variables(*more: Row) -> dict[str, str]:
        (options,) = endpoints(document(*more)).values()
        return {"language": options["language"][0], **dict(item.split("=", 1) for item in options["set_var"])}

    far = variables()
    assert far["language"] == "en"
    assert far["__FROM"] == "d|201|e|hq|site|+390200000100|"
    assert "TRANSFER_CONTEXT" not in far
    near = variables(device(site="branch", class_of_service="own", caller_number="+390200000111"))
    assert near["language"] == "it"
    assert near["__FROM"] == "d|201|e|branch|own|+390200000111|+390200000300"
    assert near["TRANSFER_CONTEXT"] == "transfer-outside"


@pytest.mark.parametrize(
    ("fields", "context", "transfer"),
    [
        ({}, "from-device", None),
        ({"may_transfer_outside": True}, "from-device", "transfer-outside"),
        ({"allow": ["fixed"]}, "from-device-outside-only", "transfer-nowhere"),
        ({"allow": ["fixed"], "may_transfer_outside": True}, "from-device-outside-only", "transfer-outside-only"),
    ],
)
def test_the_class_says_where_calls_begin_and_may_be_sent(
    fields: dict[str, Any], context: str, transfer: str | None
) -> None:
    (options,) = endpoints(document(("class_of_service", {"id": "site", "name": "S", **fields}))).values()
    assert options["context"] == [context]
    assert options.get("subscribe_context", ["from-device"]) == ["from-device"]
    variables = dict(item.split("=", 1) for item in options["set_var"])
    assert variables.get("TRANSFER_CONTEXT") == transfer


def test_a_new_name_touches_the_names_and_nothing_else() -> None:
    before = document()
    other = desired(before, INSTALLATION)
    changed = before.get(Extension, "e").model_copy(update={"label": "Workshop"})
    after = desired(before.with_changes([changed]), INSTALLATION)
    assert [name for name in after if after[name] != other[name]] == ["tables/names.conf"]


def test_a_changed_device_leaves_the_others_as_they_are() -> None:
    before = document(("device", {"id": "x", "extension": "e", "secret": "s", "slot": 2}))
    first = {(s.type, s.name): s for s in desired(before, INSTALLATION)["pjsip.conf"].sections}
    changed = before.get(Device, "d").model_copy(update={"language": "it"})
    second = {(s.type, s.name): s for s in desired(before.with_changes([changed]), INSTALLATION)["pjsip.conf"].sections}
    assert first["endpoint", "x@tcp.token"] is second["endpoint", "x@tcp.token"]
    assert first["endpoint", "d@tcp.token"] != second["endpoint", "d@tcp.token"]


LABELS = st.text(
    st.one_of(st.sampled_from(list(";[]=>${}\"'\\,&|#-~^<( )é")), st.characters(codec="utf-8", categories=("L", "N", "P", "S"))),
    min_size=1,
    max_size=120,
).filter(lambda text: text == text.strip())  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(LABELS)
def test_any_label_is_carried_and_changes_nothing_else(label: str) -> None:
    plain = desired(document(), INSTALLATION)
    hostile = desired(document(("extension", {"id": "e", "number": "201", "label": label, "site": "hq"})), INSTALLATION)
    assert hostile.keys() == plain.keys()
    assert [name for name in plain if hostile[name] != plain[name]] in ([], ["tables/names.conf"])
    names = hostile["tables/names.conf"]
    assert isinstance(names, ConfFile)
    (section,) = parse(names.text)
    assert section.options == (("201", label),)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("200", "299", {"_2XX"}),
        ("200", "349", {"_2XX", "_3[0-4]X"}),
        ("205", "205", {"_205"}),
        ("10", "29", {"_[1-2]X"}),
    ],
)
def test_ranges_as_patterns(first: str, last: str, expected: set[str]) -> None:
    assert set(patterns([NumberRange(first=first, last=last)])) == expected


@given(st.integers(0, 9999), st.integers(0, 9999))
def test_patterns_match_the_range_and_nothing_else(one: int, other: int) -> None:
    first, last = sorted((one, other))
    made = patterns([NumberRange(first=f"{first:04}", last=f"{last:04}")])
    letters = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
    tests = [re.compile("".join(letters.get(char, char) for char in pattern[1:])) for pattern in made]
    for number in {0, first - 1, first, first + 1, (first + last) // 2, last - 1, last, last + 1, 9999}:
        matched = sum(bool(test.fullmatch(f"{number:04}")) for test in tests)
        assert matched == (first <= number <= last)


@pytest.mark.parametrize(
    ("fields", "error_id"),
    [
        ({"allowed_transports": ["wss", "udp"], "media_security": "dtls"}, "wss_alone"),
        ({"allowed_transports": ["wss"]}, "wss_needs_dtls"),
        ({"id": "trunk-x"}, "reserved_id"),
        ({"media_security": "sdes"}, "keys_in_clear"),
        ({"media_security": "sdes", "allowed_transports": ["udp", "tls"]}, "keys_in_clear"),
    ],
)
def test_faults_of_devices(fields: dict[str, Any], error_id: str) -> None:
    assert [fault.error_id for fault in verify(document(device(**fields)))] == [error_id]


def test_names_of_an_extensions_devices_that_fill_more_than_a_lamp_can_follow() -> None:
    """Nine devices with the longest ids there are, at as many listeners as are too many."""

    def found(count: int) -> list[tuple[str, str]]:
        ports = [listener(f"listener-{n}".ljust(40, "x"), 6000 + n, "udp") for n in range(count)]
        ids = [f"device-{n}".ljust(40, "x") for n in range(1, 10)]
        devices = [device(id=id, slot=n, allowed_transports=["udp"]) for n, id in enumerate(ids, 1)]
        made = {(kind, data["id"]): make(KINDS, kind, data) for kind, data in (*ROWS, *ports, *devices)}
        made = {key: item for key, item in made.items() if key not in {("device", "d"), ("listener", "tcp")}}
        return [(fault.path, fault.error_id) for fault in verify(Document.of(made.values()))]

    assert found(3) == []
    assert found(4) == [(f"device/{'device-9'.ljust(40, 'x')}/allowed_transports", "too_many_names")]
