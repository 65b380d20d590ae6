"""The whole PBX: what one revision hands on to the next."""

from __future__ import annotations

from typing import Any

from appliance.core.document import Document, parse
from appliance.kinds import KINDS
from appliance.pbx.context import Installation
from appliance.pbx.plan import desired

INSTALLATION = Installation("token", {"s": "password"})


def extension(number: int, **fields: Any) -> tuple[str, dict[str, Any]]:
    return "extension", {"id": f"e{number}", "number": str(number), "site": "hq", "label": "Desk", **fields}


def office() -> Document:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("company", {"id": "c", "name": "C"}),
        ("site", {"id": "hq", "name": "HQ", "company": "c"}),
        ("number_plan", {"id": "p", "name": "P", "ranges": [{"first": "200", "last": "299"}]}),
        ("listener", {"id": "udp", "name": "U", "transport": "udp", "address": "192.0.2.1"}),
        ("secret", {"id": "s"}),
    ]
    for number in (201, 202, 203):
        rows += [extension(number), ("device", {"id": f"d{number}", "extension": f"e{number}", "secret": "s"})]
    return Document.of(parse(KINDS, kind, data) for kind, data in rows)


def test_files_of_an_unchanged_document_are_the_very_same() -> None:
    document = office()
    before, after = desired(document, INSTALLATION), desired(document, INSTALLATION)
    assert {name for name in after if after[name] is not before[name]} == set()


def test_a_changed_name_makes_nothing_new_but_its_own_shard() -> None:
    document = office()
    before = desired(document, INSTALLATION)
    kind, data = extension(202, label="Other")
    after = desired(document.with_changes([parse(KINDS, kind, data)]), INSTALLATION)
    assert {name for name in after if after[name] is not before[name]} == {"tables/names.conf"}
    pairs = zip(before["tables/names.conf"].sections, after["tables/names.conf"].sections, strict=True)
    assert [new.name for old, new in pairs if old is not new] == ["02"]


def test_removed_objects_are_gone_although_the_others_are_kept() -> None:
    document = office()
    desired(document, INSTALLATION)
    after = desired(document.with_changes(remove=[("device", "d203"), ("extension", "e203")]), INSTALLATION)
    assert not any("203" in section.text() for file in after.values() for section in file.sections)
    assert any("202" in section.text() for section in after["tables/names.conf"].sections)
