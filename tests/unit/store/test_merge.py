"""Three-way merge of plain data, and what stands staged when others have committed meanwhile."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from appliance.core.errors import ConflictError, InvalidError
from appliance.core.model import Object
from appliance.organisation.model import Company, Person
from appliance.store import Store
from appliance.store.merge import WHOLE, last_change, three_way

BASE: dict[str, Any] = {
    "id": "x",
    "name": "A",
    "label": "B",
    "members": [1, 2],
    "to": {"type": "number", "number": "1", "site": "s"},
}


def test_what_one_side_changed_is_as_that_side_made_it() -> None:
    merge = three_way(BASE, {**BASE, "name": "Mine"}, {**BASE, "label": "Theirs", "members": [1, 2, 3]})
    assert merge.data == {**BASE, "name": "Mine", "label": "Theirs", "members": [1, 2, 3]}
    assert (merge.clashes, merge.theirs) == ((), ("label", "members"))


def test_what_both_changed_clashes_until_somebody_chooses() -> None:
    mine, theirs = {**BASE, "name": "Mine", "label": "Same"}, {**BASE, "name": "Theirs", "label": "Same", "new": 1}
    merge = three_way(BASE, mine, theirs)
    assert (merge.data, merge.clashes) == ({**mine, "new": 1}, ("name",))
    for taken, name in ((True, "Theirs"), (False, "Mine")):
        chosen = three_way(BASE, mine, theirs, {"name": taken})
        assert (chosen.data, chosen.clashes) == ({**BASE, "name": name, "label": "Same", "new": 1}, ())


def test_lists_are_one_field_and_parts_many_while_they_are_of_one_type() -> None:
    mine = {**BASE, "members": [2, 1], "to": {**BASE["to"], "number": "2"}}
    theirs = {**BASE, "members": [1], "to": {**BASE["to"], "site": "t"}}
    assert three_way(BASE, mine, theirs).clashes == ("members",)
    assert three_way(BASE, mine, theirs).data["to"] == {"type": "number", "number": "2", "site": "t"}  # type: ignore[index]
    theirs = {**theirs, "to": {"type": "hangup"}}
    assert three_way(BASE, mine, theirs).clashes == ("members", "to")


def test_fields_that_are_emptied_are_changes_too() -> None:
    empty = {name: value for name, value in BASE.items() if name != "label"}
    assert three_way(BASE, empty, {**BASE, "name": "Theirs"}).data == {**empty, "name": "Theirs"}
    assert three_way(BASE, {**BASE, "name": "Mine"}, empty).data == {**empty, "name": "Mine"}
    assert three_way(BASE, empty, {**BASE, "label": "Theirs"}).clashes == ("label",)


def test_removed_by_one_and_changed_by_the_other_is_a_clash_of_the_whole() -> None:
    changed = {**BASE, "name": "New"}
    for mine, theirs in ((None, changed), (changed, None)):
        assert three_way(BASE, mine, theirs).clashes == (WHOLE,)
        assert three_way(BASE, mine, theirs, {WHOLE: True}).data == theirs
        assert three_way(BASE, mine, theirs, {WHOLE: False}).data == mine
    assert three_way(BASE, BASE, None).data is None, "nothing of mine is lost by it"
    assert three_way(BASE, None, BASE).data is None
    assert three_way(None, {"id": "x", "a": 1}, {"id": "x", "a": 2}).clashes == ("a",), "both added it"


VALUES = some.recursive(
    some.integers(0, 2), lambda inner: some.dictionaries(some.sampled_from("abc"), inner, max_size=3), max_leaves=6
)
PLAIN = some.dictionaries(some.sampled_from("abcd"), VALUES, max_size=4)


@given(PLAIN, PLAIN, PLAIN)
def test_no_side_loses_anything_unsaid(base: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert three_way(base, mine, base).data == mine
    assert three_way(base, base, theirs).data == theirs
    assert three_way(base, mine, mine).data == mine
    one, other = three_way(base, mine, theirs), three_way(base, theirs, mine)
    assert set(one.clashes) == set(other.clashes)
    settled = three_way(base, mine, theirs, dict.fromkeys(one.clashes, True))
    assert settled.clashes == ()
    assert settled.data == three_way(base, theirs, mine, dict.fromkeys(one.clashes, False)).data, "whoever looks at it"


def test_the_last_change_of_a_field_is_found() -> None:
    steps = [(1, {"a": 1}, {"a": 2}), (2, {"a": 2}, {"a": 2, "b": 1}), (3, {"a": 2, "b": 1}, None)]
    assert [
        last_change(steps[:2], "a"),
        last_change(steps[:2], "b"),
        last_change(steps, "a"),
        last_change(steps, WHOLE),
    ] == [1, 2, 3, 3]
    assert last_change(steps[:1], "b") is None


# -- staged -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/document.db") as store:
        commit(store, person())
        yield store


def person(name: str = "Maria", **more: Any) -> Person:
    return Person(id="maria", name=name, **more)


def commit(store: Store, *put: Object, author: str = "bob", remove: tuple[tuple[str, str], ...] = ()) -> int:
    return store.promote(store.propose(put, remove, base=store.head().number, author=author).number).number


def found(store: Store) -> Person:
    [item] = store.candidate("ann").put
    assert isinstance(item, Person)
    return item


KEY = ("person", "maria")


def test_staged_and_committed_changes_of_different_fields_are_merged_and_committed(store: Store) -> None:
    store.stage("ann", [person(email="maria@example.com")])
    commit(store, person("Maria Bianchi"))
    assert found(store) == person("Maria Bianchi", email="maria@example.com")
    [met] = store.met("ann")
    assert (met.clashes, met.theirs) == ((), ("name",))
    store.promote(store.propose_staged("ann").number)
    assert store.document().get(Person, "maria") == person("Maria Bianchi", email="maria@example.com")
    assert not store.candidate("ann")
    commit(store, person("Maria Verdi"))
    assert not store.candidate("ann"), "nothing of it is left to come back"


def test_a_clash_is_refused_until_it_is_settled(store: Store) -> None:
    store.stage("ann", [person("Mine", email="maria@example.com")])
    seen = commit(store, person("Theirs", language="en"))
    with pytest.raises(ConflictError) as caught:
        store.propose_staged("ann")
    assert caught.value.changed == ("person/maria/name",)
    assert found(store) == person("Mine", email="maria@example.com", language="en")
    assert store.settle("ann", KEY, {}, seen=seen) == ("name",), "nothing is chosen by itself"
    assert store.settle("ann", KEY, {"name": True}, seen=seen) == ()
    assert found(store) == person("Theirs", email="maria@example.com", language="en")
    store.propose_staged("ann")


def test_what_was_settled_before_a_further_change_isn_t_taken(store: Store) -> None:
    store.stage("ann", [person("Mine")])
    seen = commit(store, person("Theirs"))
    commit(store, person("Theirs again"))
    with pytest.raises(ConflictError):
        store.settle("ann", KEY, {"name": True}, seen=seen)
    assert found(store) == person("Mine")


def test_a_clash_stays_one_through_further_edits(store: Store) -> None:
    store.stage("ann", [person("Mine")])
    commit(store, person("Theirs"))
    store.stage("ann", [person("Mine again")])
    assert [met.clashes for met in store.met("ann")] == [("name",)]
    store.stage("ann", [person("Theirs")])
    assert not store.candidate("ann")


def test_an_edit_is_staged_on_the_revision_that_its_form_began_with(store: Store) -> None:
    seen = store.head().number
    commit(store, person("Theirs"))
    store.stage("ann", [person("Mine")], base=seen)
    assert [met.clashes for met in store.met("ann")] == [("name",)]


def test_removed_by_somebody_else_meanwhile(store: Store) -> None:
    store.stage("ann", [person("Mine")])
    seen = commit(store, Company(id="c", name="C"), remove=(KEY,))
    [met] = store.met("ann")
    assert met.clashes == (WHOLE,)
    with pytest.raises(ConflictError) as caught:
        store.propose_staged("ann")
    assert caught.value.changed == ("person/maria",)
    assert store.settle("ann", KEY, {WHOLE: True}, seen=seen) == ()
    assert not store.candidate("ann")


def test_what_fits_no_model_is_chosen_field_by_field(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side is right by itself and both together aren't: nothing is merged by itself then."""
    from appliance.core.errors import Fault
    from appliance.store import staging

    whole = staging.parse

    def strict(kinds: Any, kind: str, data: Any) -> Object:
        if data.get("email") and data.get("language"):
            raise InvalidError([Fault("person/maria/email", "not with a language")])
        return whole(kinds, kind, data)

    monkeypatch.setattr(staging, "parse", strict)
    store.stage("ann", [person(email="maria@example.com")])
    seen = commit(store, person(language="en"))
    [met] = store.met("ann")
    assert set(met.clashes) == {"email", "language"}
    with pytest.raises(InvalidError):
        store.settle("ann", KEY, {"email": False, "language": True}, seen=seen)
    assert store.settle("ann", KEY, {"email": False, "language": False}, seen=seen) == ()
    assert found(store) == person(email="maria@example.com")


