"""The document as one subject sees and changes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.access.entries import HIDDEN
from appliance.access.guarded import GuardedDocument
from appliance.core.document import parse
from appliance.core.errors import CentralinoError, ConflictError, InvalidError, NotFoundError, RefusedError
from appliance.kinds import KINDS
from appliance.store import Store
from tests.unit.access.company import filled, guarded


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with filled(tmp_path) as store:
        yield store


def ids(listing: Any) -> list[str]:
    return [entry.item.id for entry in listing.entries]


def refused(error_id: str, call: Any, *args: Any, **options: Any) -> CentralinoError:
    with pytest.raises(CentralinoError) as caught:
        call(*args, **options)
    assert caught.value.error_id == error_id
    return caught.value


def test_a_list_holds_what_may_be_seen(store: Store) -> None:
    assert ids(guarded(store, "administrator").search("extension")) == ["e201", "e301"]
    assert ids(guarded(store, "torinese").search("extension")) == ["e301"]
    assert ids(guarded(store, "user").search("extension")) == ["e201"]
    [entry, _] = guarded(store, "namer").search("extension").entries
    assert entry.fields == {"id": "e201", "number": "201", "label": "Desk"}
    assert entry.editable == {"label"}
    refused("unknown_kind", guarded(store, "namer").search, "device")
    refused("unknown_kind", guarded(store, "administrator").search, "nonsense")


def test_a_list_is_searched_sorted_and_cut(store: Store) -> None:
    everybody = guarded(store, "administrator")
    for number in ("1000", "31", "9"):
        everybody.put("extension", f"e{number}", {"number": number.zfill(2), "site": "milano"}, new=True)
    by_number = everybody.search("extension", sort="number")
    assert ids(by_number) == ["e9", "e31", "e201", "e301", "e1000"]
    assert ids(everybody.search("extension", sort="number", descending=True, limit=2)) == ["e1000", "e301"]
    cut = everybody.search("extension", sort="number", offset=1, limit=2)
    assert (ids(cut), cut.total) == (["e31", "e201"], 5)
    assert ids(everybody.search("extension", text="BRANCH")) == ["e301"]
    assert ids(everybody.search("extension", where={"site": "torino"})) == ["e301"]
    assert ids(everybody.search("person", where={"roles": "user"})) == ["user"]
    assert ids(guarded(store, "namer").search("extension", text="milano")) == []  # what isn't seen isn't found
    for bad in ({"sort": "colour"}, {"where": {"colour": "x"}}, {"limit": 0}, {"limit": 1001}, {"offset": -1}):
        with pytest.raises(InvalidError):
            everybody.search("extension", **bad)


def test_what_may_not_be_seen_is_not_there(store: Store) -> None:
    manager = guarded(store, "torinese")
    messages = {str(refused("not_found", manager.get, "extension", id)).replace(id, "ID") for id in ("e201", "nowhere")}
    assert len(messages) == 1
    refused("not_found", manager.put, "extension", "e201", {"number": "202", "site": "torino"})
    refused("not_found", manager.remove, "extension", "e201")


def test_edits_are_pending_and_the_editors_own(store: Store) -> None:
    manager = guarded(store, "torinese")
    manager.put("extension", "e301", {"label": "Workshop"}, patch=True)
    assert manager.get("extension", "e301").pending == "changed"
    assert manager.get("extension", "e301").fields["label"] == "Workshop"
    assert guarded(store, "administrator").get("extension", "e301").fields["label"] == "Branch"
    manager.remove("extension", "e301")
    assert manager.get("extension", "e301").pending == "removed"
    assert manager.get("extension", "e301").editable == frozenset()
    assert [change.path for change in manager.check_pending()] == ["extension/e301"]


def test_single_fields_are_all_that_may_be_changed(store: Store) -> None:
    namer = guarded(store, "namer")
    namer.put("extension", "e201", {"number": "201", "label": "Front desk"})
    after = namer.current().objects["extension"]["e201"]
    assert after.model_dump()["site"] == "milano", "what it can't see stays as it is"
    assert after.model_dump()["label"] == "Front desk"
    error = refused("forbidden", namer.put, "extension", "e201", {"number": "202", "label": "x"})
    assert "number" in error.message
    refused("forbidden", namer.put, "extension", "e201", {"site": "torino"}, patch=True)
    refused("forbidden", namer.remove, "extension", "e201")
    refused("forbidden", namer.put, "extension", "new", {"number": "299", "site": "milano"}, new=True)


def test_who_may_not_edit_adds_nothing_however_empty(store: Store) -> None:
    auditor = guarded(store, "auditor")
    for kind, data in (("secret", {}), ("person", {"name": "N"}), ("role", {"name": "R"})):
        refused("forbidden", auditor.put, kind, "new", data, new=True)
    refused("forbidden", auditor.remove, "secret", "line")
    assert auditor.pending() == ()


def test_things_are_not_moved_out_of_a_site_nor_into_another(store: Store) -> None:
    manager = guarded(store, "torinese")
    refused("forbidden", manager.put, "extension", "e301", {"site": "milano"}, patch=True)
    refused("forbidden", manager.put, "extension", "new", {"number": "299", "site": "milano"}, new=True)
    manager.put("extension", "new", {"number": "299", "site": "torino"}, new=True)
    with pytest.raises((InvalidError, RefusedError)):
        manager.put("device", "d301", {"extension": "e201"}, patch=True)


def test_what_cannot_be_seen_cannot_be_referred_to(store: Store) -> None:
    manager = guarded(store, "torinese")
    group = {"name": "G", "site": "torino", "members": [{"extension": "e301"}, {"extension": "e201"}]}
    error = refused("dangling_reference", manager.put, "ring_group", "g", group, new=True)
    assert isinstance(error, InvalidError)
    assert [fault.path for fault in error.faults] == ["ring_group/g/members[1].extension"]


@pytest.mark.parametrize("person", ["it-manager", "hr-manager"])
def test_nobody_but_an_administrator_gives_rights(store: Store, person: str) -> None:
    someone = guarded(store, person)
    for fields in ({"roles": ["administrator"]}, {"sites": ["milano"]}):
        error = refused("forbidden", someone.put, "person", "nobody", fields, patch=True)
        assert next(iter(fields)) in error.message
    assert not someone.get("person", "nobody").editable & {"roles", "sites"}
    refused("forbidden", someone.put, "person", "new", {"name": "N", "roles": ["administrator"]}, new=True)
    refused("forbidden", someone.remove, "person", "administrator")
    someone.put("person", "new", {"name": "N"}, new=True)
    someone.remove("person", "nobody")


def test_roles_are_an_administrators(store: Store) -> None:
    with pytest.raises(CentralinoError):
        guarded(store, "it-manager").put("role", "names", {"permissions": ["*:edit"]}, patch=True)
    guarded(store, "administrator").put("role", "names", {"permissions": ["*:edit"]}, patch=True)


def test_rights_that_were_taken_away_meanwhile_count_at_commit(store: Store) -> None:
    manager = guarded(store, "torinese")
    manager.put("extension", "e301", {"label": "Workshop"}, patch=True)
    person = parse(KINDS, "person", {"id": "torinese", "name": "T", "roles": ["site-manager"], "sites": ["milano"]})
    store.promote(store.propose([person], base=store.head().number, author="administrator").number)
    refused("forbidden", guarded(store, "torinese").check_pending)


def test_an_edit_of_what_changed_meanwhile_is_told(store: Store) -> None:
    everybody = guarded(store, "administrator")
    seen = everybody.get("extension", "e201").etag
    everybody.put("extension", "e201", {"label": "One"}, patch=True, expected=seen)
    with pytest.raises(ConflictError):
        everybody.put("extension", "e201", {"label": "Two"}, patch=True, expected=seen)
    with pytest.raises(ConflictError):
        everybody.remove("extension", "e201", expected=seen)
    everybody.put("extension", "e201", {"label": "Two"}, patch=True, expected="*")


def test_secrets_are_sealed_and_never_shown(store: Store) -> None:
    everybody = guarded(store, "administrator")
    assert everybody.get("secret", "line").fields["value"] is None
    entry = everybody.put("secret", "line", {"value": "a password"})
    assert entry.fields["value"] == HIDDEN
    assert "a password" not in repr(entry)
    sealed = everybody.current().objects["secret"]["line"].model_dump()["value"]
    assert sealed == "sealed:v1:line-10"
    for kept in ({"value": HIDDEN}, {}, {"value": "sealed:v1:abc"}):
        assert everybody.put("secret", "line", kept).pending == "changed"
        assert everybody.current().objects["secret"]["line"].model_dump()["value"] == sealed
    for bad in ("", " x", "a\nb", "x" * 5000, 7):
        with pytest.raises(InvalidError, match="secret/line/value"):
            everybody.put("secret", "line", {"value": bad})
    nosealing = GuardedDocument(store, everybody.subject)
    refused("forbidden", nosealing.put, "secret", "line", {"value": "x"})


def test_a_patch_takes_fields_back_to_their_defaults(store: Store) -> None:
    everybody = guarded(store, "administrator")
    entry = everybody.put("extension", "e201", {"label": None, "ring_seconds": 20}, patch=True)
    assert (entry.fields["label"], entry.fields["ring_seconds"], entry.fields["person"]) == (None, 20, "user")
    replaced = everybody.put("extension", "e201", {"number": "201", "site": "milano"})
    assert (replaced.fields["ring_seconds"], replaced.fields["person"]) == (60, None)


def test_faults_of_the_object_name_their_fields(store: Store) -> None:
    everybody = guarded(store, "administrator")
    with pytest.raises(InvalidError) as caught:
        everybody.put("extension", "e201", {"number": "x", "colour": "red"})
    assert {fault.path for fault in caught.value.faults} == {
        "extension/e201/number", "extension/e201/colour", "extension/e201/site",
    }  # fmt: skip
    refused("exists", everybody.put, "extension", "e201", {"number": "201", "site": "milano"}, new=True)
    refused("id", everybody.put, "extension", "../e", {"number": "201", "site": "milano"}, new=True)
    refused("id", everybody.put, "extension", "e201", {"id": "other"}, patch=True)
    with pytest.raises(NotFoundError):
        everybody.put("extension", "nowhere", {"number": "201", "site": "milano"})


def test_who_refers_to_it_as_far_as_may_be_seen(store: Store) -> None:
    assert [item.path() for item in guarded(store, "administrator").referrers("extension", "e301")] == ["device/d301"]
    assert guarded(store, "user").referrers("extension", "e301") == []
    choices = guarded(store, "torinese").choices(["extension", "class_of_service"])
    assert choices == [("extension", "e301", "301 Branch"), ("class_of_service", "standard", "Standard")]


def test_a_new_device_gets_a_password_that_is_shown_once(store: Store) -> None:
    manager = guarded(store, "torinese")
    made = manager.put("device", "d302", {"extension": "e301", "slot": 2}, new=True)
    assert made.password is not None
    assert len(made.password) >= 24
    assert made.password not in repr(made)
    assert made.fields["secret"] == "d302"
    assert manager.get("device", "d302").password is None
    assert {change.path for change in manager.check_pending()} == {"device/d302", "secret/d302"}
    given = manager.put("device", "d303", {"extension": "e301", "slot": 3, "secret": "d301"}, new=True)
    assert given.password is None


DIRECTORY = {
    "name": "Company", "servers": [{"host": "ldap.example.com"}], "bind_dn": "cn=reader,dc=example,dc=com",
    "secret": "line", "base": "dc=example,dc=com",
}  # fmt: skip
PROVIDER = {"name": "Login", "issuer": "https://login.example.com", "client_id": "pbx", "secret": "line"}


@pytest.mark.parametrize(("kind", "data"), [("directory_service", DIRECTORY), ("identity_provider", PROVIDER)])
def test_who_vouches_for_people_is_an_administrator_s_to_say(store: Store, kind: str, data: dict[str, Any]) -> None:
    """Whoever could change it could sign in as anybody."""
    guarded(store, "administrator").put(kind, "corp", data, new=True)
    store.promote(store.propose_staged("administrator", "add").number)
    role = {"id": "it", "name": "IT", "permissions": ["*:edit"], "sites": ["milano"]}
    own = {"id": "odd", "name": "Odd", "permissions": [f"{kind}:edit", "secret:view"]}
    people = [{"id": id, "name": id, "roles": [id]} for id in ("it", "odd")]
    rows = [("role", role), ("role", own), *(("person", each) for each in people)]
    store.promote(store.propose([parse(KINDS, *row) for row in rows], base=store.head().number, author="test").number)
    for person in ("it-manager", "odd", "it"):
        document = guarded(store, person)
        assert document.get(kind, "corp").editable == set(), person
        refused("forbidden", document.put, kind, "corp", {"name": "Mine"}, patch=True)
        refused("forbidden", document.put, kind, "mine", data, new=True)
        refused("forbidden", document.remove, kind, "corp")


def test_the_address_of_somebody_with_rights_is_one(store: Store) -> None:
    """By it a directory or a provider tells who somebody is."""
    hr = guarded(store, "hr-manager")
    for person in ("user", "nobody"):
        assert "email" in hr.get("person", person).editable
        hr.put("person", person, {"email": f"{person}@example.com"}, patch=True)
    for person in ("administrator", "it-manager", "auditor", "namer", "hr-manager"):
        assert "email" not in hr.get("person", person).editable
        assert "email" in str(refused("forbidden", hr.put, "person", person, {"email": "me@example.com"}, patch=True))
        hr.put("person", person, {"name": "Another name"}, patch=True)
    guarded(store, "administrator").put("person", "auditor", {"email": "auditor@example.com"}, patch=True)
