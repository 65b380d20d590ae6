"""The store against real databases: SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from appliance.core.document import Document, changes
from appliance.core.errors import ConflictError, CorruptError, InvalidError, NotFoundError, RefusedError
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.organisation.model import Company, Person, Secret
from appliance.store import Revision, State, Store, export_document
from appliance.store.database import Database
from appliance.store.migrations import document as formats
from appliance.store.migrations.document import Plain
from appliance.store.store import SCRIPTS
from appliance.store.tables import TABLES_VERSION, VERSION_TABLE, metadata
from tests.hil.postgres import Postgres, postgres
from tests.unit.store.documents import everything

COUNTER = itertools.count()
MakeUrl = Callable[[], str]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store/document.db"
    server: Postgres = request.getfixturevalue("server")
    return server.database(f"store{next(COUNTER)}")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store(url) as opened:
        yield opened


def commit(store: Store, *put: Object, remove: tuple[tuple[str, str], ...] = ()) -> Revision:
    proposed = store.propose(put, remove, base=store.head().number, author="ann", message="test")
    return store.promote(proposed.number)


def person(id: str, name: str = "Maria", **fields: object) -> Person:
    return Person.model_validate({"id": id, "name": name} | fields)


def by_key(document: Document) -> dict[tuple[str, str], Object]:
    return {(item.kind, item.id): item for item in document}


def test_an_empty_store_has_revision_zero(store: Store) -> None:
    assert (store.head().number, store.head().state, len(store.document())) == (0, State.COMMITTED, 0)
    assert (store.history(), store.changes_since(0), store.open_proposals()) == ([], (), [])
    for number in (1, -1, 10**12):
        with pytest.raises(NotFoundError, match="no revision"):
            store.revision(number)


def test_every_kind_is_read_back_equal(store: Store, url: str) -> None:
    commit(store, *everything())
    wanted = {(item.kind, item.id): item for item in everything()}
    assert by_key(store.document()) == wanted
    with Store(url) as other:
        assert by_key(other.document()) == wanted
        assert list(other.document().objects) == list(KINDS)
        other.check()


def test_every_revision_can_be_read_for_ever(store: Store, url: str) -> None:
    expected = {0: Document()}
    commit(store, person("a"), person("b"))
    expected[1] = Document.of([person("a"), person("b")])
    commit(store, person("a", "Anna"), remove=(("person", "b"),))
    expected[2] = Document.of([person("a", "Anna")])
    commit(store, person("b", "Bice"), person("c"))
    expected[3] = expected[2].with_changes([person("b", "Bice"), person("c")])
    commit(store, remove=(("person", "a"), ("person", "b"), ("person", "c")))
    expected[4] = Document()
    for a, b in itertools.permutations(expected, 2):
        with Store(url) as fresh:
            assert by_key(fresh.document(a)) == by_key(expected[a])
            assert by_key(fresh.document(b)) == by_key(expected[b])  # reached from a by what differs
            wanted = changes(expected[a], expected[b])
            assert [(one.path, one.before, one.after) for one in fresh.diff(a, b)] == [
                (one.path, one.before, one.after) for one in wanted
            ]
    assert [revision.number for revision in store.history()] == [4, 3, 2, 1]
    assert [revision.number for revision in store.history(2, before=3)] == [2, 1]


def test_unchanged_objects_are_shared_between_documents(store: Store) -> None:
    commit(store, person("a"), person("b"))
    first = store.document()
    commit(store, person("b", "Bice"))
    second = store.document()
    assert second.get(Person, "a") is first.get(Person, "a")
    assert second.get(Person, "b").name == "Bice"
    assert store.document() is second


def test_a_proposal_is_not_in_force_until_promoted(store: Store) -> None:
    commit(store, person("a"))
    proposed = store.propose([person("a", "Anna")], base=1, author="ann", message="Marriage")
    assert (proposed.number, proposed.parent, proposed.state) == (2, 1, State.PROPOSED)
    assert store.head().number == 1
    assert store.document().get(Person, "a").name == "Maria"
    assert store.document(2).get(Person, "a").name == "Anna"
    assert store.open_proposals() == [proposed]
    assert store.change_set(2).put == (person("a", "Anna"),)
    promoted = store.promote(2)
    assert (promoted.state, promoted.author, promoted.message) == (State.COMMITTED, "ann", "Marriage")
    assert store.promote(2) == promoted  # again: nothing happens
    assert store.head() == promoted
    assert store.change_set(2).put == (person("a", "Anna"),)
    with pytest.raises(RefusedError, match="committed"):
        store.fail(2, "too late")


def test_a_failed_proposal_says_why_and_keeps_its_changes(store: Store) -> None:
    store.propose([person("a")], base=0, author="ann")
    failed = store.fail(1, "the engine refused it\x00")
    assert (failed.state, failed.reason) == (State.FAILED, "the engine refused it ")
    assert store.change_set(1).put == (person("a"),)
    assert store.fail(1, "again").reason == "the engine refused it "
    for attempt in (store.promote, store.rebase):
        with pytest.raises(RefusedError, match="the engine refused it"):
            attempt(1)
    assert commit(store, person("b")).number == 2  # its number is not used again


def test_a_withdrawn_proposal_leaves_nothing(store: Store) -> None:
    first = commit(store, person("ann"))
    proposed = store.propose([person("ben")], base=first.number, author="ann")
    store.withdraw(proposed.number)
    assert [revision.number for revision in store.history()] == [first.number]
    assert store.open_proposals() == []
    with pytest.raises(NotFoundError):
        store.change_set(proposed.number)
    again = store.propose([person("carl")], base=first.number, author="ann")
    assert [item.id for item in store.change_set(again.number).put] == ["carl"]
    store.promote(again.number)
    store.withdraw(again.number)  # decided on: it stays
    assert store.head().number == again.number
    with pytest.raises(NotFoundError):
        store.withdraw(4000)


def test_a_stale_edit_is_refused_naming_the_fields(store: Store) -> None:
    commit(store, person("a"), person("b"))
    commit(store, person("a", "Anna", email="a@example.com"), person("c"))
    with pytest.raises(ConflictError, match="person/a/name") as caught:
        store.propose([person("a", "Ada"), person("d")], base=1, author="bob")
    assert caught.value.changed == ("person/a/name", "person/a/email")
    with pytest.raises(ConflictError) as caught:
        store.propose([person("c", "Carla")], base=1, author="bob")
    assert caught.value.changed == ("person/c",)
    with pytest.raises(ConflictError):
        store.propose(remove=[("person", "a")], base=1, author="bob")
    assert store.open_proposals() == []


def test_edits_of_other_objects_merge_and_equal_edits_do_not_collide(store: Store) -> None:
    commit(store, person("a"), person("b"))
    commit(store, person("a", "Anna"))
    proposed = store.propose([person("a", "Anna"), person("b", "Bice")], base=1, author="bob")
    store.promote(proposed.number)
    assert {item.name for item in store.document().all(Person).values()} == {"Anna", "Bice"}
    assert store.change_set(proposed.number).put == (person("b", "Bice"),)
    with pytest.raises(RefusedError) as caught:
        store.propose([person("a", "Anna")], base=1, author="bob")
    assert caught.value.error_id == "nothing_changed"


def test_two_open_proposals_one_after_the_other(store: Store) -> None:
    commit(store, person("a"), person("b"), person("c"))
    two = store.propose([person("a", "Anna")], base=1, author="ann").number
    three = store.propose([person("b", "Bice")], base=1, author="bob").number
    four = store.propose([person("b", "Bianca")], base=1, author="cy").number
    store.promote(store.rebase(three).number)
    with pytest.raises(ConflictError, match="head is 3"):
        store.promote(two)
    renewed = store.rebase(two)  # overtaken: gets a number behind the head
    assert (renewed.number, renewed.parent, renewed.author) == (5, 3, "ann")
    assert store.revision(two).state is State.SUPERSEDED
    store.promote(renewed.number)
    with pytest.raises(ConflictError, match="person/b/name"):
        store.rebase(four)
    assert store.revision(four).state is State.FAILED
    assert [item.name for item in store.document().all(Person).values()] == ["Anna", "Bice", "Maria"]


def test_a_proposal_keeps_its_number_if_nothing_later_was_committed(store: Store) -> None:
    commit(store, person("a"), person("b"))
    store.propose([person("a", "Anna")], base=1, author="ann")
    store.propose([person("b", "Bice")], base=1, author="bob")
    store.propose([person("a", "Anna")], base=1, author="cy")
    store.promote(2)
    renewed = store.rebase(3)
    assert (renewed.number, renewed.parent) == (3, 2)
    done = store.rebase(4)  # somebody else has made the very same change
    assert (done.number, done.state) == (2, State.COMMITTED)
    assert store.revision(4).state is State.SUPERSEDED


def test_restore_is_a_new_revision_with_old_content(store: Store) -> None:
    commit(store, person("a"), person("b"))
    commit(store, person("a", "Anna"), person("c"), remove=(("person", "b"),))
    restored = store.promote(store.propose_restore(1, author="ann").number)
    assert (restored.number, restored.message) == (3, "Restore revision 1")
    assert by_key(store.document()) == by_key(store.document(1))
    with pytest.raises(RefusedError, match="nothing would change"):
        store.propose_restore(1, author="ann")


def test_staged_changes_are_the_authors_own(store: Store) -> None:
    commit(store, person("a"), person("b"))
    store.stage("ann", [person("a", "Anna")], [("person", "b")])
    staged = store.stage("ann", [person("c")])
    assert (staged.put, staged.remove, staged.base) == ((person("a", "Anna"), person("c")), (("person", "b"),), 1)
    assert not store.candidate("bob")
    assert by_key(staged.on(store.document())) == by_key(Document.of([person("a", "Anna"), person("c")]))
    store.discard("ann", [("person", "b")])
    proposed = store.propose_staged("ann", "mine")
    assert store.candidate("ann")  # still there, to be mended if the applier refuses it
    store.stage("ann", [person("c", "Carla")])  # edited on while it is being applied
    store.promote(proposed.number)
    assert store.candidate("ann").put == (person("c", "Carla"),)
    store.discard("ann")
    assert not store.candidate("ann")
    with pytest.raises(RefusedError):
        store.propose_staged("ann")


def test_staged_changes_know_what_they_were_made_on(store: Store) -> None:
    commit(store, person("a"), person("b"))
    store.stage("ann", [person("a", "Ada")])
    commit(store, person("a", "Anna"))
    store.stage("ann", [person("b", "Bice")])
    store.stage("ann", [person("a", "Ada!")])
    with pytest.raises(ConflictError) as caught:
        store.propose_staged("ann")
    assert caught.value.changed == ("person/a/name",)


def test_any_text_is_stored_or_refused_naming_the_field(store: Store) -> None:
    odd = "'; DROP TABLE revision; -- \U0001f600 %s :x ${y} \\ \""
    commit(store, person("a", odd))
    assert store.document().get(Person, "a").name == odd
    for field, value in [
        ("author", ""),
        ("author", "a" * 201),
        ("author", "a\x00"),
        ("message", "\x00"),
        ("message", "\ud800"),
    ]:
        with pytest.raises(InvalidError, match=f"revision/{field}"):
            store.propose([person("b")], base=1, **({"author": "x", "message": "y"} | {field: value}))


def test_the_clock_does_not_order_the_history(url: str) -> None:
    times = iter(["2026-06-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z", "2026-06-01T00:00:01.000Z"])
    with Store(url, clock=lambda: next(times)) as store:
        for name in ("Uno", "Due", "Tre"):
            commit(store, person("a", name))
        assert [revision.number for revision in store.history()] == [3, 2, 1]
        assert store.head().number == 3
        assert store.document().get(Person, "a").name == "Tre"


def take(store: Store, number: int) -> Revision:
    """Rebase and promote, as often as somebody else comes in between the two."""
    while True:
        number = store.rebase(number).number
        try:
            return store.promote(number)
        except ConflictError:
            continue


def test_threads_never_lose_or_mix_edits(store: Store, url: str) -> None:
    commit(store, person("shared", "0"))
    done: list[int] = []

    def work(name: str, opened: Store) -> None:
        for number in range(8):
            opened.propose([person(f"{name}-{number}")], base=0, author=name)
            while True:
                base = opened.head().number
                count = int(opened.document(base).get(Person, "shared").name.split()[0])
                try:
                    proposed = opened.propose([person("shared", f"{count + 1} {name}")], base=base, author=name)
                    take(opened, proposed.number)
                except ConflictError:
                    continue
                done.append(count)
                break

    with Store(url) as second:
        threads = [threading.Thread(target=work, args=(f"t{n}", store if n % 2 else second)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(done) == list(range(32))  # each value was read by exactly one that won
    assert store.document().get(Person, "shared").name.split()[0] == "32"
    proposals = store.open_proposals()
    assert len(proposals) == 32
    for proposal in proposals:
        store.promote(store.rebase(proposal.number).number)
    assert len(store.document()) == 33


def test_the_tables_are_what_the_migrations_make(store: Store) -> None:
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == TABLES_VERSION


def test_tables_of_a_newer_release_are_refused(store: Store, url: str) -> None:
    with store._database.write() as connection:
        connection.execute(text("UPDATE document_schema SET version_num = '9999'"))
    with pytest.raises(CorruptError) as caught:
        Database(url, version_table=VERSION_TABLE, version=TABLES_VERSION, scripts=SCRIPTS)
    assert caught.value.error_id == "too_new"


def test_many_open_a_new_store_at_once(url: str) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with Store(url) as opened:
                opened.propose([person(f"p{next(COUNTER)}")], base=0, author="x")
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(url) as opened:
        assert len(opened.open_proposals()) == 6


def test_an_unreadable_object_is_named(store: Store, url: str) -> None:
    commit(store, *everything())
    with store._database.write() as connection:
        connection.execute(
            text("UPDATE object_version SET body = :body WHERE id = 'boss'"), {"body": '{"id":"boss","name":7}'}
        )
    with Store(url) as fresh:
        with pytest.raises(CorruptError, match="stored person/boss/name"):
            fresh.document()
        with pytest.raises(CorruptError, match="stored person/boss/name"):
            fresh.check()


def test_a_lost_key_is_not_replaced_while_secrets_need_it(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secret.key"
    keyring = store.keyring(path)
    commit(store, Secret(id="desk", value=keyring.seal("desk", "hunter2")))
    assert store.keyring(path).reveal(store.document()) == {"desk": "hunter2"}
    path.unlink()
    with pytest.raises(CorruptError, match="missing") as caught:
        store.keyring(path)
    assert caught.value.error_id == "bad_key"
    assert not path.exists()


def shout(document: Plain) -> Plain:
    people = {id: fields | {"name": fields["name"].upper()} for id, fields in document.get("person", {}).items()}
    return {kind: objects for kind, objects in document.items() if kind != "role"} | (
        {"person": people} if people else {}
    )


def test_a_store_of_an_older_format_is_brought_up_to_date(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(url) as old:
        commit(old, *everything())
        commit(old, person("p2", "Luigi"))
        old.propose([person("p3")], base=2, author="ann")
        old.stage("bob", [person("p4", "Carla")], [("person", "p2")])
    monkeypatch.setattr(formats, "STEPS", [shout])
    with Store(url) as store:
        head = store.head()
        assert (head.number, head.parent, head.format, head.author) == (4, 2, 2, "centralino")
        assert store.revision(3).state is State.FAILED
        names = {item.name for item in store.document().all(Person).values()}
        assert "LUIGI" in names
        assert all(name == name.upper() for name in names)
        assert "role" not in {change.kind for change in store.changes_since(4)}
        assert not store.document().objects.get("role")
        # older revisions are read as if they were of the newest format, alone and compared
        assert store.document(2).get(Person, "p2").name == "LUIGI"
        assert [change.path for change in store.diff(1, 2)] == ["person/p2"]
        assert store.diff(2, 4) == ()
        for from_nothing in (store.diff(0, 2), store.diff(2, 0)):
            assert {"person/p2"} < {change.path for change in from_nothing}
            assert "role" not in {change.kind for change in from_nothing}
        first = store.change_set(1).put
        assert {item.name for item in first if isinstance(item, Person)} == {name for name in names if "MARIA" in name}
        staged = store.candidate("bob")
        assert (staged.put, staged.remove) == ((person("p4", "CARLA"),), (("person", "p2"),))
        commit(store, person("p5"))
        restored = store.promote(store.propose_restore(1, author="ann").number)
        assert restored.format == 2
        assert export_document(store.document()) == export_document(store.document(1))
    with Store(url) as again:
        assert again.head().number == restored.number
    monkeypatch.setattr(formats, "STEPS", [])
    with pytest.raises(CorruptError) as caught:
        Store(url)
    assert caught.value.error_id == "too_new"


def test_companies_are_kept_apart_from_people_of_the_same_id(store: Store) -> None:
    commit(store, person("x"), Company(id="x", name="X"))
    commit(store, remove=(("company", "x"),))
    assert by_key(store.document()) == {("person", "x"): person("x")}


edits = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.none() | st.sampled_from(["Ada", "Bea", "Cleo"]), min_size=1, max_size=3
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(edits, min_size=1, max_size=8), data=st.data())
def test_whatever_is_committed_every_revision_and_difference_is_right(
    steps: list[dict[str, str | None]], data: st.DataObject
) -> None:
    """Against documents kept in memory."""
    with tempfile.TemporaryDirectory() as directory, Store(f"sqlite:///{directory}/document.db") as store:
        expected = {0: Document()}
        for step in steps:
            put = [person(id, name) for id, name in step.items() if name is not None]
            remove = [("person", id) for id, name in step.items() if name is None]
            head = store.head().number
            wanted = expected[head].with_changes(put, remove)
            if by_key(wanted) == by_key(expected[head]):
                with pytest.raises(RefusedError):
                    store.propose(put, remove, base=head, author="x")
                continue
            store.promote(store.propose(put, remove, base=head, author="x").number)
            expected[store.head().number] = wanted
            assert by_key(store.document()) == by_key(wanted)
        a, b = data.draw(st.sampled_from(list(expected))), data.draw(st.sampled_from(list(expected)))
        assert by_key(store.document(a)) == by_key(expected[a])
        assert {one.path: (one.before, one.after) for one in store.diff(a, b)} == {
            one.path: (one.before, one.after) for one in changes(expected[a], expected[b])
        }