def test_since_when_something_is_edited_is_kept(tmp_path: Path) -> None:
    times = iter(f"2026-01-01T00:00:{second:02}.000Z" for second in range(60))
    with Store(f"sqlite:///{tmp_path}/timed.db", clock=lambda: next(times)) as store:
        commit(store, person())
        store.stage("ann", [person("First")])
        [(who, edit)] = store.staged_by_others("bob", [KEY])
        store.stage("ann", [person("Second")])
        [(_, again)] = store.staged_by_others("bob", [KEY])
        assert (who, again.since) == ("ann", edit.since)
        assert edit.since
        assert store.staged_by_others("ann", [KEY]) == []


def test_a_store_of_the_former_tables_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "former.db"
    with Store(f"sqlite:///{file}") as store:
        commit(store, person())
        store.stage("ann", [person("Mine")])
    with closing(sqlite3.connect(file)) as direct:
        direct.executescript(
            "DROP INDEX ix_staged_change_kind; ALTER TABLE staged_change DROP COLUMN since;"
            " UPDATE document_schema SET version_num = '0001'"
        )
    with Store(f"sqlite:///{file}") as store:
        assert found(store) == person("Mine")
        assert [(who, edit.since) for who, edit in store.staged_by_others("bob", [KEY])] == [("ann", None)]
        store.stage("ann", [person("Mine again")])
        commit(store, person(language="en"))
        assert found(store) == person("Mine again", language="en")
