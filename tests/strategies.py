"""Hypothesis strategies: texts that people type, and whole documents made of objects that each pass their own model.

``documents()`` draws from few ids and numbers on purpose: references meet, dangle, collide and go round in circles.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from appliance.core.document import Document, parse
from appliance.core.fields import Label
from appliance.core.model import Object
from appliance.kinds import KINDS

PEM = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"
"""As much of a certificate as the model looks at."""
_LABEL: TypeAdapter[str] = TypeAdapter(Label)


def _is_label(text: str) -> bool:
    try:
        _LABEL.validate_python(text)
    except ValidationError:
        return False
    return True


NASTY = (";", "\\;", "\\", "[x]", "](!)", "](+)", "=>", ">", "=", "+=", "${EXTEN}", "$[1+1]", '"', "'", "#include x",
         ";--", "--;", "(", ")", ",", "&", "|", "<sip:1@example.com>", "🙂", "👩‍👩‍👧", "à", "\u00a0", " ")  # fmt: skip
"""What means something to the engine's parser or dialplan, and what isn't ASCII."""

labels = st.one_of(
    st.lists(st.sampled_from(NASTY), min_size=1, max_size=12).map("".join).filter(_is_label),
    st.text(min_size=1, max_size=60).filter(_is_label),
)
"""Every text that the field type ``Label`` accepts."""

_ids = st.sampled_from(["a", "b", "c"])
_numbers = st.sampled_from(["20", "21", "112", "113", "201", "202", "0112", "2112", "299", "0201", "9999"])
_e164 = st.sampled_from(["+390200000001", "+390200000002", "+390200000003", "+442079460000"])
_prefixes = st.sampled_from(["+", "+39", "+3902", "+390200000001", "+44"])
_services = st.sampled_from(["echo", "date_time", "hold_music", "which_number"])


_urls = st.sampled_from(
    ["https://example.com/hook", "https://127.0.0.1:8443/", "https://[::1]/", "https:///", "https://a:99999"]
)
_sftp = st.fixed_dictionaries(
    {"type": st.just("sftp"), "host": st.sampled_from(["files.example.com", "::1"]), "username": st.just("calls"),
     "secret": _ids, "host_key": st.sampled_from(["ssh-ed25519 AAAA", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB"])},
)  # fmt: skip
_https = st.fixed_dictionaries(
    {"type": st.just("https"), "url": _urls, "secret": _ids}, optional={"method": st.sampled_from(["put", "post"])}
)


def _row(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"id": _ids, **required}, optional=optional)


_destinations = st.one_of(
    st.fixed_dictionaries({"type": st.just("extension"), "extension": _ids}),
    st.fixed_dictionaries({"type": st.just("ring_group"), "ring_group": _ids}),
    st.fixed_dictionaries({"type": st.just("number"), "number": _e164, "site": _ids}),
    st.fixed_dictionaries({"type": st.just("service"), "service": _services}),
    st.just({"type": "hangup"}),
)
_few = {"max_size": 3}
_ranges = st.tuples(_numbers, _numbers).map(lambda pair: {"first": pair[0], "last": pair[1]})
_auth = st.one_of(
    st.just({"type": "address"}),
    st.fixed_dictionaries({"type": st.just("register"), "username": st.just("user"), "secret": _ids}),
)
_pem = st.sampled_from([PEM, PEM + PEM.replace("MAMC", "MAMB")])
_transports = st.lists(st.sampled_from(["udp", "tcp", "tls", "wss"]), min_size=1, max_size=3)

ROWS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "company": _row({"name": labels}, caller_number=_e164),
    "site": _row(
        {"name": labels, "company": _ids},
        class_of_service=_ids,
        emergency_number=_e164,
        trunks=st.lists(_ids, **_few),
        links=st.lists(st.fixed_dictionaries({"to": _ids}, optional={"codec_policy": _ids}), **_few),
    ),
    "person": _row({"name": labels}, roles=st.lists(_ids, **_few)),
    "role": _row({"name": labels}),
    "number_plan": _row(
        {"name": labels, "ranges": st.lists(_ranges, min_size=1, max_size=4)},
        country=st.sampled_from(["IT", "DE", "US", "ZZ", "BR"]),
        outside_prefix=st.sampled_from(["", "0", "1", "9", "11"]),
        site_prefixes=st.lists(
            st.fixed_dictionaries({"site": _ids, "prefix": st.sampled_from(["1", "2", "11", "20", "0"])}), **_few
        ),
    ),
    "emergency_plan": _row(
        {"name": labels}, numbers=st.lists(st.sampled_from(["112", "113", "20"]), min_size=1, max_size=3)
    ),
    "class_of_service": _row(
        {"name": labels}, allow_prefixes=st.lists(_prefixes, **_few), deny_prefixes=st.lists(_prefixes, **_few)
    ),
    "service_code": _row(
        {
            "code": st.sampled_from(["*21", "*210", "#", "20", "112", "*43"]),
            "service": st.sampled_from(["echo", "forward_set", "dnd_on", "lock"]),
        }
    ),
    "codec_policy": _row({"name": labels, "codecs": st.just(["alaw"])}),
    "listener": _row(
        {"name": labels, "transport": st.sampled_from(["udp", "tls", "wss"]), "address": st.just("192.0.2.1")},
        certificate=st.just("appliance"),
        port=st.sampled_from([5060, 5061]),
    ),
    "extension": _row({"number": _numbers, "site": _ids}, person=_ids, class_of_service=_ids, label=labels),
    "device": _row(
        {"extension": _ids, "secret": _ids},
        slot=st.integers(1, 2),
        site=_ids,
        allowed_transports=_transports,
        nomadic=st.booleans(),
        codec_policy=_ids,
    ),
    "ring_group": _row(
        {
            "name": labels,
            "site": _ids,
            "members": st.lists(st.fixed_dictionaries({"extension": _ids}), min_size=1, max_size=3),
        },
        number=_numbers,
        no_answer=_destinations,
    ),
    "provider": _row({"name": labels}, country=st.sampled_from(["IT", "GB", "ZZ"]), codec_policy=_ids),
    "trunk": _row(
        {"name": labels, "provider": _ids, "host": st.sampled_from(["192.0.2.9", "sip.example.com"]), "auth": _auth},
        lookup=st.sampled_from(["address", "srv"]),
        accept_from=st.lists(st.sampled_from(["192.0.2.9/32", "192.0.2.0/24"]), **_few),
        caller_number=_e164,
        site=_ids,
    ),
    "trunk_group": _row({"name": labels, "trunks": st.lists(_ids, min_size=1, max_size=3)}),
    "did": _row({"number": _e164, "company": _ids, "destination": _destinations}),
    "inbound_route": _row(
        {"name": labels, "order": st.integers(0, 3), "destination": _destinations},
        called=_prefixes,
        caller=_prefixes,
        trunks=st.lists(_ids, **_few),
    ),
    "outbound_route": _row(
        {
            "name": labels,
            "order": st.integers(0, 3),
            "prefixes": st.lists(_prefixes, min_size=1, max_size=2),
            "trunks": st.lists(_ids, min_size=1, max_size=2),
        },
        sites=st.lists(_ids, **_few),
    ),
    "notification_endpoint": _row(
        {
            "name": labels,
            "target": st.one_of(
                st.just({"type": "email", "address": "ops@example.com"}),
                st.fixed_dictionaries(
                    {"type": st.just("webhook"), "url": _urls, "secret": _ids},
                    optional={"previous_secret": _ids, "allow_local": st.booleans()},
                ),
            ),
        },
        events=st.lists(st.sampled_from(["call.ended", "alarm.raised"]), **_few),
        fields=st.lists(st.sampled_from(["caller", "quality"]), **_few),
    ),
    "history_export": _row(
        {"name": labels, "site": _ids, "target": st.one_of(_sftp, _https)},
        every=st.sampled_from(["day", "week", "month"]),
        time=st.sampled_from(["00:00", "02:30", "23:59"]),
        only_site=st.booleans(),
        columns=st.lists(st.sampled_from(["id", "started", "cause"]), **_few),
        directions=st.lists(st.sampled_from(["inbound", "internal"]), **_few),
    ),
    "concentrator": _row(
        {
            "name": labels,
            "addresses": st.lists(
                st.fixed_dictionaries(
                    {"host": st.sampled_from(["vpn.example.com", "192.0.2.1"])},
                    optional={"port": st.just(1200), "relay_port": st.sampled_from([1199, 2000])},
                ),
                min_size=1,
                max_size=2,
            ),
        },
        enabled=st.booleans(),
        port=st.sampled_from([1194, 65535]),
        pool=st.sampled_from(["172.29.0.0/16", "10.0.0.0/8", "192.0.2.0/24", "fd00::/64"]),
        pool6=st.sampled_from(["fd00:1:2:3::/64", "fd00::/120", "192.0.2.0/24"]),
        third_party=st.booleans(),
        relay_port=st.sampled_from([1170, 1190, 65535]),
        direct=st.booleans(),
        packets_per_second=st.integers(50, 100_000),
    ),
    "branch": _row(
        {"site": _ids, "number": st.integers(1, 4000)},
        enabled=st.booleans(),
        router=st.sampled_from(["ours", "third_party"]),
        copies=st.sampled_from(["always", "calls", "degraded"]),
        reaches=st.lists(_ids, **_few),
    ),
    "wan_line": _row(
        {"name": labels, "site": _ids, "number": st.integers(1, 4), "device": st.sampled_from(["wan", "wwan0"])},
        role=st.sampled_from(["primary", "backup", "metered"]),
        monthly_gb=st.integers(1, 1_000_000),
        access=st.sampled_from(
            [
                {"type": "dhcp"},
                {"type": "static", "addresses": ["198.51.100.2/30"], "gateways": ["198.51.100.1"]},
                {"type": "static", "addresses": ["192.0.2.9/24", "2001:db8::9/64"], "gateways": ["2001:db8::1"]},
            ]
        ),
        enabled=st.booleans(),
    ),
    "turn_server": _row(
        {
            "name": labels,
            "addresses": st.lists(
                st.fixed_dictionaries(
                    {"host": st.sampled_from(["turn.example.com", "192.0.2.1", "2001:db8::1"])},
                    optional={"port": st.just(443), "tls_port": st.just(8443)},
                ),
                min_size=1,
                max_size=2,
            ),
        },
        enabled=st.booleans(),
        listen=st.lists(st.sampled_from(["192.0.2.1", "0.0.0.0", "2001:db8::1"]), max_size=2),  # noqa: S104
        port=st.sampled_from([443, 3478, 3479, 5060, 10000, 65535]),
        open_to=st.sampled_from(["clients", "anybody"]),
        relay_first=st.sampled_from([1, 30000, 65535]),
        relay_last=st.sampled_from([1, 31999, 65535]),
        relays=st.integers(1, 20_000),
        user_relays=st.integers(1, 1000),
        kilobits=st.integers(32, 100_000),
    ),
    "network": _row(
        {
            "name": labels,
            "zone": st.sampled_from(["voice", "clients", "management"]),
            "networks": st.lists(
                st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "::/0"]),
                min_size=1,
                max_size=3,
            ),
        },
        interface=st.sampled_from(["eth0", "lan.20"]),
    ),
    "address_list": _row(
        {
            "name": labels,
            "action": st.sampled_from(["allow", "block"]),
            "networks": st.lists(
                st.sampled_from(["192.0.2.0/24", "198.51.100.0/25", "2001:db8:bad::/48"]), min_size=1, max_size=3
            ),
        }
    ),
    "directory_service": _row(
        {
            "name": labels,
            "servers": st.lists(
                st.fixed_dictionaries({"host": st.just("ldap.example.com")}, optional={"port": st.just(3269)}),
                min_size=1,
                max_size=3,
            ),
            "bind_dn": st.just("cn=reader,dc=example,dc=com"),
            "secret": _ids,
            "base": st.just("dc=example,dc=com"),
        },
        enabled=st.booleans(),
        security=st.sampled_from(["ldaps", "starttls"]),
        authority=_pem,
        required_group=st.just("cn=staff,dc=example,dc=com"),
        groups=st.lists(
            st.fixed_dictionaries({"group": st.just("cn=a \\, b,dc=example,dc=com"), "role": _ids}), **_few
        ),
    ),
    "identity_provider": _row(
        {
            "name": labels,
            "issuer": st.just("https://login.example.com/realms/a"),
            "client_id": st.just("centralino"),
            "secret": _ids,
        },
        enabled=st.booleans(),
        authority=_pem,
        claim=st.sampled_from(["email", "sub"]),
        second_factor=st.lists(st.sampled_from(["mfa", "hwk"]), unique=True, **_few),
    ),
    "secret": _row({}),
}
"""Plain data of every kind of object, as it stands in a file."""


def objects(kind: str) -> st.SearchStrategy[Object]:
    """Objects of one kind that pass their model."""
    return ROWS[kind].map(lambda row: parse(KINDS, kind, row))


@st.composite
def documents(draw: st.DrawFn, *, complete: bool = False) -> Document:
    """Documents of up to three objects of each kind. ``complete``: all three of each, so that no reference dangles."""
    rows: list[Object] = []
    for kind in KINDS:
        if complete:
            for id in ("a", "b", "c"):
                rows.append(parse(KINDS, kind, draw(ROWS[kind]) | {"id": id}))
        else:
            rows += draw(st.lists(objects(kind), max_size=3, unique_by=lambda item: item.id))
    return Document.of(rows)
