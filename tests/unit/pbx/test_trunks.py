"""Trunks as SIP objects and dialplan, and what verify says of them."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.core.asterisk import Section
from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.names.answers import Resolved, Target
from appliance.pbx.context import Installation
from appliance.pbx.trunks.dialplan import TRUNKS_OWN_REASONS
from appliance.pbx.trunks.order import everywhere, flattened
from appliance.pbx.trunks.plan import contribute, unwritable
from appliance.pbx.trunks.verify import ambiguous_by_name, verify

ADDRESS = {"type": "address"}
REGISTER = {"type": "register", "username": "account", "secret": "password"}


def document(
    trunk: dict[str, Any] | None = None,
    *more: tuple[str, dict[str, Any]],
    provider: dict[str, Any] | None = None,
) -> Document:
    rows = [
        ("company", {"id": "demo", "name": "Demo Srl", "language": "en"}),
        ("listener", {"id": "lan", "name": "LAN", "transport": "udp", "address": "192.0.2.10"}),
        ("secret", {"id": "password"}),
        ("provider", {"id": "telco", "name": "Telco", **(provider or {})}),
        (
            "trunk",
            {
                "id": "one",
                "name": "One",
                "provider": "telco",
                "host": "198.51.100.1",
                "auth": ADDRESS,
                "caller_number": "+390200000200",
                **(trunk or {}),
            },
        ),
        *more,
    ]
    found = {(kind, fields["id"]): parse(KINDS, kind, fields) for kind, fields in rows}
    return Document.of(found.values())


def trunk(id: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    fixed = {"name": id, "provider": "telco", "auth": ADDRESS, "caller_number": "+390200000201"}
    return "trunk", {"id": id, "host": "198.51.100.2", **fixed, **fields}


def sip(document: Document, type: str, **secrets: str) -> Section | None:
    sections = contribute(document, Installation("token", secrets)).pjsip
    return next((section for section in sections if section.type == type), None)


def faults(document: Document) -> list[tuple[str, str]]:
    return [(fault.path, fault.error_id) for fault in verify(document)]


def test_a_trunk_is_known_by_its_address_never_by_a_user_name() -> None:
    made = sip(document(), "endpoint")
    assert made is not None
    assert made.get("identify_by") == "ip"
    assert made.get("allow_transfer") == "no"
    assert made.get("context") == "from-trunk-one"


@pytest.mark.parametrize(
    ("fields", "provider", "matches"),
    [
        ({}, {}, ["198.51.100.1:5060"]),
        ({"port": 5080}, {}, ["198.51.100.1:5080"]),
        ({"host": "2001:db8:2::1"}, {}, ["[2001:db8:2::1]:5060"]),
        ({}, {"transport": "tls"}, ["198.51.100.1"]),
        ({"accept_from": ["198.51.100.0/28", "203.0.113.7/32"]}, {}, ["198.51.100.0/28", "203.0.113.7/32"]),
    ],
)
def test_where_calls_are_taken_from(fields: dict[str, Any], provider: dict[str, Any], matches: list[str]) -> None:
    made = sip(document(fields, provider=provider), "identify")
    assert made is not None
    assert [value for key, value in made.options if key == "match"] == matches


def test_host_names_are_not_resolved_to_know_callers() -> None:
    assert sip(document({"host": "sip.example.com", "auth": REGISTER}), "identify") is None


def test_a_registration_needs_its_password() -> None:
    without = document({"auth": REGISTER})
    assert sip(without, "registration") is None
    assert sip(without, "auth") is None
    made = sip(without, "registration", password="open sesame")
    assert made is not None
    assert (made.get("line"), made.get("endpoint")) == ("yes", "trunk-one")
    assert made.get("auth_rejection_permanent") == "no"
    assert sip(without, "auth", password="open sesame").get("password") == "open sesame"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("host", "domain"),
    [("sip.example.com", "sip.example.com"), ("198.51.100.1", "198.51.100.1"), ("2001:db8:2::1", "[2001:db8:2::1]")],
)
def test_the_domain_of_from_is_written_as_in_a_uri(host: str, domain: str) -> None:
    by_account, by_number = (
        sip(document({"host": host, "auth": REGISTER}, provider={"identity": {"from_user": user}}), "endpoint")
        for user in ("account", "number")
    )
    assert by_account is not None
    assert by_account.get("from_domain") == domain
    assert by_number is not None
    assert ("set_var", f"SIPFROMDOMAIN={domain}") in by_number.options


def test_unchanged_trunks_keep_their_sections() -> None:
    before = document({}, trunk("two"))
    after = before.with_changes([parse(KINDS, *trunk("two", max_calls=3))])
    one, other = (contribute(item, Installation("token")) for item in (before, after))
    assert [a is b for a, b in zip(one.pjsip, other.pjsip, strict=True)][:3] == [True] * 3
    changed = {a.name for a, b in zip(one.dialplan, other.dialplan, strict=True) if a is not b and a != b}
    assert changed == {"carry.two", "sos.two", "leg.two"}


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("e164_plus", "PJSIP/${EXTEN}@trunk-one"),
        ("e164", 'PJSIP/${IF($["${EXTEN:0:1}" = "+"]?${EXTEN:1}:${EXTEN})}@trunk-one'),
    ],
)
def test_the_called_number_takes_the_providers_form(form: str, expected: str) -> None:
    made = contribute(document(provider={"identity": {"called_form": form}}), Installation("token")).dialplan
    text = next(section.text() for section in made if section.name == "carry.one")
    assert expected in text


@pytest.mark.parametrize("code", [300, 302, 400, 401, 403, 407, 408, 415, 488, 500, 503, 504, 606])
def test_reasons_of_the_trunks_own_lead_to_the_next(code: int) -> None:
    import re

    assert re.search(TRUNKS_OWN_REASONS, f"SIP {code} Whatever")


@pytest.mark.parametrize("code", [100, 180, 183, 200, 404, 410, 480, 484, 486, 487, 600, 603, 604])
def test_reasons_of_the_called_party_dont(code: int) -> None:
    import re

    assert not re.search(TRUNKS_OWN_REASONS, f"SIP {code} Whatever")


def test_groups_are_taken_apart_in_order_and_each_trunk_is_tried_once() -> None:
    group = ("trunk_group", {"id": "both", "name": "Both", "trunks": ["two", "one"]})
    site = ("site", {"id": "hq", "name": "HQ", "company": "demo", "trunks": ["three", "both"]})
    made = document({}, trunk("two"), trunk("three"), trunk("four"), group, site)
    assert flattened(made, ["both", "three", "one"]) == ("two", "one", "three")
    assert everywhere(made) == ("three", "two", "one", "four")


def test_verify_finds_nothing_wrong_with_the_usual() -> None:
    assert faults(document({}, trunk("two"))) == []


def test_a_trunk_that_would_dial_itself() -> None:
    assert faults(document({"host": "192.0.2.10"})) == [("trunk/one/host", "trunk_dials_itself")]
    assert faults(document({"host": "192.0.2.10", "port": 5080})) == []
    assert faults(document({"host": "::ffff:192.0.2.10"}))[0] == ("trunk/one/host", "trunk_dials_itself")


@pytest.mark.parametrize(
    ("host", "itself"),
    [
        ("192.0.2.11", True),  # where the voice is
        ("192.0.2.12", True),  # another listener's address
        ("127.0.0.9", True),
        ("localhost", True),
        ("0.0.0.0", True),  # noqa: S104 (called, not bound)
        ("::1", False),
        ("198.51.100.1", False),
    ],
)
def test_a_trunk_dials_itself_at_any_address_of_a_listener_that_is_bound_to_all(host: str, itself: bool) -> None:
    everywhere = {"id": "lan", "name": "LAN", "transport": "udp", "address": "0.0.0.0", "media_address": "192.0.2.11"}  # noqa: S104
    other = {"id": "other", "name": "Other", "transport": "udp", "address": "192.0.2.12", "port": 5062}
    found = faults(document({"host": host, "auth": REGISTER}, ("listener", everywhere), ("listener", other)))
    assert (("trunk/one/host", "trunk_dials_itself") in found) is itself


def test_a_trunk_that_no_listener_can_reach() -> None:
    assert faults(document(provider={"transport": "tcp"})) == [("trunk/one/host", "no_listener")]
    assert faults(document({"host": "2001:db8::1"})) == [("trunk/one/host", "no_listener")]


def test_a_provider_may_name_the_listener_that_its_trunks_leave_by() -> None:
    other = ("listener", {"id": "z", "name": "Z", "transport": "udp", "address": "192.0.2.11"})
    made = sip(document({}, other, provider={"listener": "z"}), "endpoint")
    assert made is not None
    assert (made.get("transport"), made.get("media_address")) == ("z", "192.0.2.11")
    assert sip(document({}, other), "endpoint").get("transport") == "lan"  # type: ignore[union-attr]
    wrong = document({}, other, provider={"listener": "z", "transport": "tcp"})
    assert faults(wrong) == [("trunk/one/host", "no_listener")]
    assert faults(document({}, provider={"listener": "gone"})) == []  # told as a dangling reference


def known(*addresses: str, port: int = 5060) -> Resolved:
    return Resolved(tuple(Target(address=each, port=port) for each in addresses), addresses)


def named(document: Document, names: dict[str, Resolved]) -> dict[str, Section]:
    """The trunk's objects by their type."""
    return {
        each.type: each for each in contribute(document, Installation("token", {"password": "p"}, names=names)).pjsip
    }


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_provider_by_name_is_reached_at_its_address_and_reads_its_name(transport: str) -> None:
    listener = ("listener", {"id": "t", "name": "T", "transport": "tcp", "address": "192.0.2.10"})
    made = document({"host": "sip.example.com", "auth": REGISTER}, listener, provider={"transport": transport})
    found = named(made, {"sip.example.com:5060": known("2001:db8::1", "198.51.100.7", "198.51.100.8")})
    way = "" if transport == "udp" else ";transport=tcp"
    for type in ("endpoint", "aor", "registration"):
        assert found[type].get("outbound_proxy") == f"sip:198.51.100.7:5060{way};lr;hide"
    assert found["aor"].get("contact") == f"sip:sip.example.com:5060{way}"
    assert [value for key, value in found["identify"].options if key == "match"] == [
        "2001:db8::1", "198.51.100.7", "198.51.100.8",
    ]  # fmt: skip


