"""``centralino access``, and what the doctor says of sign-in; on a store of its own, without an appliance running."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from appliance.access.access import Access
from appliance.access.signin import SignIn
from appliance.commands.doctor import sign_in
from appliance.commands.findings import Finding, Grade
from appliance.core.document import Document
from appliance.organisation.model import Person
from appliance.paths import Paths
from appliance.store import Store
from tests.hil.command import As, Command, Run
from tests.unit.access.ground import HOME, PASSWORD

ANN = Person(id="ann", name="Ann Example", email="ann@example.com")


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with Command(None, {}, tmp_path_factory.mktemp("command")) as made:
        yield made


@dataclass(frozen=True)
class Room:
    """A store, and the command over it. ``url``: of the database of sign-in; empty: the store's own file."""

    paths: Paths
    url: str
    command: Command

    def run(self, *words: str, **env: str) -> Run:
        """``centralino access``, to its end."""
        found = {"CENTRALINO_STATE": str(self.paths.state), "CENTRALINO_CACHE": str(self.paths.cache), **env}
        if self.url:
            found["CENTRALINO_ACCESS_URL"] = self.url
        return As(self.command).run("access", *words, **found)

    def told(self, *words: str, **env: str) -> Any:
        """What it says with ``--json``; it must succeed."""
        done = self.run(*words, "--json", **env)
        assert done.code == 0, done
        return json.loads(done.stdout)


