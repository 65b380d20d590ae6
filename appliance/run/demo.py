"""The demo company: "Demo Srl", two sites, a dozen extensions, a ring group, services, and a simulated provider.

Every name is a role, every number is one that can't ring anybody. Passwords are made afresh at each installation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.document import parse
from appliance.core.model import Object
from appliance.i18n import later
from appliance.kinds import KINDS

ADMINISTRATOR: Final = "admin"
"""The person who signs in first."""
PROVIDER_PORT: Final = 5090
"""UDP port of the simulated provider, on loopback."""
PROVIDER_ACCOUNT: Final = "demo-srl"
PROVIDER_SECRET: Final = "provider-account"  # noqa: S105 (the id of a secret, not its value)
MAIN_NUMBER: Final = "+390200000200"
CALL_BACK_NUMBER: Final = "+390200009999"
"""The simulated provider hangs up on calls to this number and calls the caller back."""

_HEAD: Final = (
    ("201", "Reception"),
    ("202", "Sales"),
    ("203", "Purchasing"),
    ("204", "Accounts"),
    ("205", "Technical office"),
    ("206", "Human resources"),
    ("207", "Meeting room"),
    ("208", "Warehouse"),
)
_BRANCH: Final = (("301", "Branch reception"), ("302", "Workshop"), ("303", "Branch sales"), ("304", "Showroom"))

SERVICES: Final = {
    "*43": ("echo", later("Hear yourself: the echo test")),
    "*65": ("which_number", later("Which number am I?")),
    "*60": ("date_time", later("Date and time")),
    "*55": ("hold_music", later("Music on hold")),
    "*78": ("dnd_on", later("Do not disturb: on")),
    "*79": ("dnd_off", later("Do not disturb: off")),
    "*72": ("forward_set", later("Forward all calls (then the number)")),
    "*73": ("forward_off", later("Forward off")),
    "*51": ("lock", later("Lock the phone")),
    "*52": ("unlock", later("Unlock the phone")),
}
"""Star code → service and what it does."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Objects of the demo document, and the clear text of its secrets by id (to be sealed by the store)."""

    objects: tuple[Object, ...]
    secrets: Mapping[str, str]


def demo(address: str, new_password: Callable[[], str]) -> Demo:
    """The demo company, listening at ``address``. ``new_password`` makes one random password at each call."""
    secrets: dict[str, str] = {PROVIDER_SECRET: new_password()}
    objects = [*_organisation(), *_numbers(), *_media(address), *_provider()]
    for site, people in (("milano", _HEAD), ("torino", _BRANCH)):
        for number, label in people:
            objects.append(("extension", {"id": f"ext-{number}", "number": number, "label": label, "site": site}))
            objects.append(_device(number, "desk", 1))
            secrets[f"{number}-desk"] = new_password()
    # The reception has three devices: a second phone with TLS and SDES, and a browser.
    objects.append(_device("201", "tls", 2, allowed_transports=["tls"], media_security="sdes"))
    objects.append(_device("201", "web", 3, allowed_transports=["wss"], media_security="dtls"))
    secrets |= {"201-tls": new_password(), "201-web": new_password()}
    objects.extend(_groups_and_dids())
    objects.extend(("secret", {"id": id}) for id in secrets)
    return Demo(tuple(parse(KINDS, kind, data) for kind, data in objects), secrets)


_Rows = list[tuple[str, dict[str, Any]]]


def _device(number: str, what: str, slot: int, **more: Any) -> tuple[str, dict[str, Any]]:
    id = f"{number}-{what}"
    return "device", {"id": id, "extension": f"ext-{number}", "slot": slot, "secret": id, **more}


