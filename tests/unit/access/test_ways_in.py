"""What must hold of directories and providers, and what becomes of their roles and local passwords."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.access.directories import may_use_local, roles_given
from appliance.access.people import person_of
from appliance.access.permissions import Rights, subject_of
from appliance.access.verify import verify
from appliance.core.document import Document, parse
from appliance.core.errors import Fault, InvalidError
from appliance.handed import wanted
from appliance.kinds import KINDS
from appliance.organisation.model import Person, PersonBy, Secret
from tests.unit.access.test_guarded import DIRECTORY, PROVIDER
from tests.unit.core.test_certificates import ONE

SEALED = "sealed:v1:x"
BROKEN = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----"
"""One DER sequence, and no certificate."""


def made(kind: str = "directory_service", more: tuple[Any, ...] = (), **fields: Any) -> Document:
    data = {**(DIRECTORY if kind == "directory_service" else PROVIDER), "id": "corp", "secret": "s", **fields}
    return Document.of([parse(KINDS, kind, data), Secret(id="s", value=SEALED), *more])


def faults(document: Document) -> list[tuple[str, str]]:
    return [(fault.error_id, fault.path) for fault in verify(document)]


def test_good_ones_have_no_faults() -> None:
    assert faults(made()) == []
    assert faults(made("identity_provider", authority=ONE)) == []
    assert faults(made(authority=ONE, nested_groups=True, required_group="cn=a,dc=example,dc=com")) == []


@pytest.mark.parametrize(
    ("document", "error_id", "field"),
    [
        (made(servers=[{"host": "a"}, {"host": "A"}]), "server_twice", "servers[1]"),
        (made(nested_groups=True), "no_groups", "nested_groups"),
        (made(login_attributes=["uid", "objectClass"]), "login_attribute", "login_attributes"),
        (made(authority=BROKEN), "certificate", "authority"),
        (made("identity_provider", scopes=["profile"]), "scope_missing", "scopes"),
        (made("identity_provider", claim="sub"), "claim_of_another_kind", "person_by"),
        (made("identity_provider", issuer="https://login.example.com/common/v2.0"), "issuer_of_everybody", "issuer"),
    ],
)  # fmt: skip
def test_what_can_t_work_is_told_by_field(document: Document, error_id: str, field: str) -> None:
    [(found, path)] = faults(document)
    assert (found, path.split("/", 2)[2]) == (error_id, field)


def test_a_secret_without_a_value_is_told_as_long_as_it_is_needed() -> None:
    empty = [Secret(id="s")]
    assert [id for id, _ in faults(made().with_changes(empty))] == ["secret_missing"]
    assert faults(made(enabled=False).with_changes(empty)) == []


def test_a_directory_s_secret_is_sent_to_nobody_else() -> None:
    """Whoever may edit a trunk or where notifications go could otherwise have it sent there."""
    line = parse(KINDS, "trunk", {"id": "line", "name": "Line", "provider": "p", "host": "192.0.2.1",
                                  "auth": {"type": "register", "username": "u", "secret": "s"}})  # fmt: skip
    assert faults(made(more=(line,))) == [("secret_shared", "trunk/line/auth.secret")]
    assert faults(made(more=(line,), secret="t").with_changes([Secret(id="t", value=SEALED)])) == []
    assert faults(made(more=(parse(KINDS, "identity_provider", {**PROVIDER, "id": "sso", "secret": "s"}),))) == []


def test_addresses_of_two_people_are_told_where_they_count() -> None:
    twins = (Person(id="a", name="A", email="x@example.com"), Person(id="b", name="B", email="X@example.com"))
    [fault] = verify(made(more=twins))
    assert (fault.error_id, fault.severity, fault.path) == ("email_twice", "warning", "person/b/email")
    assert faults(Document.of(twins)) == []


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("directory_service", "servers", []),
        ("directory_service", "security", "none"),
        ("directory_service", "bind_dn", "reader"),
        ("directory_service", "base", ""),
        ("directory_service", "login_attributes", ["uid)(x=*"]),
        ("directory_service", "user_class", "person)"),
        ("identity_provider", "issuer", "http://login.example.com"),
        ("identity_provider", "issuer", "https://user@login.example.com"),
        ("identity_provider", "issuer", "https://login.example.com?x=1"),
        ("identity_provider", "client_id", "a b"),
        ("identity_provider", "scopes", ["a b"]),
        ("identity_provider", "authority", "nothing"),
    ],
)
def test_what_no_field_can_be_is_refused(kind: str, field: str, value: Any) -> None:
    with pytest.raises(InvalidError) as caught:
        made(kind, **{field: value})
    assert f"/{field}" in caught.value.faults[0].path
    assert isinstance(caught.value.faults[0], Fault)


def test_only_their_secrets_are_handed_to_the_portal() -> None:
    document = made(more=(parse(KINDS, "identity_provider", {**PROVIDER, "id": "sso", "secret": "t"}), Secret(id="t"), Secret(id="phone")))  # fmt: skip
    assert wanted(document, "console") == {"s", "t"}


def test_who_may_use_a_password_kept_here() -> None:
    boss = Person(id="boss", name="Boss", roles=("administrator",))
    other = Person(id="other", name="Other", roles=("it-manager",))
    strict = made(local_passwords="administrators")
    assert [may_use_local(strict, each) for each in (boss, other, None)] == [True, False, True]
    assert may_use_local(made(), other)
    assert may_use_local(made(local_passwords="administrators", enabled=False), other)


def test_roles_given_by_groups_count_like_one_s_own() -> None:
    groups = [{"group": "cn=a,dc=example,dc=com", "role": "auditor"}]
    document = made(more=(Person(id="ann", name="Ann"),), groups=groups)
    assert roles_given(document) == {"auditor"}
    assert roles_given(made(groups=groups, enabled=False)) == frozenset()
    plain, more = subject_of(document, "ann"), subject_of(document, "ann", ("auditor", "nonsense"))
    assert plain is not None
    assert more is not None
    item = document.objects["directory_service"]["corp"]
    assert not Rights(plain, document).may(item)
    assert Rights(more, document).may(item)
    assert not Rights(more, document).may(item, edit=True)


def test_a_person_is_told_by_one_value_of_one_person() -> None:
    people = [
        Person(id="ann", name="Ann", email="Ann@Example.com"), Person(id="bob", name="Bob"), Person(id="cat", name="Cat"),
        Person(id="dan", name="Dan", email="x@example.com"), Person(id="eve", name="Eve", email="X@example.com"),
    ]  # fmt: skip
    document = Document.of(people)
    for values, id in (
        (["ann@example.com"], "ann"), (["nobody@example.com", " ANN@example.com "], "ann"), ([""], None), ([], None),
        (["x@example.com"], None), (["ann@example.com", "x@example.com"], None), (["ann"], None),
    ):  # fmt: skip
        found = person_of(document, PersonBy.EMAIL, values)
        assert (found.id if found else None) == id, values
    assert person_of(document, PersonBy.ID, ["BOB"]) == people[1]
    assert person_of(document, PersonBy.ID, ["bob", "cat"]) is None
    assert person_of(document, PersonBy.ID, ["ann@example.com"]) is None
