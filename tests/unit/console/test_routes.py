"""Every route × every role: who gets in, held against what the roles say. A route that isn't in the table fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Request
from werkzeug.test import TestResponse

from appliance.access.entries import etag
from appliance.access.permissions import Rights, subject_of
from appliance.console.identify import Identity
from tests.unit.console.asking import Askers

ROLES = ("administrator", "it-manager", "hr-manager", "operator", "user", "auditor", "torinese", "nobody", "namer")
TOKEN = "the session's token"
PUBLIC, SIGNED_IN, SESSION, OBJECT, ADD, CALL = "public", "signed in", "session", "object", "add", "call"
ABSENT = "absent"
"""A branch, of which this company has none: nobody learns more (test_branches)."""
FLOW = ("ring_group", "did", "inbound_route")
"""Some of what calls from outside pass: any of it may be looked at."""
"""Open to all; to whoever is signed in, who is shown what the rights allow; a browser's own session, whoever it is; an object that
the rights reach; a kind to which objects may be added; a call of one's own, or a right to ``calls``."""

ROUTES: dict[tuple[str, str], str | tuple[str, ...]] = {
    ("GET", "/"): SIGNED_IN,
    ("GET", "/account"): SESSION,
    **{("POST", f"/account/{path}"): SESSION for path in (
        "again", "app", "app/confirm", "app/remove", "keys", "keys/<id>/revoke", "passkeys", "passkeys/<id>/remove", "passkeys/options",
        "password", "recovery", "sessions/<id>/end",
    )},
    ("GET", "/api/v1/branches"): "branch:view",
    ("POST", "/api/v1/branches/<id>/revoke"): ABSENT,
    ("GET", "/branches/<id>/events"): ABSENT,
    ("GET", "/api/v1/branches/<id>/events"): ABSENT,
    **{(method, "/api/v1/branches/<id>/invitation"): ABSENT for method in ("GET", "POST", "DELETE")},
    ("GET", "/branches"): "branch:view",
    ("GET", "/branches/drill"): "branch:view",
    ("GET", "/api/v1/branches/drill"): "branch:view",
    ("GET", "/branches/<id>/enrol"): ABSENT,
    **{("POST", f"/branches/<id>/{path}"): ABSENT for path in ("enrol", "enrol/file", "withdraw")},
    ("GET", "/branches/<id>/revoke"): ABSENT,
    ("POST", "/branches/<id>/revoke"): ABSENT,
    **{("GET", f"{before}/firewall{path}"): "firewall:view" for before in ("", "/api/v1") for path in ("", "/bans")},
    ("GET", "/firewall/bans/lift"): "firewall:edit",
    ("POST", "/firewall/bans/lift"): "firewall:edit",
    ("POST", "/api/v1/firewall/bans/lift"): "firewall:edit",
    ("GET", "/api/v1/calls"): "calls:view",
    ("POST", "/api/v1/calls"): SIGNED_IN,  # with a device that isn't the asker's to use: a fault of that field
    **{(method, f"/api/v1/calls/<call>{path}"): "calls:view" for method, path in (
        ("GET", ""), ("DELETE", ""), ("DELETE", "/parties/<party>"), ("POST", "/answer"), ("POST", "/hold"), ("POST", "/redirect"), ("POST", "/transfer"), ("POST", "/pickup"), ("POST", "/consult"),
        ("POST", "/complete"), ("POST", "/takeback"), ("POST", "/resume"),
    )},
    ("GET", "/api/v1/changes"): SIGNED_IN,
    ("GET", "/api/v1/changes/others"): SIGNED_IN,
    ("POST", "/api/v1/changes/discard"): SIGNED_IN,
    ("GET", "/api/v1/changes/conflicts"): SIGNED_IN,
    ("POST", "/api/v1/changes/resolve"): SIGNED_IN,
    ("GET", "/api/v1/client.py"): PUBLIC,
    ("GET", "/api/v1/openapi.json"): PUBLIC,
    ("POST", "/api/v1/commits"): SIGNED_IN,  # one's own pending changes, each of which is looked at
    ("POST", "/api/v1/commits/confirm"): SIGNED_IN,  # one's own commit; that of others needs revisions:edit (test_transactions)
    ("POST", "/api/v1/commits/rollback"): "revisions:edit",
    **{("GET", f"/api/v1/deliveries{path}"): "system:view" for path in ("", "/endpoints", "/files")},
    **{("POST", f"/api/v1/deliveries{path}"): "system:edit" for path in ("/replay", "/test", "/files/<export>/retry", "/<id>/replay")},
    ("GET", "/api/v1/deliveries/<id>"): "system:view",
    ("DELETE", "/api/v1/deliveries/<id>"): "system:edit",
    ("GET", "/api/v1/live/<type>"): "calls:view",
    ("GET", "/api/v1/objects"): SIGNED_IN,
    ("GET", "/api/v1/objects/<kind>"): "kind",
    ("POST", "/api/v1/objects/<kind>"): ADD,
    ("GET", "/api/v1/objects/<kind>/<id>"): OBJECT,
    ("PUT", "/api/v1/objects/<kind>/<id>"): OBJECT,
    ("PATCH", "/api/v1/objects/<kind>/<id>"): OBJECT,
    ("DELETE", "/api/v1/objects/<kind>/<id>"): OBJECT,
    ("POST", "/api/v1/plans"): SIGNED_IN,
    ("GET", "/api/v1/revisions"): SIGNED_IN,
    ("GET", "/api/v1/revisions/<int:revision>/changes"): "revisions:view",
    ("DELETE", "/api/v1/schedule/<int:revision>"): "revisions:edit",
    ("GET", "/api/v1/state"): SIGNED_IN,
    ("GET", "/api/v1/turn"): "calls:edit",
    **{("GET", path): "history:view" for path in (
        "/api/v1/history", "/api/v1/history.csv", "/api/v1/history/<int:id>", "/api/v1/statistics", "/calls", "/calls.csv", "/calls/<int:id>", "/statistics",
    )},
    ("GET", "/call"): SIGNED_IN,
    ("POST", "/call"): SIGNED_IN,
    ("POST", "/call/<id>/end"): "calls:view",
    **{("POST", f"/call/<id>/{act}"): "calls:view" for act in ("transfer", "consult", "complete", "takeback")},
    ("GET", "/changes"): SIGNED_IN,
    ("POST", "/changes/commit"): SIGNED_IN,
    ("POST", "/changes/confirm"): SIGNED_IN,
    ("POST", "/changes/discard"): SIGNED_IN,
    ("GET", "/changes/conflict/<kind>/<id>"): SIGNED_IN,  # one's own; without one it leads back
    ("POST", "/changes/conflict/<kind>/<id>"): SIGNED_IN,
    ("GET", "/choices"): SIGNED_IN,
    ("GET", "/dashboard"): SIGNED_IN,
    ("GET", "/deliveries"): "system:view",
    ("GET", "/deliveries/<id>"): "system:view",
    **{("POST", f"/deliveries/{path}"): "system:edit" for path in ("replay", "retry", "test", "<id>/replay", "<id>/discard")},
    ("GET", "/flow"): FLOW,
    ("POST", "/flow"): FLOW,
    ("GET", "/flow/targets"): FLOW,
    ("GET", "/history"): SIGNED_IN,
    ("GET", "/history/<int:revision>"): "revisions:view",
    ("POST", "/history/<int:revision>/restore"): "revisions:edit",
    ("GET", "/objects/<kind>"): "kind",
    ("GET", "/objects/<kind>/<id>"): OBJECT,
    ("POST", "/objects/<kind>/<id>"): OBJECT,
    ("GET", "/objects/<kind>/<id>/delete"): OBJECT,
    ("POST", "/objects/<kind>/<id>/delete"): OBJECT,
    ("GET", "/objects/<kind>/<id>/edit"): OBJECT,
    ("POST", "/objects/<kind>/<id>/edit"): OBJECT,
    ("GET", "/objects/<kind>/new"): ADD,
    ("POST", "/objects/<kind>/new"): ADD,
    ("GET", "/panel"): SIGNED_IN,
    ("GET", "/reference"): SIGNED_IN,
    ("POST", "/preferences"): PUBLIC,
    **{(method, f"/sign-in{path}"): PUBLIC for method, path in (
        ("GET", ""), ("POST", ""), ("GET", "/link"), ("POST", "/link"), ("POST", "/passkey"), ("POST", "/passkey/options"),
        ("GET", "/with/<id>"), ("GET", "/with/<id>/callback"),
    )},
    ("GET", "/sign-in/code"): SESSION,
    ("POST", "/sign-in/code"): SESSION,
    ("POST", "/sign-out"): SESSION,
    ("GET", "/static/portal/<path:filename>"): PUBLIC,
}  # fmt: skip