def test_ports_of_srv_records_are_the_routes_and_no_port_is_in_the_name() -> None:
    found = named(
        document({"host": "example.com", "lookup": "srv"}),
        {"_sip._udp.example.com:5060": known("198.51.100.7", port=5070)},
    )
    assert found["endpoint"].get("outbound_proxy") == "sip:198.51.100.7:5070;lr;hide"
    assert found["aor"].get("contact") == "sip:example.com"


def test_over_tls_the_engine_connects_to_the_name_that_the_certificate_has() -> None:
    tls = ("listener", {"id": "t", "name": "T", "transport": "tls", "address": "192.0.2.10", "certificate": "a"})
    made = document({"host": "sip.example.com", "port": 5061}, tls, provider={"transport": "tls"})
    found = named(made, {"sip.example.com:5061": known("198.51.100.7", port=5061)})
    assert all(each.get("outbound_proxy") is None for each in found.values())
    assert found["identify"].get("match") == "198.51.100.7"


def test_a_name_that_is_not_known_yet_lets_nobody_in() -> None:
    made = document({"host": "sip.example.com"})
    assert faults(made) == []
    assert set(named(made, {})) == {"endpoint", "aor"}


def test_two_names_that_mean_one_address_are_told_as_long_as_they_do() -> None:
    made = document({"host": "one.example.com"}, trunk("two", host="two.example.com"))
    names = {
        "one.example.com:5060": known("198.51.100.7"),
        "two.example.com:5060": known("198.51.100.7", "198.51.100.8"),
    }
    (fault,) = ambiguous_by_name(made, names)
    assert (fault.path, fault.error_id, fault.severity) == ("trunk/two/host", "same_source", "warning")
    assert list(ambiguous_by_name(made, {})) == []
    assert (
        list(ambiguous_by_name(document({}, trunk("two", host="198.51.100.1")), {})) == []
    )  # an error of its own already


