"""Two sites, people of every role, and a store that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from appliance.access.guarded import GuardedDocument
from appliance.access.permissions import Subject, subject_of
from appliance.core.document import Document, parse
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.store import Store

Row = tuple[str, dict[str, Any]]

ROWS: list[Row] = [
    ("company", {"id": "c", "name": "Demo Srl"}),
    *(("site", {"id": site, "name": site, "company": "c"}) for site in ("milano", "torino")),
    *(
        ("person", {"id": role, "name": role, "roles": [role]})
        for role in ("administrator", "it-manager", "hr-manager", "operator", "user", "auditor")
    ),
    ("person", {"id": "torinese", "name": "Torino's manager", "roles": ["site-manager"], "sites": ["torino"]}),
    ("person", {"id": "nobody", "name": "No role"}),
    ("role", {"id": "names", "name": "Names", "permissions": ["extension.label:edit", "extension.number:view"]}),
    ("person", {"id": "namer", "name": "Names things", "roles": ["names"]}),
    ("class_of_service", {"id": "standard", "name": "Standard"}),
    ("extension", {"id": "e201", "number": "201", "label": "Desk", "site": "milano", "person": "user"}),
    ("extension", {"id": "e301", "number": "301", "label": "Branch", "site": "torino"}),
    ("device", {"id": "d201", "extension": "e201", "secret": "d201"}),
    ("device", {"id": "d301", "extension": "e301", "secret": "d301"}),
    ("provider", {"id": "telco", "name": "Telco"}),
    ("trunk", {"id": "line", "name": "Line", "provider": "telco", "host": "192.0.2.1",
               "auth": {"type": "register", "username": "u", "secret": "line"}}),
    *(("secret", {"id": id}) for id in ("d201", "d301", "line")),
]  # fmt: skip


def objects(rows: Iterable[Row] = ROWS) -> list[Object]:
    return [parse(KINDS, kind, data) for kind, data in rows]


def document(rows: Iterable[Row] = ROWS) -> Document:
    return Document.of(objects(rows))


def filled(path: Path, rows: Iterable[Row] = ROWS) -> Store:
    """A store with the company committed (close it)."""
    path.mkdir(parents=True, exist_ok=True)
    store = Store(f"sqlite:///{path}/document.db")
    store.promote(store.propose(objects(rows), base=0, author="test").number)
    return store


def subject(person: str, of: Document | None = None) -> Subject:
    found = subject_of(of or document(), person)
    assert found is not None
    return found


def guarded(store: Store, person: str) -> GuardedDocument:
    return GuardedDocument(
        store, subject(person, store.document()), seal=lambda name, clear: f"sealed:v1:{name}-{len(clear)}"
    )