THINGS = (
    ("extension", "e201"),
    ("extension", "e301"),
    ("trunk", "line"),
    ("person", "user"),
    ("secret", "line"),
    ("class_of_service", "standard"),
)
BODIES: dict[str, Any] = {
    "/api/v1/calls": {"number": "201", "device": "d301"},
    "/api/v1/commits/rollback": {"revision": 0},
    "/api/v1/calls/<call>/answer": {"party": "p"},
    "/api/v1/calls/<call>/hold": {"party": "p"},
    "/api/v1/calls/<call>/pickup": {"party": "p"},
    "/api/v1/calls/<call>/complete": {"party": "p"},
    "/api/v1/calls/<call>/consult": {"party": "p", "number": "201"},
    "/api/v1/calls/<call>/resume": {"party": "p"},
    "/api/v1/calls/<call>/takeback": {"party": "p"},
    "/api/v1/calls/<call>/redirect": {"party": "p", "number": "201"},
    "/api/v1/calls/<call>/transfer": {"party": "p", "number": "201"},
}
REFUSED = {401, 403, 404}


def routes(ask: Askers) -> Iterator[tuple[str, str]]:
    for rule in ask.app.url_map.iter_rules():
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, rule.rule


@contextmanager
def signed_in(ask: Askers, person: str) -> Iterator[None]:
    """Requests are this person's, as if its browser had sent them."""
    services = ask.services
    before = services.identify

    def identify(_request: Request) -> Identity | None:
        found = subject_of(services.store.document(), person)
        return None if found is None else Identity(found, by_cookie=True, csrf_token=TOKEN)

    object.__setattr__(services, "identify", identify)
    try:
        yield
    finally:
        object.__setattr__(services, "identify", before)