def _organisation() -> _Rows:
    street = {"postal_code": "00000", "country": "IT"}
    return [
        ("company", {"id": "demo", "name": "Demo Srl", "caller_number": MAIN_NUMBER}),
        (
            "site",
            {
                "id": "milano",
                "name": "Milano (head office)",
                "company": "demo",
                "address": {"street": "Via dell'Esempio 1", "city": "Milano", **street},
                "networks": ["127.0.0.0/8"],
                "class_of_service": "standard",
                "emergency_number": MAIN_NUMBER,
                "trunks": ["line-1"],
            },
        ),
        (
            "site",
            {
                "id": "torino",
                "name": "Torino (branch)",
                "company": "demo",
                "address": {"street": "Corso della Prova 2", "city": "Torino", **street},
                "class_of_service": "standard",
                "caller_number": "+390110000300",
                "emergency_number": "+390110000300",
                "trunks": ["line-1"],
                "links": [{"to": "milano", "codec_policy": "thin", "max_calls": 4}],
            },
        ),
        ("person", {"id": ADMINISTRATOR, "name": "Administrator", "roles": ["administrator"]}),
    ]


def _numbers() -> _Rows:
    return [
        (
            "number_plan",
            {
                "id": "plan",
                "name": "Internal numbers",
                "ranges": [
                    {"first": "200", "last": "299"},
                    {"first": "300", "last": "399"},
                    {"first": "400", "last": "449"},
                ],
                "outside_prefix": "0",
            },
        ),
        ("emergency_plan", {"id": "italy", "name": "Italy"}),
        ("class_of_service", {"id": "standard", "name": "Standard"}),
        (
            "class_of_service",
            {
                "id": "management",
                "name": "Management",
                "allow": ["internal", "fixed", "mobile", "toll_free", "shared_cost", "international"],
            },
        ),
        *(
            ("service_code", {"id": service.replace("_", "-"), "code": code, "service": service})
            for code, (service, _) in SERVICES.items()
        ),
    ]


def _media(address: str) -> _Rows:
    return [
        ("codec_policy", {"id": "standard", "name": "Standard", "codecs": ["opus", "g722", "alaw", "ulaw"]}),
        ("codec_policy", {"id": "thin", "name": "Thin lines", "codecs": ["opus"]}),
        *(
            ("listener", {"id": id, "name": name, "transport": id, "address": address, "port": port, **more})
            for id, name, port, more in (
                ("udp", "Phones (UDP)", 5060, {}),
                ("tcp", "Phones (TCP)", 5060, {}),
                ("tls", "Phones (TLS)", 5061, {"certificate": "appliance"}),
                ("wss", "Browsers (WSS)", 8089, {"certificate": "appliance", "zone": "web"}),
            )
        ),
        (
            "listener",
            {
                "id": "trunks",
                "name": "Provider lines (UDP)",
                "transport": "udp",
                "address": "127.0.0.1",
                "port": 5070,
                "zone": "trunks",
            },
        ),
    ]


def _provider() -> _Rows:
    return [
        ("provider", {"id": "simulated", "name": "Simulated provider"}),
        (
            "trunk",
            {
                "id": "line-1",
                "name": "Line 1",
                "provider": "simulated",
                "host": "127.0.0.1",
                "port": PROVIDER_PORT,
                "auth": {"type": "register", "username": PROVIDER_ACCOUNT, "secret": PROVIDER_SECRET},
                "site": "milano",
                "caller_number": MAIN_NUMBER,
                "max_calls": 8,
            },
        ),
    ]


def _groups_and_dids() -> _Rows:
    members = [{"extension": "ext-201"}, {"extension": "ext-202"}, {"extension": "ext-203", "delay_seconds": 5}]
    group = {"type": "ring_group", "ring_group": "front-desk"}
    return [
        (
            "ring_group",
            {"id": "front-desk", "name": "Front desk", "number": "400", "site": "milano", "members": members},
        ),
        ("did", {"id": "main", "number": MAIN_NUMBER, "company": "demo", "label": "Main number", "destination": group}),
        (
            "did",
            {
                "id": "branch",
                "number": "+390110000300",
                "company": "demo",
                "label": "Branch",
                "destination": {"type": "extension", "extension": "ext-301"},
            },
        ),
        (
            "did",
            {
                "id": "echo",
                "number": "+390200000243",
                "company": "demo",
                "label": "Echo test from outside",
                "destination": {"type": "service", "service": "echo"},
            },
        ),
    ]
