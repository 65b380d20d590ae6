"""Verbs about the document as a whole: what is staged, scheduled, exported, and what is said when it can't be."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.applier.client import ApplierClient
from appliance.core.errors import UnavailableError
from appliance.organisation.model import Company, Secret
from appliance.paths import Paths
from appliance.store import Keyring, State, Store
from tests.unit.commands.conftest import Command

PASSPHRASE = "five words that nobody guesses"
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def stage(store: Store, name: str, id: str = "demo") -> None:
    store.stage("tester", [Company(id=id, name=name)])


# Scheduled


def test_what_is_scheduled_is_listed_and_can_be_cancelled(run: Command, demo: Store) -> None:
    stage(demo, "Later")
    number = run.json("commit", "--at", TOMORROW, "-m", "At night")["revision"]
    assert not demo.candidate("tester")
    [entry] = run.json("schedule", "list")
    assert (entry["revision"], entry["author"], entry["message"]) == (number, "tester", "At night")
    assert "At night" in run("schedule", "list")
    assert "isn't scheduled" in run.refused("schedule", "cancel", "99")
    assert run.json("schedule", "cancel", str(number)) == {"revision": number, "state": "cancelled"}
    assert run("schedule", "list") == "Nothing is scheduled.\n"
    assert demo.candidate("tester").put == (Company(id="demo", name="Later"),)


@pytest.mark.parametrize("time", ["2020-01-31T22:30", "2020-01-31T22:30+01:00"])
def test_a_time_in_the_past_is_refused_naming_the_option(run: Command, demo: Store, time: str) -> None:
    stage(demo, "Never")
    before = len(demo.history())
    assert "--at: is in the past" in run.refused("commit", "--at", time)
    assert "--at: is in the past" in run.refused("rollback", "1", "--at", time)
    assert len(demo.history()) == before
    assert demo.candidate("tester")


def test_a_window_longer_than_a_week_is_refused_naming_the_option(run: Command, demo: Store) -> None:
    stage(demo, "Never")
    for words in (("commit",), ("rollback", "1")):
        assert "--confirm: is longer than a week" in run.refused(*words, "--confirm", "200h")


def test_a_rollback_can_be_offline_confirmed_and_scheduled(run: Command, demo: Store) -> None:
    stage(demo, "Changed")
    run("commit", "--offline")
    said = run.refused("rollback", "1")
    assert "--offline" in said
    assert "commit" not in said
    answer = run.json("rollback", "1", "--offline", "--confirm", "10m")
    assert 0 < answer["confirm_left_s"] <= 600
    run("confirm")
    assert demo.document().get(Company, "demo").name == "Demo Srl"
    assert run.json("rollback", "2", "--at", TOMORROW)["state"] == "scheduled"


# Staged


def test_a_conflict_says_what_to_do_and_that_can_be_done(run: Command, demo: Store) -> None:
    stage(demo, "Mine")
    stage(demo, "Unrelated", "second")
    number = demo.propose([Company(id="demo", name="Theirs")], base=1, author="other").number
    ApplierClient(Paths.default().applier_socket).apply(number, offline=True)
    assert "centralino discard company demo" in run.refused("commit", "--offline")
    assert run.json("discard", "company", "demo") == {"discarded": ["company/demo"]}
    run("commit", "--offline")
    assert {each.name for each in demo.document().all(Company).values()} == {"Theirs", "Unrelated"}
    assert "nothing of company/demo is staged" in run.refused("discard", "company", "demo")


def test_a_proposal_that_the_applier_does_not_look_at_leaves_nothing(
    run: Command, demo: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object, **__: object) -> None:
        raise UnavailableError("too many connections to the applier", "try again", error_id="busy")

    stage(demo, "Busy")
    before = len(demo.history())
    monkeypatch.setattr(ApplierClient, "apply", busy)
    assert "too many connections" in run.refused("commit")
    assert len(demo.history()) == before


def test_an_import_replaces_what_was_staged_and_says_so(run: Command, demo: Store, tmp_path: Path) -> None:
    file = tmp_path / "demo.yaml"
    run("export", str(file))
    file.write_text(file.read_text().replace("Demo Srl", "Imported"))
    stage(demo, "Forgotten", "second")
    code, _, err = run.run("import", str(file))
    assert code == 0
    assert "company/second" in err
    assert demo.candidate("tester").put == (Company(id="demo", name="Imported"),)
    stage(demo, "Forgotten", "third")
    answer = run.json("import", str(file))
    assert (answer["staged"], answer["dropped"]) == (["company/demo"], ["company/demo", "company/third"])


# Files


def test_an_export_replaces_a_file_whole_and_for_its_owner_only(run: Command, demo: Store, tmp_path: Path) -> None:
    file = tmp_path / "there.yaml"
    file.write_text("open to everybody")
    file.chmod(0o644)
    before = file.stat().st_ino
    assert run.json("export", str(file), "--with-secrets") == {"file": str(file)}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.stat().st_ino != before, "it was written in place"
    assert "sealed:v1:" in file.read_text()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_an_export_is_utf8_whatever_the_locale(
    run: Command, demo: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(demo, "Società Così")
    run("commit", "--offline")
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "latin-1")
    monkeypatch.setattr("locale.getencoding", lambda: "latin-1", raising=False)
    file = tmp_path / "demo.yaml"
    run("export", str(file))
    assert "Società Così".encode() in file.read_bytes()


@pytest.mark.parametrize("place", ["nowhere/demo.yaml", "."])
def test_an_export_to_nowhere_says_so_in_one_line(run: Command, demo: Store, tmp_path: Path, place: str) -> None:
    said = run.refused("export", str(tmp_path / place))
    assert "can't be written" in said
    assert said.count("\n") == 1


def test_a_past_revision_is_exported(run: Command, demo: Store) -> None:
    first = run("export")
    stage(demo, "Changed")
    run("commit", "--offline")
    assert run("export") != first
    assert run("export", "--revision", "1") == first
    assert run.json("export", "--revision", "1") == {"document": first}
    assert "there is no revision 99" in run.refused("export", "--revision", "99")
    stage(demo, "Failed")
    run.refused("commit")  # there is no engine
    assert "never in force" in run.refused("export", "--revision", "3")


def test_under_a_passphrase_secrets_go_to_another_machine(
    run: Command, demo: Store, paths: Paths, tmp_path: Path
) -> None:
    file = tmp_path / "moved.yaml"
    assert "too short" in run.refused("export", str(file), "--with-passphrase", typed="short\n")
    run("export", str(file), "--with-passphrase", typed=f"{PASSPHRASE}\n")
    assert "passphrase:v1:" in file.read_text()
    paths.secret_key.unlink()  # another machine has another key
    keyring = Keyring.load_or_create(paths.secret_key)
    assert "can't be opened with this passphrase" in run.run("import", str(file), typed="another one of theirs\n")[2]
    run("import", str(file), typed=f"{PASSPHRASE}\n")
    put = {item.id: item for item in demo.candidate("tester").put if isinstance(item, Secret)}
    assert keyring.open("one", put["one"].value or "") == "clear text of one"
    assert "in one way only" in run.refused("export", "--with-passphrase", "--with-secrets")


# Keys


def test_a_rotated_key_seals_every_secret_anew_and_the_old_revision_stays_readable(
    run: Command, demo: Store, paths: Paths
) -> None:
    before = Keyring.load(paths.secret_key)
    old = demo.document()
    answer = run.json("key", "rotate")
    assert (answer["state"], answer["secrets"]) == ("committed", 2)
    keyring, head = Keyring.load(paths.secret_key), demo.document()
    assert keyring.fingerprint == answer["fingerprint"] != before.fingerprint
    for id in ("one", "two"):
        assert head.get(Secret, id).value != old.get(Secret, id).value
    assert keyring.reveal(head) == keyring.reveal(old) == before.reveal(old)
    assert "0 secrets" not in run("key", "rotate")


def test_a_lost_key_is_replaced_only_on_demand_and_secrets_can_be_set_again(
    run: Command, demo: Store, paths: Paths
) -> None:
    assert "there is a key" in run.refused("key", "new")
    paths.secret_key.unlink()
    assert "centralino key new" in run.refused("secret", "set", "one", typed="again\n")
    code, out, _ = run.run("verify", "--json")
    [told] = json.loads(out)
    assert (code, told["path"], told["severity"]) == (1, "secret/one/value", "error")
    assert run.json("key", "new")["lost"] == ["one", "two"]
    assert {(told["path"], told["severity"]) for told in run.json("verify")} == {
        ("secret/one/value", "warning"),
        ("secret/two/value", "warning"),
    }
    run("secret", "set", "one", typed="again\n")
    run("commit", "--offline")
    assert Keyring.load(paths.secret_key).open("one", demo.document().get(Secret, "one").value or "") == "again"
    before = paths.secret_key.read_bytes()
    assert "can't be opened" in run.refused("key", "rotate"), "the second secret is still lost"
    assert paths.secret_key.read_bytes() == before


def test_a_damaged_key_is_put_aside(run: Command, demo: Store, paths: Paths) -> None:
    paths.secret_key.write_text("garbage\n")
    run("key", "new")
    assert paths.secret_key.with_name(paths.secret_key.name + ".bad").read_text() == "garbage\n"


# For programs


def test_for_programs_an_error_is_one_document_too(run: Command, demo: Store) -> None:
    code, out, err = run.run("company", "show", "nobody", "--json")
    assert (code, err) == (1, "")
    error = json.loads(out)["error"]
    assert (error["id"], error["faults"]) == ("not_found", [])
    assert "centralino company list" in error["hint"]
    run("company", "set", "demo", "name=Nice")
    demo.stage("tester", remove=[("company", "demo")])
    demo.stage("tester", [Company(id="third", name="Third", caller_number="+390200000200")])
    run("site", "add", "s", "name=S", "company=nowhere")
    code, out, _ = run.run("commit", "--offline", "--json")
    faults = json.loads(out)["error"]["faults"]
    assert code == 1
    assert "site/s/company" in {fault["path"] for fault in faults}
    assert set(faults[0]) == {"path", "message", "hint", "error_id", "severity", "line"}
    assert demo.history(1)[0].state is State.FAILED


def test_for_programs_a_mistake_of_ours_is_one_document_too(
    run: Command, demo: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("mistake")

    monkeypatch.setattr(Store, "history", broken)
    code, out, err = run.run("history", "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["error"]["message"].startswith("KeyError")
