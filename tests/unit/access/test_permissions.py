"""What roles allow: kinds, fields, sites, one's own."""

from __future__ import annotations

import pytest

from appliance.access.permissions import Rights, narrowed, subject_of
from appliance.access.roles import AREAS, BUILT_IN, permission
from appliance.access.verify import verify
from appliance.core.document import Document
from appliance.core.model import Object
from appliance.core.references import dangling
from appliance.kinds import KINDS
from appliance.organisation.model import Person
from tests.unit.access.company import ROWS, Row, document, subject


def item(made: Document, kind: str, id: str) -> Object:
    return made.objects[kind][id]


def allowed(person: str, kind: str, id: str, *, edit: bool = False, made: Document | None = None) -> set[str]:
    made = made or document()
    return set(Rights(subject(person, made), made).fields(item(made, kind, id), edit=edit))


def with_row(kind: str, **fields: object) -> Document:
    rows: list[Row] = [row for row in ROWS if (row[0], row[1]["id"]) != (kind, fields["id"])]
    return document([*rows, (kind, dict(fields))])


def test_nobody_sees_anything_without_a_role() -> None:
    made = document()
    access = Rights(subject("nobody"), made)
    assert not any(access.fields(each) for each in made)
    assert subject_of(made, "not there") is None


def test_an_administrator_may_everything_and_an_auditor_see_it() -> None:
    made = document()
    for person, edit in (("administrator", True), ("auditor", False)):
        access = Rights(subject(person), made)
        for each in made:
            assert access.fields(each) == type(each).model_fields.keys()
            assert bool(access.fields(each, edit=True)) is edit
        assert all(subject(person).may(area) for area in AREAS)
        assert subject(person).may("history", edit=True) is edit


def test_a_sites_manager_has_that_site_alone() -> None:
    assert "label" in allowed("torinese", "extension", "e301", edit=True)
    assert allowed("torinese", "extension", "e201") == set()
    assert allowed("torinese", "device", "d201") == set()
    assert "secret" in allowed("torinese", "device", "d301", edit=True)
    assert allowed("torinese", "site", "torino") == {"id", *KINDS["site"].model_fields}
    assert allowed("torinese", "site", "milano") == set()


def test_what_all_sites_share_is_seen_there_and_not_changed() -> None:
    assert "allow" in allowed("torinese", "class_of_service", "standard")
    assert allowed("torinese", "class_of_service", "standard", edit=True) == set()
    assert allowed("torinese", "secret", "line", edit=True) == set()


def test_a_password_is_where_all_who_use_it_are() -> None:
    """A phone of one's own site that is made to share a trunk's password doesn't open it."""
    assert "value" in allowed("torinese", "secret", "d301", edit=True)
    shared = with_row("device", id="d301", extension="e301", secret="line")
    assert allowed("torinese", "secret", "line", edit=True, made=shared) == set()
    both = with_row("device", id="d301", extension="e301", secret="d201")
    assert allowed("torinese", "secret", "d201", edit=True, made=both) == set()


def test_a_device_that_stands_elsewhere_is_at_both_sites() -> None:
    moved = with_row("device", id="d301", extension="e301", secret="d301", site="milano")
    assert "site" in allowed("torinese", "device", "d301", made=moved)
    assert allowed("torinese", "device", "d301", edit=True, made=moved) == set()


def test_a_user_has_its_own_things() -> None:
    assert allowed("user", "person", "user", edit=True) == {"id", "language"}
    assert "busy_policy" in allowed("user", "extension", "e201", edit=True)
    assert "number" not in allowed("user", "extension", "e201", edit=True)
    assert "number" in allowed("user", "extension", "e201")
    assert allowed("user", "extension", "e301") == allowed("user", "person", "administrator") == set()
    assert "extension" in allowed("user", "device", "d201")
    assert allowed("user", "device", "d301") == set()


def test_a_role_of_single_fields() -> None:
    assert allowed("namer", "extension", "e201") == {"id", "label", "number"}
    assert allowed("namer", "extension", "e201", edit=True) == {"id", "label"}
    assert allowed("namer", "device", "d201") == set()


def test_a_roles_own_sites_come_before_the_persons() -> None:
    rows: list[Row] = [
        ("role", {"id": "all-of-milano", "name": "M", "permissions": ["extension:view"], "sites": ["milano"]}),
        ("person", {"id": "both", "name": "B", "roles": ["all-of-milano", "site-manager"], "sites": ["torino"]}),
    ]
    made = document([*ROWS, *rows])
    assert allowed("both", "extension", "e201", made=made)
    assert not allowed("both", "extension", "e201", edit=True, made=made)
    assert allowed("both", "extension", "e301", edit=True, made=made)


@pytest.mark.parametrize(
    ("person", "scopes", "edits", "sees"),
    [
        ("administrator", ["extension:view"], set(), set(KINDS["extension"].model_fields)),
        ("administrator", ["*:edit"], set(KINDS["extension"].model_fields), set(KINDS["extension"].model_fields)),
        ("auditor", ["*:edit"], set(), set(KINDS["extension"].model_fields)),
        ("namer", ["extension:edit"], {"id", "label"}, {"id", "label", "number"}),
        ("administrator", ["extension.label:edit"], {"id", "label"}, {"id", "label"}),
        ("administrator", ["person:edit", "nonsense"], set(), set()),
        ("administrator", [], set(), set()),
    ],
)
def test_a_key_may_what_its_owner_may_and_its_scopes_name(
    person: str, scopes: list[str], edits: set[str], sees: set[str]
) -> None:
    made = document()
    key = narrowed(subject(person), "key:x", scopes)
    access = Rights(key, made)
    extension = item(made, "extension", "e201")
    assert (set(access.fields(extension, edit=True)), set(access.fields(extension))) == (edits, sees)
    assert (key.id, key.person) == ("key:x", person)


def test_every_built_in_permission_stands_for_something() -> None:
    for role in BUILT_IN.values():
        for text in role.permissions:
            found = permission(text)
            assert found is not None
            assert found.subject in {"*", *KINDS, *AREAS}, text
            assert not found.field or found.field in KINDS[found.subject].model_fields, text


def test_built_in_roles_need_not_be_in_the_document() -> None:
    assert list(dangling(document())) == []
    missing = with_row("person", id="nobody", name="No role", roles=["missing"])
    assert [fault.path for fault in dangling(missing)] == ["person/nobody/roles[0]"]


def test_roles_that_name_what_there_is_not() -> None:
    rows: list[Row] = [
        (
            "role",
            {
                "id": "odd",
                "name": "O",
                "permissions": ["extensoin:view", "extension.colour:view", "history.id:view", "*:view"],
            },
        ),
        ("role", {"id": "user", "name": "U"}),
    ]
    found = [(fault.path, fault.error_id, fault.severity) for fault in verify(document([*ROWS, *rows]))]
    assert found == [
        ("role/odd/permissions[0]", "unknown_permission", "error"),
        ("role/odd/permissions[1]", "unknown_permission", "error"),
        ("role/odd/permissions[2]", "unknown_permission", "error"),
        ("role/user/id", "built_in_role", "warning"),
    ]


def test_a_document_role_of_a_built_in_id_counts_for_nothing() -> None:
    rows: list[Row] = [("role", {"id": "auditor", "name": "A", "permissions": ["*:edit"]})]
    assert allowed("auditor", "extension", "e201", edit=True, made=document([*ROWS, *rows])) == set()


def test_the_model_of_people_knows_them_all() -> None:
    assert "administrator" in (Person.model_fields["roles"].description or "")
    assert all(id in (Person.model_fields["roles"].description or "") for id in BUILT_IN)
