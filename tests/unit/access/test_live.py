"""What somebody sees of the live state, and whose calls it may handle."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.access.live import View, may_handle, own_extensions, shown, view_of
from appliance.access.permissions import Subject, narrowed, subject_of
from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from tests.hil.portal_app import company

PEOPLE = [
    ("site", {"id": "branch", "name": "Branch", "company": "demo", "class_of_service": "standard"}),
    ("extension", {"id": "ext-391", "number": "391", "label": "Branch", "site": "branch"}),
    ("person", {"id": "clerk", "name": "Clerk", "roles": ["user"]}),
    ("person", {"id": "front", "name": "Front desk", "roles": ["operator"]}),
    ("person", {"id": "keeper", "name": "Keeper", "roles": ["site-manager"], "sites": ["branch"]}),
    ("person", {"id": "personnel", "name": "Personnel", "roles": ["hr-manager"]}),
    ("extension", {"id": "ext-209", "number": "209", "label": "Clerk", "site": "hq", "person": "clerk"}),
]


@pytest.fixture(scope="module")
def document() -> Document:
    return Document.of([*company(), *(parse(KINDS, kind, data) for kind, data in PEOPLE)])


def who(document: Document, person: str) -> Subject:
    found = subject_of(document, person)
    assert found is not None
    return found


def party(extension: str, site: str) -> dict[str, Any]:
    return {"id": f"c-{extension}", "extension": extension, "site": site}


AT_HQ = {"id": "1", "parties": [party("ext-209", "hq"), party("", "")]}
AT_BRANCH = {"id": "2", "parties": [party("ext-391", "branch"), party("ext-201", "hq")]}
EXTENSION = {"id": "ext-201", "site": "hq", "devices": [{"id": "201-1", "address": "192.0.2.7:5060"}]}


def sees(document: Document, person: str, type: str, data: dict[str, Any], room: str = "") -> Any:
    subject = who(document, person)
    return shown(view_of(subject.grants), own_extensions(document, person), type, room, data)


def test_who_may_see_calls_everywhere_sees_every_call(document: Document) -> None:
    for person in ("boss", "auditor", "front"):
        assert sees(document, person, "call", AT_HQ) is AT_HQ, person
        assert sees(document, person, "transfer", {"by": "201"}) is not None, person


def test_one_site_is_what_a_site_manager_sees(document: Document) -> None:
    assert sees(document, "keeper", "call", AT_HQ) is None
    assert sees(document, "keeper", "call", AT_BRANCH) is AT_BRANCH, "a party of it is at the site"
    assert sees(document, "keeper", "extension", EXTENSION) is None
    assert sees(document, "keeper", "extension", {**EXTENSION, "site": "branch"}) is not None
    assert sees(document, "keeper", "transfer", {"by": "201"}) is None
    assert sees(document, "keeper", "alarm", {"id": "x"}) is None
    assert sees(document, "keeper", "link", {"sites": ["hq", "branch"]}) is not None
    assert sees(document, "keeper", "link", {"sites": ["hq", "shop"]}) is None


def test_a_user_sees_own_calls_in_the_own_room_only(document: Document) -> None:
    assert sees(document, "clerk", "call", AT_HQ) is None
    assert sees(document, "clerk", "call", AT_HQ, "me") is AT_HQ
    assert sees(document, "clerk", "call", AT_BRANCH, "me") is None
    assert sees(document, "clerk", "extension", {**EXTENSION, "id": "ext-209"}, "me") is not None


def test_the_state_of_phones_is_about_calls_so_personnel_do_not_see_it(document: Document) -> None:
    for type, data in (("call", AT_HQ), ("extension", EXTENSION), ("alarm", {"id": "x"}), ("trunk", {"site": ""})):
        assert sees(document, "personnel", type, data) is None, type


def test_addresses_of_phones_are_for_whoever_may_see_devices(document: Document) -> None:
    assert sees(document, "front", "extension", EXTENSION)["devices"] == [{"id": "201-1", "address": ""}]
    assert sees(document, "boss", "extension", EXTENSION) is EXTENSION


def test_a_trunk_at_no_site_is_seen_by_who_sees_trunks_somewhere() -> None:
    view = View(trunks=frozenset({"branch"}))
    assert shown(view, frozenset(), "trunk", "", {"site": ""}) is not None
    assert shown(view, frozenset(), "trunk", "", {"site": "hq"}) is None
    assert shown(View(), frozenset(), "trunk", "", {"site": ""}) is None


@pytest.mark.parametrize(
    ("person", "extension", "may"),
    [
        ("boss", "ext-209", True), ("boss", "", True), ("front", "ext-209", True), ("front", "", True),
        ("clerk", "ext-209", True), ("clerk", "ext-201", False), ("clerk", "", False),
        ("keeper", "ext-391", False), ("auditor", "ext-209", False), ("personnel", "ext-209", False),
    ],
)  # fmt: skip
def test_whose_calls_may_be_handled(document: Document, person: str, extension: str, may: bool) -> None:
    assert may_handle(who(document, person), document, extension) is may


def test_a_key_handles_no_more_than_its_scopes(document: Document) -> None:
    reader = narrowed(who(document, "boss"), "key:1", ["calls:view"])
    assert not may_handle(reader, document, "ext-209")
    assert view_of(reader.grants).calls is None
    assert may_handle(narrowed(who(document, "clerk"), "key:2", ["calls:edit"]), document, "ext-209")
    assert not may_handle(narrowed(who(document, "clerk"), "key:2", ["*:edit"]), document, "ext-201")


def test_a_phone_that_stands_elsewhere_is_not_of_that_site_alone(document: Document) -> None:
    role = parse(KINDS, "role", {"id": "calls", "name": "Calls", "permissions": ["calls:edit"], "sites": ["branch"]})
    person = parse(KINDS, "person", {"id": "local", "name": "Local", "roles": ["calls"]})
    more = Document.of([*document, role, person])
    assert may_handle(who(more, "local"), more, "ext-391", "branch")
    assert not may_handle(who(more, "local"), more, "ext-391", "hq")
    assert not may_handle(who(more, "local"), more, "ext-201", "branch")
