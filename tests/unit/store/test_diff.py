"""Differences as people read them."""

from __future__ import annotations

from appliance.core.document import Change
from appliance.core.model import Object
from appliance.organisation.model import Address, Person, Secret, Site
from appliance.store import FieldChange, changed_paths, field_changes
from tests.unit.store.documents import SEALED


def change(before: Object | None, after: Object | None) -> Change:
    item = after or before
    assert item is not None
    return Change(item.kind, item.id, before, after)


def test_fields_nested_fields_and_lists() -> None:
    before = Site(id="hq", name="HQ", company="demo", address=Address(street="A 1", city="Milano", postal_code="20100"))
    after = before.model_copy(
        update={"address": Address(street="A 2", city="Milano", postal_code="20100"), "networks": ("192.0.2.0/24",)}
    )
    assert field_changes(change(before, after)) == (
        FieldChange("site/hq/address.street", '"A 1"', '"A 2"'),
        FieldChange("site/hq/networks", None, '["192.0.2.0/24"]'),
    )
    assert changed_paths(change(before, after)) == ("site/hq/address.street", "site/hq/networks")


def test_an_object_that_came_or_went() -> None:
    person = Person(id="boss", name="Maria")
    assert field_changes(change(None, person)) == (FieldChange("person/boss/name", None, '"Maria"'),)
    assert field_changes(change(person, None)) == (FieldChange("person/boss/name", '"Maria"', None),)
    assert changed_paths(change(None, person)) == ("person/boss",)


def test_secrets_are_only_said_to_have_changed() -> None:
    old, new = Secret(id="desk", value=SEALED), Secret(id="desk", value=SEALED + "B")
    for before, after in [(old, new), (None, new), (old, None), (Secret(id="desk"), new), (None, Secret(id="desk"))]:
        found = field_changes(change(before, after))
        assert len(found) == 1
        assert found[0].path.startswith("secret/desk")
        assert "sealed" not in repr(found)