@pytest.fixture(params=["sqlite", "postgresql"])
def room(request: pytest.FixtureRequest, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    paths, url = Paths(tmp_path / "state", tmp_path / "cache"), ""
    monkeypatch.delenv("CENTRALINO_ACCESS_URL", raising=False)
    if request.param == "postgresql":
        url = request.getfixturevalue("url")
        monkeypatch.setenv("CENTRALINO_ACCESS_URL", url)
    with Store.default(paths) as store:
        people = [ANN, Person(id="bob", name="Bob [Sample]")]
        store.promote(store.propose(people, base=0, author="tester", message="People").number)
    return Room(paths, url, command)


def findings(paths: Paths) -> list[Finding]:
    with Store.default(paths) as store:
        return list(sign_in(paths, store.document()))


def test_from_the_first_link_to_the_audit(room: Room) -> None:
    first = room.run("link", "ann")
    assert first.code == 0, first
    url = first.stdout.strip()
    assert url.startswith("https://localhost:8443/sign-in/link#")
    assert "Ann Example" in first.stderr
    link = room.told("link", "ann", "--hours", "2", CENTRALINO_PORTAL_URL="https://pbx.example.com/")
    assert link["url"].startswith("https://pbx.example.com/sign-in/link#")
    with Access.open(room.paths) as access:
        signin = SignIn(access, lambda: Document.of([ANN]), lambda _: False)
        outcome = signin.link(link["url"].partition("#")[2], PASSWORD, HOME, "Firefox")
        people = {row["person"]: row for row in room.told("list")}
        assert (people["ann"]["password"], people["ann"]["sessions"], people["bob"]["password"]) == (True, 1, False)
        sessions = room.told("sessions", "ann")
        assert [(row["id"], row["address"], row["stage"]) for row in sessions] == [(outcome.session.id, HOME, "full")]
        assert "csrf" not in sessions[0]
        assert room.told("end", outcome.session.id) == {"ended": 1}
        assert access.sessions.find(outcome.token) is None
        signin.password("ann", PASSWORD, HOME)
        assert room.told("end", "--all", "ann") == {"ended": 1}
        assert room.told("reset", "ann") == {"person": "ann", "keys": 0}
        assert not access.held("ann").password
    events = [(row["event"], row["author"], row["address"]) for row in room.told("audit", "--limit", "1000")]
    assert events[0] == ("reset", "tester", "console")
    assert events[-1] == ("link_made", "tester", "console")
    whole = room.told("audit", "--verify")
    assert whole["entries"] == len(events)
    assert url.partition("#")[2] not in room.run("audit").stdout
    for words in (["list"], ["sessions"], ["audit"], ["key", "list"]):  # for people, too
        assert room.run(*words).code == 0
    assert "Bob [Sample]" in room.run("list").stdout


def test_keys_of_programs(room: Room) -> None:
    made = room.run(
        "key", "add", "ann", "Wallboard", "--scope", "extension:view", "--scope", "trunk:view", "--days", "30"
    )
    assert made.code == 0, made
    text_of_key = made.stdout.strip()
    [listed] = room.told("key", "list")
    assert (listed["name"], listed["owner"], listed["scopes"]) == ("Wallboard", "ann", ["extension:view", "trunk:view"])
    assert text_of_key.split("_", 2)[2] not in json.dumps(listed)
    with Access.open(room.paths) as access:
        assert access.keys.find(text_of_key) is not None
        assert room.told("key", "revoke", listed["id"]) == {"revoked": listed["id"]}
        assert access.keys.find(text_of_key) is None
    assert "revoked" in room.run("key", "list").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["link", "carl"], "there is no person 'carl'"),
        (["link", "ann", "--hours", "1000"], "link/hours"),
        (["end"], "which session?"),
        (["end", "x", "--all", "ann"], "which session?"),
        (["end", "nothing"], "there is no session 'nothing'"),
        (["reset", "carl"], "there is no person 'carl'"),
        (["key", "add", "carl", "x", "--scope", "*:view"], "there is no person 'carl'"),
        (["key", "add", "ann", "x", "--scope", "all"], "key/scopes[0]"),
        (["key", "revoke", "nothing"], "there is no API key 'nothing'"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(room: Room, words: list[str], said: str) -> None:
    done = room.run(*words)
    assert (done.code, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "error" in json.loads(room.run(*words, "--json").stdout)


def test_a_wrong_portal_url_makes_no_link(room: Room) -> None:
    done = room.run("link", "ann", CENTRALINO_PORTAL_URL="http://pbx.example.com")
    assert done.code == 1
    assert "CENTRALINO_PORTAL_URL" in done.stderr
    assert room.told("audit") == []


def test_the_doctor_looks_at_credentials(room: Room) -> None:
    with_file = not room.url
    if with_file:
        assert findings(room.paths) == []  # nothing there yet
    room.told("link", "ann")
    room.told("link", "bob")
    with Access.open(room.paths) as access:
        access.signing.newest()
        assert [found.grade for found in findings(room.paths)] == [Grade.OK]
        room.paths.token_keys.chmod(0o640)
        [found] = findings(room.paths)
        assert (found.grade, found.mend) == (Grade.FAULT, f"chmod 600 {room.paths.token_keys}")
        room.paths.token_keys.chmod(0o600)
        if with_file:
            room.paths.access_db.chmod(0o644)
            assert [found.mend for found in findings(room.paths)] == [f"chmod 640 {room.paths.access_db}"]
            room.paths.access_db.chmod(0o640)
        with Store.default(room.paths) as store:
            store.promote(store.propose(remove=[("person", "bob")], base=1, author="tester").number)
        [found] = findings(room.paths)
        assert (found.grade, found.mend) == (Grade.WARNING, "centralino access forget")
        assert room.told("forget") == {"forgotten": ["bob"]}
        assert [found.grade for found in findings(room.paths)] == [Grade.OK]
        guard = "audit_no_update" if with_file else "audit_append_only ON audit"
        with access.database.write() as connection:
            connection.execute(text(f"DROP TRIGGER {guard}"))
            connection.execute(text("UPDATE audit SET person = 'bob' WHERE number = 1"))
    [found] = findings(room.paths)
    assert (found.grade, "entry 1 " in found.message) == (Grade.FAULT, True)
    done = room.run("audit", "--verify")
    assert done.code == 1
    assert "entry 1 " in done.stderr
