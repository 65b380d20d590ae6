"""The document: immutable, shares what didn't change, names each wrong field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.core.document import Change, Document, changes, parse
from appliance.core.errors import InvalidError, NotFoundError
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.organisation.model import Company, Role, Secret
from tests import strategies

SLOW = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
A, B, C = (Company(id=id, name=id.upper()) for id in "abc")


def test_objects_are_found_by_kind_and_id() -> None:
    document = Document.of([A, B, Role(id="a", name="Role")])
    assert len(document) == 3
    assert document.get(Company, "a") is A
    assert document.find(Company, "c") is None
    assert document.find(Company, None) is None
    assert document.all(Secret) == {}
    with pytest.raises(NotFoundError, match="no company 'c'"):
        document.get(Company, "c")


def test_every_id_used_twice_is_told() -> None:
    with pytest.raises(InvalidError) as caught:
        Document.of([A, A, B, B])
    assert [fault.path for fault in caught.value.faults] == ["company/a/id", "company/b/id"]


def test_a_change_shares_everything_else() -> None:
    before = Document.of([A, B, Role(id="r", name="Role")])
    renamed = Company(id="a", name="Other")
    after = before.with_changes([renamed, C], [("company", "b"), ("company", "none"), ("site", "none")])
    assert after.objects["role"] is before.objects["role"]
    assert dict(after.all(Company)) == {"a": renamed, "c": C}
    assert before.get(Company, "a") is A
    assert changes(before, after) == (
        Change("company", "a", A, renamed),
        Change("company", "b", B, None),
        Change("company", "c", None, C),
    )
    assert changes(before, after)[0].path == "company/a"


def test_an_equal_object_is_no_change() -> None:
    before = Document.of([A])
    assert changes(before, before.with_changes([Company(id="a", name="A")])) == ()


@SLOW
@given(strategies.documents(), strategies.documents())
def test_changes_lead_from_one_document_to_the_other(before: Document, after: Document) -> None:
    found = changes(before, after)
    put = [change.after for change in found if change.after is not None]
    remove = [(change.kind, change.id) for change in found if change.after is None]
    reached = before.with_changes(put, remove)
    assert set(map(key, reached)) == set(map(key, after))
    assert changes(reached, after) == ()


def key(item: Object) -> tuple[str, str, str]:
    return item.kind, item.id, item.model_dump_json()


@SLOW
@given(st.data())
def test_plain_data_of_an_object_parses_to_the_same_object(data: st.DataObject) -> None:
    item = data.draw(st.sampled_from(sorted(KINDS)).flatmap(strategies.objects))
    assert parse(KINDS, item.kind, item.model_dump(mode="json")) == item


@pytest.mark.parametrize(
    ("kind", "data", "paths"),
    [
        ("tent", {}, ["tent"]),
        ("company", {"id": "A!", "name": ""}, ["company/A!/id", "company/A!/name"]),
        ("company", {"name": "x"}, ["company/?/id"]),
        ("company", {"id": "x" * 99, "name": "x", "colour": 1}, ["company/?/id", "company/?/colour"]),
        ("site", {"id": "hq", "name": "x", "company": "c", "links": [{"to": "a"}, {"to": "B!"}]}, ["site/hq/links[1].to"]),
        ("did", {"id": "d", "number": "+3902", "company": "c", "destination": {"type": "moon"}},
         ["did/d/number", "did/d/destination"]),
    ],
)  # fmt: skip
def test_every_wrong_field_is_named(kind: str, data: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(KINDS, kind, data)
    assert [fault.path for fault in caught.value.faults] == paths


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\u202ea", "\ud800", " a", "", "a" * 121, "a\u2028b", "\x00"])
def test_labels_that_no_file_or_display_can_carry_are_refused(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse(KINDS, "company", {"id": "a", "name": text})
    assert [fault.path for fault in caught.value.faults] == ["company/a/name"]


def test_ten_thousand_characters_are_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidError) as caught:
        parse(KINDS, "company", {"id": "a", "name": "x" * 10_000})
    assert len(str(caught.value)) < 300


def test_the_error_counts_what_it_does_not_show() -> None:
    with pytest.raises(InvalidError, match=r"^company/\?/id: .* \(and 1 more\)$"):
        parse(KINDS, "company", {})
