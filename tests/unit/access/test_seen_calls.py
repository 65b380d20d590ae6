"""What each role sees of the calls that have ended."""

from __future__ import annotations

import pytest

from appliance.access.permissions import narrowed, subject_of
from appliance.access.seen_calls import visible_calls, zone_of_reader
from appliance.core.errors import RefusedError
from appliance.history.filter import Visible
from tests.unit.access.company import ROWS, document

MORE = [
    *ROWS,
    ("role", {"id": "both", "name": "Own, and Torino", "permissions": ["history:view"], "sites": ["torino"]}),
    ("person", {"id": "both", "name": "Both", "roles": ["both", "user"]}),
    ("person", {"id": "tied", "name": "A user of Torino's", "roles": ["user"], "sites": ["torino"]}),
    ("extension", {"id": "e202", "number": "202", "site": "milano", "person": "both"}),
    ("extension", {"id": "e203", "number": "203", "site": "milano", "person": "tied"}),
    ("extension", {"id": "e303", "number": "303", "site": "torino", "person": "tied"}),
    ("role", {"id": "field", "name": "A field", "permissions": ["history.number:view"]}),
    ("person", {"id": "field", "name": "A field", "roles": ["field"]}),
]


def visible(person: str) -> Visible | None:
    made = document(MORE)
    subject = subject_of(made, person)
    assert subject is not None
    return visible_calls(subject, made)


@pytest.mark.parametrize("person", ["administrator", "it-manager", "auditor"])
def test_who_sees_everything(person: str) -> None:
    assert visible(person) is None


@pytest.mark.parametrize(
    ("person", "extensions", "sites"),
    [
        ("user", {"201"}, set()),
        ("torinese", set(), {"torino"}),
        ("both", {"202"}, {"torino"}),
        ("tied", {"303"}, set()),
    ],
)
def test_who_sees_a_part(person: str, extensions: set[str], sites: set[str]) -> None:
    assert visible(person) == Visible(frozenset(extensions), frozenset(sites))


@pytest.mark.parametrize("person", ["hr-manager", "operator", "nobody", "namer", "field"])
def test_who_sees_nothing(person: str) -> None:
    with pytest.raises(RefusedError) as error:
        visible(person)
    assert error.value.error_id == "forbidden"


def test_a_key_sees_no_more_than_its_owner_and_its_scopes() -> None:
    made = document(MORE)
    owner = subject_of(made, "user")
    assert owner is not None
    assert visible_calls(narrowed(owner, "key:1", ["*:edit"]), made) == Visible(frozenset({"201"}))
    with pytest.raises(RefusedError):
        visible_calls(narrowed(owner, "key:1", ["extension:view"]), made)


def test_times_are_those_of_one_s_own_place() -> None:
    made = document(
        [
            (kind, row | {"time_zone": "America/New_York"} if row["id"] == "torino" else row)  # type: ignore[operator]
            for kind, row in MORE
        ]
    )
    for person, zone in (("user", "Europe/Rome"), ("torinese", "America/New_York"), ("tied", "Europe/Rome"),
                         ("auditor", "Europe/Rome")):  # fmt: skip
        subject = subject_of(made, person)
        assert subject is not None
        assert zone_of_reader(subject, made) == zone