def send(ask: Askers, method: str, rule: str, kind: str = "extension", id: str = "e201") -> TestResponse:
    path = (
        rule.replace("<kind>", kind)
        .replace("<int:revision>", "1")
        .replace("<int:id>", "1")
        .replace("<path:filename>", "icon.svg")
    )
    path = (
        path.replace("<id>", id).replace("<call>", "c-1.1").replace("<party>", "c-1.1").replace("<type>", "extension")
    )
    headers = {"X-CSRF-Token": TOKEN}
    if not rule.startswith("/api/"):
        answer = ask.client.open(path, method=method, headers=headers, data={} if method == "POST" else None)
        answer.close()  # a static file
        return answer
    store = ask.services.store
    if method in ("PUT", "PATCH", "DELETE") and "<id>" in rule:
        item = store.document().objects[kind][id]
        headers["If-Match"] = f'"{etag(item)}"'
        body = {} if method == "PATCH" else item.model_dump(mode="json", exclude={"id"})
        return ask.client.open(path, method=method, headers=headers, json=body)
    body = BODIES.get(rule, {"id": "fresh"} if rule.endswith("<kind>") else {})
    return ask.client.open(path, method=method, headers=headers, json=body if method == "POST" else None)


def refused(response: TestResponse) -> bool:
    to_sign_in = response.status_code == 303 and response.headers["Location"].startswith("/sign-in")
    return response.status_code in REFUSED or to_sign_in


def test_every_route_is_in_the_table(ask: Askers) -> None:
    assert set(routes(ask)) == set(ROUTES)


def test_strangers_get_nowhere(ask: Askers) -> None:
    for (method, rule), needs in ROUTES.items():
        answer = send(ask, method, rule)
        assert answer.status_code < 500, (method, rule)
        if needs == PUBLIC:
            continue
        assert refused(answer), (method, rule, answer.status)
        assert answer.status_code != 404, (method, rule, "tells what there is")


def may(ask: Askers, person: str, method: str, rule: str, needs: str | tuple[str, ...], kind: str, id: str) -> bool:
    """What the roles say."""
    document = ask.services.store.document()
    subject = subject_of(document, person)
    assert subject is not None
    rights, item = Rights(subject, document), document.objects[kind][id]
    if needs in (SIGNED_IN, PUBLIC):
        return True
    if needs == ABSENT:
        return False
    if isinstance(needs, tuple):
        return any(map(subject.may, needs))
    if needs == "kind":
        return subject.may(kind)
    if needs == ADD:
        if kind == "secret" and person == "torinese":  # it belongs to where it is used, which is nowhere yet
            return rule.endswith("/new")
        return any(grant.covers(kind, "", edit=True) and not grant.own for grant in subject.grants)
    if needs == OBJECT:  # people with roles are the administrator's to remove: rights would go with them
        seen = bool(rights.fields(item))
        if rule.endswith("/delete") or method == "DELETE":
            return seen and rights.may(item, edit=True) and (kind != "person" or person == "administrator")
        return seen
    area, _, what = needs.partition(":")
    return subject.may(area, edit=what == "edit")


@pytest.mark.parametrize("person", ROLES)
def test_who_gets_in_is_who_the_roles_let_in(ask: Askers, person: str) -> None:
    wrong = []
    with signed_in(ask, person):
        for (method, rule), needs in ROUTES.items():
            if needs in (SESSION, PUBLIC):
                continue
            for kind, id in THINGS if "<kind>" in rule else THINGS[:1]:
                answer = send(ask, method, rule, kind, id)
                assert answer.status_code < 500 or answer.status_code == 503, (method, rule, answer.text)
                if (not refused(answer)) is not may(ask, person, method, rule, needs, kind, id):
                    wrong.append(f"{method} {rule} {kind}/{id}: {answer.status}")
            ask.services.store.discard(person)
    assert not wrong, "\n".join(wrong)
