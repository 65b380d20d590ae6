"""``centralino access``, and what the doctor says of sign-in; on a store of its own, without an appliance running."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from appliance.access import Access, SignIn
from appliance.commands.doctor import sign_in
from appliance.commands.findings import Finding, Grade
from appliance.core.document import Document
from appliance.organisation.model import Person
from appliance.paths import Paths
from appliance.store import Store
from tests.hil.command import PROGRAM
from tests.unit.access.ground import HOME, PASSWORD

ANN = Person(id="ann", name="Ann Example", email="ann@example.com")


@pytest.fixture(params=["sqlite", "postgresql"])
def paths(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    found = Paths(tmp_path / "state", tmp_path / "cache")
    monkeypatch.delenv("CENTRALINO_ACCESS_URL", raising=False)
    if request.param == "postgresql":
        monkeypatch.setenv("CENTRALINO_ACCESS_URL", request.getfixturevalue("url"))
    with Store.default(found) as store:
        people = [ANN, Person(id="bob", name="Bob [Sample]")]
        store.promote(store.propose(people, base=0, author="tester", message="People").number)
    return found


def run(paths: Paths, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "CENTRALINO_STATE": str(paths.state), "CENTRALINO_CACHE": str(paths.cache), "LC_ALL": "C.UTF-8",
        "CENTRALINO_AUTHOR": "tester", "COLUMNS": "200", **env,
    }  # fmt: skip
    argv = [PROGRAM, "access", *words]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)


def told(paths: Paths, *words: str, **env: str) -> Any:
    """What it says with ``--json``; it must succeed."""
    done = run(paths, *words, "--json", **env)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def findings(paths: Paths) -> list[Finding]:
    with Store.default(paths) as store:
        return list(sign_in(paths, store.document()))


def test_from_the_first_link_to_the_audit(paths: Paths) -> None:
    first = run(paths, "link", "ann")
    assert first.returncode == 0, first
    url = first.stdout.strip()
    assert url.startswith("https://localhost:8443/sign-in/link#")
    assert "Ann Example" in first.stderr
    link = told(paths, "link", "ann", "--hours", "2", CENTRALINO_PORTAL_URL="https://pbx.example.com/")
    assert link["url"].startswith("https://pbx.example.com/sign-in/link#")
    with Access.open(paths) as access:
        signin = SignIn(access, lambda: Document.of([ANN]), lambda _: False)
        outcome = signin.link(link["url"].partition("#")[2], PASSWORD, HOME, "Firefox")
        people = {row["person"]: row for row in told(paths, "list")}
        assert (people["ann"]["password"], people["ann"]["sessions"], people["bob"]["password"]) == (True, 1, False)
        sessions = told(paths, "sessions", "ann")
        assert [(row["id"], row["address"], row["stage"]) for row in sessions] == [(outcome.session.id, HOME, "full")]
        assert "csrf" not in sessions[0]
        assert told(paths, "end", outcome.session.id) == {"ended": 1}
        assert access.sessions.find(outcome.token) is None
        signin.password("ann", PASSWORD, HOME)
        assert told(paths, "end", "--all", "ann") == {"ended": 1}
        assert told(paths, "reset", "ann") == {"person": "ann", "keys": 0}
        assert not access.held("ann").password
    events = [(row["event"], row["author"], row["address"]) for row in told(paths, "audit", "--limit", "1000")]
    assert events[0] == ("reset", "tester", "console")
    assert events[-1] == ("link_made", "tester", "console")
    whole = told(paths, "audit", "--verify")
    assert whole["entries"] == len(events)
    assert url.partition("#")[2] not in run(paths, "audit").stdout
    for words in (["list"], ["sessions"], ["audit"], ["key", "list"]):  # for people, too
        assert run(paths, *words).returncode == 0
    assert "Bob [Sample]" in run(paths, "list").stdout


def test_keys_of_programs(paths: Paths) -> None:
    made = run(
        paths, "key", "add", "ann", "Wallboard", "--scope", "extension:view", "--scope", "trunk:view", "--days", "30"
    )
    assert made.returncode == 0, made
    text_of_key = made.stdout.strip()
    [listed] = told(paths, "key", "list")
    assert (listed["name"], listed["owner"], listed["scopes"]) == ("Wallboard", "ann", ["extension:view", "trunk:view"])
    assert text_of_key.split("_", 2)[2] not in json.dumps(listed)
    with Access.open(paths) as access:
        assert access.keys.find(text_of_key) is not None
        assert told(paths, "key", "revoke", listed["id"]) == {"revoked": listed["id"]}
        assert access.keys.find(text_of_key) is None
    assert "revoked" in run(paths, "key", "list").stdout


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
def test_what_can_not_be_done_is_told_in_one_line(paths: Paths, words: list[str], said: str) -> None:
    done = run(paths, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert "error" in json.loads(run(paths, *words, "--json").stdout)


def test_a_wrong_portal_url_makes_no_link(paths: Paths) -> None:
    done = run(paths, "link", "ann", CENTRALINO_PORTAL_URL="http://pbx.example.com")
    assert done.returncode == 1
    assert "CENTRALINO_PORTAL_URL" in done.stderr
    assert told(paths, "audit") == []


def test_the_doctor_looks_at_credentials(paths: Paths) -> None:
    with_file = "CENTRALINO_ACCESS_URL" not in os.environ
    if with_file:
        assert findings(paths) == []  # nothing there yet
    told(paths, "link", "ann")
    told(paths, "link", "bob")
    with Access.open(paths) as access:
        access.signing.newest()
        assert [found.grade for found in findings(paths)] == [Grade.OK]
        paths.token_keys.chmod(0o640)
        [found] = findings(paths)
        assert (found.grade, found.mend) == (Grade.FAULT, f"chmod 600 {paths.token_keys}")
        paths.token_keys.chmod(0o600)
        if with_file:
            paths.access_db.chmod(0o644)
            assert [found.mend for found in findings(paths)] == [f"chmod 640 {paths.access_db}"]
            paths.access_db.chmod(0o640)
        with Store.default(paths) as store:
            store.promote(store.propose(remove=[("person", "bob")], base=1, author="tester").number)
        [found] = findings(paths)
        assert (found.grade, found.mend) == (Grade.WARNING, "centralino access forget")
        assert told(paths, "forget") == {"forgotten": ["bob"]}
        assert [found.grade for found in findings(paths)] == [Grade.OK]
        guard = "audit_no_update" if with_file else "audit_append_only ON audit"
        with access.database.write() as connection:
            connection.execute(text(f"DROP TRIGGER {guard}"))
            connection.execute(text("UPDATE audit SET person = 'bob' WHERE number = 1"))
    [found] = findings(paths)
    assert (found.grade, "entry 1 " in found.message) == (Grade.FAULT, True)
    done = run(paths, "audit", "--verify")
    assert done.returncode == 1
    assert "entry 1 " in done.stderr
