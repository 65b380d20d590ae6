"""verify() of anything that passes the models: it answers, never raises, and every fault can be found and mended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings

from appliance.core.document import Document, parse
from appliance.core.fields import RefTo
from appliance.core.model import Object, Part
from appliance.core.references import references
from appliance.kinds import KINDS
from appliance.verify import check, verify
from tests import strategies
from tests.unit.store.documents import everything

SLOW = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))


def test_strategies_know_every_kind() -> None:
    assert set(strategies.ROWS) == set(KINDS)


@SLOW
@given(strategies.documents())
def test_any_document_is_judged(document: Document) -> None:
    judge(document)


@SLOW
@given(strategies.documents(complete=True))
def test_any_document_without_dangling_references_is_judged(document: Document) -> None:
    judge(document)
    assert not [fault for fault in check(document) if fault.error_id == "dangling_reference"]


def judge(document: Document) -> None:
    faults = check(document)
    assert [fault for fault in faults if fault.severity == "error"] == list(verify(document))
    assert len(set(faults)) == len(faults), "a fault is told twice"
    for fault in faults:
        kind, _, rest = fault.path.partition("/")
        assert kind in KINDS
        assert not rest or rest.split("/")[0] in document.objects[kind]
        assert fault.message
        assert fault.hint
        assert "\n" not in fault.message + fault.hint


def test_everything_wrong_is_told_at_once() -> None:
    rows = [
        ("company", {"id": "demo", "name": "Demo"}),
        ("site", {"id": "hq", "name": "HQ", "company": "demo"}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "200", "last": "299"}]}),
        ("extension", {"id": "one", "number": "201", "site": "hq"}),
        ("extension", {"id": "other", "number": "201", "site": "hq"}),
        ("device", {"id": "phone", "extension": "gone", "secret": "gone"}),
        ("ring_group", {"id": "a", "name": "A", "site": "hq", "members": [{"extension": "one"}],
                        "no_answer": {"type": "ring_group", "ring_group": "b"}}),
        ("ring_group", {"id": "b", "name": "B", "site": "hq", "members": [{"extension": "one"}],
                        "no_answer": {"type": "ring_group", "ring_group": "a"}}),
    ]  # fmt: skip
    paths = {fault.path for fault in verify(Document.of(parse(KINDS, kind, data) for kind, data in rows))}
    assert {"device/phone/extension", "device/phone/secret"} <= paths, "references"
    assert "extension/other/number" in paths, "numbers used twice"
    assert any(path.startswith("ring_group/") and "no_answer" in path for path in paths), "loops"


SITE, CLASS, TRUNKS = {"site": "hq"}, {"class_of_service": "staff"}, {"trunks": ["line"]}
HANGUP = {"type": "hangup"}
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "B" * 43
MORE: list[tuple[str, dict[str, Any]]] = [
    ("site", {"id": "full", "name": "F", "company": "demo", **CLASS, **TRUNKS}),
    ("extension", {"id": "full", "number": "203", **SITE, **CLASS}),
    ("device", {"id": "full", "extension": "full", "codec_policy": "narrow", **SITE, **CLASS, "secret": "dect"}),
    ("provider", {"id": "full", "name": "F", "codec_policy": "narrow", "listener": "udp"}),
    ("trunk", {"id": "full", "name": "F", "provider": "full", "host": "192.0.2.77", "auth": {"type": "address"}, **SITE}),
    ("ring_group", {"id": "ext", "name": "F", **SITE, "members": [{"extension": "full"}], "no_answer": {"type": "extension", "extension": "full"}}),
    ("ring_group", {"id": "group", "name": "F", **SITE, "members": [{"extension": "full"}], "no_answer": {"type": "ring_group", "ring_group": "ext"}}),
    ("inbound_route", {"id": "group", "name": "F", "order": 7, **TRUNKS, "destination": {"type": "ring_group", "ring_group": "ext"}}),
    ("inbound_route", {"id": "number", "name": "F", "order": 8, "caller": "+1", "destination": {"type": "number", "number": "+390200000999", **SITE}}),
    ("did", {"id": "ext", "number": "+390200000777", "company": "demo", "destination": {"type": "extension", "extension": "full"}}),
    ("did", {"id": "number", "number": "+390200000778", "company": "demo", "destination": {"type": "number", "number": "+390200000999", **SITE}}),
    ("outbound_route", {"id": "full", "name": "F", "order": 99, "prefixes": ["+1"], "sites": ["hq"], **TRUNKS}),
    ("role", {"id": "full", "name": "F", "sites": ["hq"]}),
    ("person", {"id": "full", "name": "F", "sites": ["hq"]}),
    ("notification_endpoint", {"id": "hook", "name": "F", "target": {"type": "webhook", "url": "https://example.com", "secret": "dect", "previous_secret": "line"}}),
    ("branch", {"id": "full", **SITE, "number": 9, "enabled": False, "reaches": ["full"]}),
    ("wan_line", {"id": "full", "name": "F", **SITE, "number": 1, "device": "wan"}),
    ("history_export", {"id": "files", "name": "F", **SITE, "target": {"type": "https", "url": "https://example.com", "secret": "dect", "previous_secret": "line"}}),
    ("history_export", {"id": "sftp", "name": "F", **SITE, "target": {"type": "sftp", "host": "files.example.com", "username": "x", "secret": "dect", "host_key": HOST_KEY}}),
]  # fmt: skip
"""What ``everything`` leaves out: with these, every reference of every kind occurs."""
UNRELATED: list[tuple[str, dict[str, Any]]] = [
    ("company", {"id": "x", "name": "X"}),
    ("site", {"id": "x", "name": "X", "company": "x"}),
    ("provider", {"id": "x", "name": "X"}),
    ("secret", {"id": "x"}),
    ("listener", {"id": "x", "name": "X", "transport": "udp", "address": "192.0.2.200"}),
    ("trunk", {"id": "x", "name": "X", "provider": "x", "host": "192.0.2.200", "auth": {"type": "address"}}),
    ("extension", {"id": "x1", "number": "299", "site": "x"}),
    ("extension", {"id": "x2", "number": "299", "site": "x"}),
    ("device", {"id": "x1", "extension": "x1", "nomadic": True, "secret": "x", "allowed_transports": ["wss"]}),
    ("ring_group", {"id": "x1", "name": "X", "site": "x", "members": [{"extension": "x1"}, {"extension": "x1"}],
                    "no_answer": {"type": "ring_group", "ring_group": "x1"}}),
    ("did", {"id": "x1", "number": "+390299999999", "company": "x", "destination": HANGUP}),
    ("did", {"id": "x2", "number": "+390299999999", "company": "x", "destination": HANGUP}),
    ("inbound_route", {"id": "x1", "name": "X", "order": 5, "caller": "+999", "destination": HANGUP}),
    ("inbound_route", {"id": "x2", "name": "X", "order": 6, "caller": "+999", "destination": HANGUP}),
]  # fmt: skip
"""Objects that refer to each other only, and each is wrong."""
TOLD = {
    ("trunk/x/host", "trunk_dials_itself"),
    ("extension/x2/number", "duplicate_number"),
    ("device/x1/nomadic", "nomadic_emergency"),
    ("device/x1/media_security", "wss_needs_dtls"),
    ("ring_group/x1/no_answer", "routing_loop"),
    ("ring_group/x1/members[1].extension", "member_twice"),
    ("did/x2/number", "duplicate_number"),
    ("inbound_route/x2/order", "route_twice"),
    ("site/x/class_of_service", "class_of_service_missing"),
    ("site/x/emergency_number", "no_emergency_number"),
}


def whole() -> list[Object]:
    return [*everything(), *(parse(KINDS, kind, data) for kind, data in (*MORE, *UNRELATED))]


def each_reference() -> Iterator[tuple[str, Object, str]]:
    """(kind and field without positions, an object, the field's path) of every reference that a document can hold."""
    found: dict[str, tuple[Object, str]] = {}
    for item in whole()[: -len(UNRELATED)]:
        for path, _, _ in references(item):
            kind_of_part = re.sub(r"\[\d+\]", "", path)
            found.setdefault(f"{item.kind}/{kind_of_part}", (item, path))
    return ((name, *place) for name, place in sorted(found.items()))


def broken(item: Object, path: str) -> Object:
    """The object with a reference that leads nowhere."""
    data = item.model_dump(mode="json")
    *way, last = [int(part) if part.isdigit() else part for part in re.findall(r"\w+", path)]
    place: Any = data
    for step in way:
        place = place[step]
    place[last] = "nowhere"
    return parse(KINDS, item.kind, data)


@pytest.mark.parametrize(("item", "path"), [pytest.param(item, path, id=name) for name, item, path in each_reference()])
def test_a_dangling_reference_hides_nothing_else(item: Object, path: str) -> None:
    found = {(fault.path, fault.error_id) for fault in check(Document.of(whole()).with_changes([broken(item, path)]))}
    assert (item.path(path), "dangling_reference") in found
    assert found >= TOLD


def fields_of(annotation: Any, path: str) -> Iterator[str]:
    """Paths of all fields, however deep in parts, lists and unions, that are marked as references."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        for name, info in annotation.model_fields.items():
            here = f"{path}.{name}" if "/" in path else f"{path}/{name}"
            if any(isinstance(mark, RefTo) for mark in info.metadata):
                yield here
            yield from fields_of(info.annotation, here)
    else:
        if any(isinstance(mark, RefTo) for mark in getattr(annotation, "__metadata__", ())):
            yield path
        for part in get_args(annotation):
            yield from fields_of(part, path)


def test_every_reference_of_every_kind_is_tried() -> None:
    wanted = {path for kind, model in KINDS.items() for path in fields_of(model, kind)}
    assert {name for name, _, _ in each_reference()} == wanted
