"""Any text as a name, through a real commit: refused with the field named, or carried, and nothing but names differs.

Each accepted name is given to every kind of object that has one, at once. The running engine must then hold the same
contexts, endpoints and other objects as with a plain name, the name itself exactly as it was written, and show it in
UTF-8 on the called phone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from appliance.core.document import parse
from appliance.core.errors import InvalidError
from appliance.core.model import Object
from appliance.kinds import KINDS
from tests.hil.company import Company, open_company, rows

PLAIN = "Plain name"
LISTS = (
    "PJSIPShowEndpoints", "PJSIPShowAors", "PJSIPShowAuths", "PJSIPShowRegistrationsOutbound", "PJSIPShowContacts",
)  # fmt: skip
PIECES = (
    ";", "\\;", ";--", "--;", "[", "]", "[x]", "[general]", "(!)", "(+)", "=>", "=", "+=", ">", "#include extensions.conf",
    "#exec rm", "${EXTEN}", "${SHELL(id)}", "$[1+1]", "%s%n", '"', "'", "\\", "\\\\", "&", "|", ",", "@", "<sip:1@example.com>",
    "exten => s,1,System(id)", "type=endpoint", "same => n,Hangup", "é", "ß", "漢字", "عربي", "🙂", "👩‍👩‍👧", "\u00a0", "x", "Rossi", " ",
)  # fmt: skip
REFUSED = (
    "", " ", " x", "x ", "\u00a0x", "\n", "a\nb", "a\r\nb", "a\n[x]\ntype=endpoint", "a\nexten => s,1,System(id)", "\t", "a\tb",
    "\0", "a\0b", "\x1b[2J", "\x7f", "\u2028", "a\u2029b", "\u202eevil", "\u2066x", "x" * 121, "x" * 10_000, "🙂" * 121,
    "🙂" * 10_000, "\u0085", "\ue000", "\uffff", "a\x0bb",
)  # fmt: skip
SHOWN = (
    'Rossi; "Mario" [x](+) => \\ ;--', "${EXTEN} ${SHELL(id)} $[1+1]", "Caffè ☕ 漢字 عربي", "👩‍👩‍👧 🙂", "<sip:112@example.com>", "a, b & c | d",
    "\\", '"', "x" * 120, "🙂" * 120,
)  # fmt: skip


def names() -> list[str]:
    """Two hundred made of the pieces, the same in each run, and those that are shown on a phone."""
    dice = random.Random(4)
    made = [*SHOWN, *(piece for piece in PIECES if piece.strip() == piece)]
    while len(made) < 240:
        text = "".join(dice.choice(PIECES) for _ in range(dice.randint(2, 9))).strip()[:120].strip()
        if text and text not in made:
            made.append(text)
    return made


def named(name: str) -> list[Object]:
    """One object of every kind that has a name or label, with this one."""
    extra: list[tuple[str, dict[str, Any]]] = [
        ("person", {"id": "somebody", "name": name}),
        ("notification_endpoint", {"id": "mail", "name": name, "target": {"type": "email", "address": "a@example.com"}}),
        ("role", {"id": "role", "name": name}),
        (
            "history_export",
            {"id": "files", "name": name, "site": "hq", "target": {"type": "https", "url": "https://files.example.com/", "secret": "files"}},
        ),
        (
            "directory_service",
            {"id": "corp", "name": name, "enabled": False, "servers": [{"host": "dc.example.com"}], "secret": "corp",
             "bind_dn": "CN=reader,DC=example,DC=com", "base": "DC=example,DC=com"},
        ),
        (
            "identity_provider",
            {"id": "login", "name": name, "enabled": False, "issuer": "https://login.example.com/a", "client_id": "pbx", "secret": "login"},
        ),
        ("concentrator", {"id": "vpn", "name": name, "addresses": [{"host": "vpn.example.com"}]}),
        ("wan_line", {"id": "fibre", "name": name, "site": "hq", "number": 1, "device": "wan"}),
        ("turn_server", {"id": "turn", "name": name, "addresses": [{"host": "turn.example.com"}]}),
        ("network", {"id": "office", "name": name, "zone": "management", "networks": ["192.0.2.0/24"]}),
        ("address_list", {"id": "bad", "name": name, "action": "block", "networks": ["203.0.113.0/24"]}),
        ("trunk_group", {"id": "ways", "name": name, "trunks": ["line", "account"]}),
        ("outbound_route", {"id": "way", "name": name, "order": 1, "prefixes": ["+39"], "trunks": ["ways"]}),
        ("inbound_route", {"id": "pest", "name": name, "order": 1, "caller": "+390200000666", "destination": {"type": "hangup"}}),
    ]  # fmt: skip
    made = []
    for kind, data in [*rows(), *extra]:
        field = next((field for field in ("name", "label") if field in KINDS[kind].model_fields), None)
        if field is not None:
            person = {"person": "somebody"} if data["id"] == "ext-204" else {}
            made.append(parse(KINDS, kind, data | {field: name} | person))
    return made


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    secrets = [("secret", {"id": id}) for id in ("files", "corp", "login")]
    with open_company(tmp_path_factory.mktemp("names"), rows(more=secrets)) as company:
        company.system.commit(*named(PLAIN))
        yield company


def held(company: Company) -> dict[str, str]:
    """All that the engine holds but for names: its dialplan, its SIP objects, and the sections of its tables."""
    with company.system.ami() as ami:
        found = {"dialplan": ami.command("dialplan show"), "hints": ami.command("core show hints")}
        for action in LISTS:
            # Round-trip times and the like differ from moment to moment.
            found[action] = str([(e.event, e.get("ObjectName")) for e in ami.list(action)])
        for device in ("201-1", "204-1"):
            (detail, *_) = ami.show_endpoint(company.endpoint(device))
            found[device] = str(sorted(detail.as_dict().items() - {("ActionID", detail.get("ActionID"))}))
        for table, key in (("extensions", "201"), ("hints", "204"), ("devices", "201-1"), ("sites", "hq")):
            found[table] = ami.getvar(f"AST_CONFIG(tables/{table}.conf,{key[-2:]},{key})")
            assert found[table]
    return found


def test_there_are_enough() -> None:
    assert len(set(names())) >= 200


@pytest.mark.parametrize("kind", [kind for kind, model in KINDS.items() if {"name", "label"} & set(model.model_fields)])
def test_what_no_file_or_display_can_hold_is_refused_with_the_field_named(kind: str) -> None:
    plain = next(item.model_dump(mode="json") for item in named(PLAIN) if item.kind == kind)
    field = next(field for field in ("name", "label") if field in plain)
    for text in REFUSED:
        with pytest.raises(InvalidError) as caught:
            parse(KINDS, kind, plain | {field: text})
        assert [fault.path for fault in caught.value.faults] == [f"{kind}/{plain['id']}/{field}"], text
        assert caught.value.faults[0].message, text
        assert len(str(caught.value)) < 300


@pytest.mark.slow
def test_nothing_but_names_differs_in_the_running_engine(company: Company) -> None:
    plain = held(company)
    for name in names():
        company.system.commit(*named(name))
        now = held(company)
        for what, text in plain.items():
            assert now[what] == text, (name, what)
        with company.system.ami() as ami:
            for number in ("201", "204"):  # by its label, by its person
                assert ami.getvar(f"AST_CONFIG(tables/names.conf,{number[-2:]},{number})") == name
    assert not company.system.client.check()
    company.put("service_code", id="other", code="*99", service="echo")
    assert held(company)["dialplan"] != plain["dialplan"], "it would not have been seen"


@pytest.mark.parametrize("name", SHOWN, ids=range(len(SHOWN)))
def test_the_called_phone_shows_it(company: Company, name: str) -> None:
    company.system.commit(*named(name))
    one, three = company.phone("201-1"), company.phone("203-1")
    call = one.call("203").ringing()
    incoming = three.incoming()
    invite = incoming.invite()
    assert invite.from_address.name == name
    assert invite.from_address.uri.user == "201"
    call.hangup()
    incoming.closed()