def test_trunks_whose_calls_cant_be_told_apart() -> None:
    same = trunk("two", host="198.51.100.1")
    assert faults(document({}, same)) == [("trunk/two/host", "same_source")]
    # A registered one's calls may come without its mark, and then only the address tells.
    registered = trunk("two", host="198.51.100.1", auth=REGISTER)
    assert faults(document({}, registered)) == [("trunk/one/host", "same_source")]
    assert faults(document({"auth": REGISTER}, registered)) == []
    assert faults(document({"accept_from": ["198.51.100.0/28"]}, registered)) == [
        ("trunk/one/accept_from", "same_source")
    ]
    assert faults(document({}, trunk("two", host="198.51.100.1", port=5080))) == []
    ports_of_tcp = document(
        {},
        trunk("two", host="198.51.100.1", port=5080),
        ("listener", {"id": "t", "name": "T", "transport": "tcp", "address": "192.0.2.10", "port": 5062}),
        provider={"transport": "tcp"},
    )
    assert faults(ports_of_tcp) == [("trunk/two/host", "same_source")]
    nested = [
        trunk("two", accept_from=["203.0.113.0/24"]),
        trunk("three", accept_from=["203.0.113.16/28", "2001:db8::/64"]),
    ]
    assert faults(document({}, *nested)) == [("trunk/three/accept_from", "same_source")]
    apart = [trunk("two", accept_from=["203.0.113.0/28"]), trunk("three", accept_from=["203.0.113.16/28"])]
    assert faults(document({}, *apart)) == []


def test_a_trunk_and_a_group_of_one_id() -> None:
    group = ("trunk_group", {"id": "one", "name": "Both", "trunks": ["one"]})
    assert faults(document({}, group)) == [("trunk_group/one/id", "trunk_and_group")]


def test_what_is_odd_about_trunks_is_a_warning() -> None:
    odd = document({"caller_number": None}, provider={"media_security": "sdes"})
    assert [(fault.path, fault.severity) for fault in verify(odd)] == [
        ("trunk/one/caller_number", "warning"),
        ("provider/telco/media_security", "warning"),
    ]


@pytest.mark.parametrize("value", ["blank ", "\tblank", "two\nlines", "a" * 8000])
def test_passwords_that_no_file_can_carry_are_faults_of_their_secrets(value: str) -> None:
    made = document({"auth": REGISTER})
    (fault,) = unwritable(made, {"password": value})
    assert fault.path == "secret/password/value"
    assert value.strip() not in fault.message + fault.hint
    assert sip(made, "registration", password=value) is None
    assert list(unwritable(document(), {"password": value})) == []  # nobody's
    assert list(unwritable(made, {"password": "open ; sesame"})) == []
