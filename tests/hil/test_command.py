"""The ``centralino`` command against the running product: every verb, for people and for programs."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from appliance.kinds import KINDS
from tests.hil.agents.process import eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.command import PROGRAM, As, Command
from tests.hil.office import MAIN, Office, open_office, talk


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with open_office(tmp_path_factory.mktemp("command")) as office:
        office.system.start_history()
        yield office


@pytest.fixture(scope="module")
def command(office: Office) -> Iterator[Command]:
    with Command(office.system.host, office.system.environment, office.work) as command:
        yield command


@pytest.fixture
def run(command: Command) -> Iterator[As]:
    yield As(command)
    As(command)("discard")


def label(office: Office, id: str) -> str:
    """A label as the newest committed revision has it."""
    with office.system.store() as store:
        found = store.document().objects["extension"][id].model_dump()["label"]
    return str(found)


def head(office: Office) -> int:
    with office.system.store() as store:
        return store.head().number


# --- reading ---


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_listed_and_shown(office: Office, run: As, kind: str) -> None:
    rows = run.json(kind, "list")
    with office.system.store() as store:
        objects = store.document().objects.get(kind, {})
    assert [row["id"] for row in rows] == sorted(objects)
    said = run(kind, "list")
    if not rows:
        assert f"centralino {kind} add ID" in said
        return
    assert rows[0]["id"] in said
    shown = run.json(kind, "show", rows[0]["id"])
    assert shown == rows[0]
    assert run(kind, "show", rows[0]["id"]).startswith(f"{kind}/{rows[0]['id']}")


def test_secrets_are_never_shown(office: Office, run: As) -> None:
    said = run("secret", "list") + run("secret", "show", "201-1") + run("secret", "list", "--json") + run("export")
    assert "201-1" in said
    assert "sealed:" not in said
    assert office.password("201-1") not in said
    assert run.json("secret", "show", "201-1") == {"id": "201-1", "value": "••••••"}
    assert "sealed:v1:" in run("export", "--with-secrets")


def test_status_counts_phones_and_calls(office: Office, run: As) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    call = one.call("203").ringing()
    two.incoming().answer()
    call.established()
    status = run.json("status")
    assert set(status) == {
        "services", "configuration", "applied", "devices", "registrations", "lines", "calls", "faults"
    }  # fmt: skip
    assert status["applied"] == {
        "revision": head(office), "verified": True, "applying": None, "confirm": None, "scheduled": [], "last_error": None,
        "names": [],
    }  # fmt: skip
    assert status["faults"] == []
    assert status["configuration"] == {
        "revision": head(office),
        "state": "committed",
        "message": status["configuration"]["message"],
    }
    assert {"201-1", "203-1"} <= {item["device"] for item in status["registrations"]}
    assert [(item["caller"], item["called"]) for item in status["calls"]] == [("201", "203")]
    said = run("status")
    assert f"Configuration: revision {head(office)}, committed" in said
    assert "201 → 203" in said
    call.hangup()
    office.quiet()


def test_an_account_is_shown_again(office: Office, run: As) -> None:
    password = office.password("201-1")
    uri = f"sip:201-1:{password}@{office.address}:5060;transport=udp"
    assert run.json("account", "201-1") == {"user": "201-1", "password": password, "uri": uri}
    said = run("account", "201-1")
    assert said.startswith(f"User 201-1, password {password}\n{uri}\n")
    assert "▀" in said
    assert "no device 'nobody'" in run.refused("account", "nobody")


def test_verify_and_doctor_find_nothing(run: As) -> None:
    assert {item["error_id"] for item in run.json("verify")} == {"no_emergency_way_out"}  # the office has no trunk
    assert run("verify") == ""
    checks = {item["check"]: item["grade"] for item in run.json("doctor")}
    assert set(checks) == {
        "store",
        "host",
        "engine root",
        "applier",
        "engine",
        "dns",
        "clock",
        "disk",
        "keys",
        "ports",
        "history",
        "notifications",
    }
    assert {check for check, grade in checks.items() if grade == "fault"} == set()
    assert re.search(r"^ok +engine: runs as process \d+, its log is clean$", run("doctor"), re.MULTILINE)


def test_warnings_are_told_and_hold_nothing_up(run: As) -> None:
    run("device", "set", "206-1", "nomadic=true")
    done = run.run("verify")
    assert done.code == 0
    assert re.search("^warning device/206-1/nomadic: ", done.stderr, re.MULTILINE)
    assert {item["severity"] for item in run.json("verify")} == {"warning"}


def test_help_names_every_verb_and_kind() -> None:
    done = subprocess.run([PROGRAM, "--help"], capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "COLUMNS": "120", "LC_ALL": "C.UTF-8"})  # fmt: skip
    for word in ("plan", "commit", "confirm", "rollback", "discard", "history", "diff", "verify", "export", "import",
                 "run", "stop", "status", "doctor", "calls", *KINDS):  # fmt: skip
        assert re.search(rf"^│ {word} ", done.stdout, re.MULTILINE), word


# --- editing and committing ---


def test_an_extension_is_added_changed_and_removed(office: Office, run: As) -> None:
    assert "Staged" in run("extension", "add", "ext-210", "number=210", "site=hq", "label=Canteen; [x] => ${y}")
    assert run.json("extension", "show", "ext-210")["label"] == "Canteen; [x] => ${y}"
    assert run.json("extension", "set", "ext-210", "label=Canteen", "ring_seconds=20")["staged"] == [
        "extension/ext-210"
    ]
    assert {item["path"] for item in run.json("diff")} >= {"extension/ext-210/label", "extension/ext-210/ring_seconds"}
    assert "extension/ext-210/label" in run("diff")
    before = head(office)
    answer = run.json("commit", "-m", "Open a canteen")
    assert (answer["revision"], answer["state"]) == (before + 1, "committed")
    assert label(office, "ext-210") == "Canteen"
    newest = run.json("history", "--limit", "1")[0]
    assert (newest["number"], newest["author"], newest["message"]) == (before + 1, "tester", "Open a canteen")
    assert "Open a canteen" in run("history")
    run("extension", "set", "ext-210", "ring_seconds=")
    assert run.json("diff") == [{"path": "extension/ext-210/ring_seconds", "before": "20", "after": "60"}]
    assert run.json("extension", "remove", "ext-210")["removed"] == ["extension/ext-210"]
    assert f"Revision {before + 2}: committed." in run("commit")
    assert "there is no extension 'ext-210'" in run.refused("extension", "show", "ext-210")
    assert "nothing would change" in run.refused("rollback", str(before))
    assert f"Revision {before + 3}: committed." in run("rollback", str(before + 1), "-m", "It is back")
    assert run.json("diff", str(before + 1), str(before + 3)) == []
    assert "No difference." in run("diff", str(before + 1))
    assert run.json("diff", str(before), str(before + 1))[0]["path"].startswith("extension/ext-210")
    assert run.json("rollback", str(before))["revision"] == before + 4
    assert "It is back" in run("history")


def test_a_device_gets_a_password_once_and_registers_with_it(office: Office, run: As) -> None:
    account = run.json("device", "add", "206-2", "extension=ext-206", "slot=2")["account"]
    assert account["user"] == "206-2"
    assert account["password"] not in run("diff") + run("device", "show", "206-2") + run("export")
    run("commit")
    with SoftPhone(
        office.desk, office.work / "new", "206-2", account["password"], office.address, tone_hz=900
    ) as phone:
        phone.register()
    said = run("device", "add", "206-3", "extension=ext-206", "slot=3")
    assert re.search(r"user 206-3, password [\w-]{20,} \(shown once\)", said)
    run("discard")
    assert run.json("device", "remove", "206-2")["removed"] == ["device/206-2", "secret/206-2"]
    run("commit")
    assert "206-2" not in run("secret", "list")


def test_a_secret_comes_from_standard_input_or_a_prompt_but_never_from_the_command_line(
    office: Office, run: As
) -> None:
    said = run.refused("secret", "set", "204-1", "value=very-secret")
    assert "very-secret" not in said
    assert "read from standard input" in said
    assert "is empty" in run.refused("secret", "set", "204-1", typed="\n")
    assert "there is no secret 'nobody'" in run.refused("secret", "set", "nobody", typed="x\n")
    assert "exists already" in run.refused("secret", "add", "204-1", typed="x\n")
    run("secret", "set", "204-1", typed="from-a-pipe-1\n")
    run("commit")
    with SoftPhone(office.desk, office.work / "pipe", "204-1", "from-a-pipe-1", office.address, tone_hz=900) as phone:
        phone.register()
    assert "typed-unseen-2" not in prompted(run, ["secret", "set", "204-1"], ["typed-unseen-2", "typed-unseen-2"])
    assert run.json("diff") == [{"path": "secret/204-1/value", "before": "(secret)", "after": "(changed)"}]
    run("commit")
    with SoftPhone(
        office.desk, office.work / "prompt", "204-1", "typed-unseen-2", office.address, tone_hz=900
    ) as phone:
        phone.register()


def prompted(run: As, words: list[str], answers: list[str]) -> str:
    """Run it on a terminal of its own and type an answer at each prompt: everything that the terminal showed."""
    master, slave = pty.openpty()
    environment = {**run.command.environment, "CENTRALINO_AUTHOR": run.author, "LC_ALL": "C.UTF-8"}
    process = subprocess.Popen(
        run.command.host.argv([PROGRAM, *words]), env=environment, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    shown = b""
    try:
        while process.poll() is None:
            if not select.select([master], [], [], 60)[0]:
                break
            try:
                shown += os.read(master, 4096)
            except OSError:
                break
            if answers and shown.endswith(b": "):
                os.write(master, answers.pop(0).encode() + b"\n")
                shown += b"\n"
        assert process.wait(60) == 0, shown
    finally:
        process.kill()
        process.wait()
        os.close(master)
    return shown.decode()


def test_a_stale_edit_is_refused_naming_the_fields(office: Office, run: As) -> None:
    other = replace(run, author="other")
    run("extension", "set", "ext-203", "label=Mine", "ring_seconds=33")
    run("extension", "set", "ext-204", "label=Mine too")
    other("extension", "set", "ext-203", "label=Theirs")
    other("commit")
    before = head(office)
    said = run.refused("commit")
    assert "extension/ext-203/label" in said
    assert "ext-204" not in said
    assert "extension/ext-203/label" in run.refused("plan")
    assert head(office) == before
    assert label(office, "ext-203") == "Theirs"


def test_edits_of_different_objects_merge(office: Office, run: As) -> None:
    other = replace(run, author="other")
    run("extension", "set", "ext-205", "label=Five")
    other("extension", "set", "ext-206", "label=Six")
    other("commit")
    run("commit")
    assert (label(office, "ext-205"), label(office, "ext-206")) == ("Five", "Six")


def test_a_plan_shows_everything_and_leaves_nothing(office: Office, run: As) -> None:
    before = run.json("history")
    assert run.json("plan") == {"changes": [], "steps": []}
    assert run("plan") == "Nothing is staged.\n"
    run("extension", "set", "ext-203", "label=Only planned")
    found = run.json("plan")
    assert found["changes"] == [{"path": "extension/ext-203", "action": "changed"}]
    assert found["effect"] == "live"
    assert {step["step"] for step in found["steps"]} == {"write_file", "read_back"}
    assert "extension/ext-203" in run("plan")
    run("listener", "set", "udp", "port=5070")
    assert run.json("plan")["effect"] == "drops_connections"
    assert "commit --allow-drops" in run("plan")
    assert run.json("history") == before
    with office.system.store() as store:
        assert store.open_proposals() == []


def test_steps_that_drop_connections_must_be_asked_for(office: Office, run: As) -> None:
    before = head(office)
    run("listener", "add", "extra", "name=Extra", "transport=tcp", f"address={office.address}", "port=5075")
    run("commit")
    run("listener", "set", "extra", "port=5076")
    assert "--allow-drops" in run.refused("commit")
    assert head(office) == before + 1
    assert run.json("commit", "--allow-drops")["effect"] == "drops_connections"


def test_a_commit_waits_to_be_confirmed_or_is_undone(office: Office, run: As) -> None:
    assert "no revision waits" in run.refused("confirm")
    run("extension", "set", "ext-203", "label=Confirmed")
    assert "Say “centralino confirm” within" in run("commit", "--confirm", "2m")
    assert "confirmed" in run("confirm")
    run("extension", "set", "ext-203", "label=Unconfirmed")
    answer = run.json("commit", "--confirm", "1s")
    assert 0 < answer["confirm_left_s"] <= 1
    eventually(lambda: label(office, "ext-203") == "Confirmed", "the commit is undone", 20)
    assert "was not confirmed in time" in run("history", "--limit", "1")


def test_a_commit_is_done_at_its_time(office: Office, run: As) -> None:
    run("extension", "set", "ext-203", "label=Later")
    at = (datetime.now() + timedelta(seconds=3)).isoformat()
    assert "It will be applied at" in run("commit", "--at", at)
    eventually(lambda: label(office, "ext-203") == "Later", "the scheduled commit is done", 30)


def test_an_export_comes_back_unchanged(office: Office, run: As, tmp_path: Path) -> None:
    file = tmp_path / "office.yaml"
    assert str(file) in run("export", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert run("export") == text
    assert "0 put, 0 removed" in run("import", str(file))
    file.write_text(text.replace("label: Desk 202", "label: Imported"))
    assert "1 put, 0 removed" in run("import", str(file))
    assert run.json("diff") == [{"path": "extension/ext-202/label", "before": '"Desk 202"', "after": '"Imported"'}]
    file.write_text(text.replace('number: "202"', "number: two"))
    said = run.refused("import", str(file))
    assert "extension/ext-202/number" in said
    assert "line " in said


# --- what goes wrong ---


def test_errors_are_one_line_with_a_hint_and_a_traceback_only_on_demand(run: As, tmp_path: Path) -> None:
    assert (
        run.refused("extension", "show", "nobody")
        == "there is no extension 'nobody' (centralino extension list shows those there are)"
    )
    assert "use a-z, 0-9 and hyphens" in run.refused("extension", "add", "Not An Id", "number=1")
    assert "exists already" in run.refused("extension", "add", "ext-201", "number=201", "site=hq")
    assert run.refused("extension", "set", "ext-201", "number").startswith("number: is not FIELD=VALUE")
    assert run.refused("extension", "set", "ext-201", "number=x").startswith("extension/ext-201/number: ")
    assert "never changes" in run.refused("extension", "set", "ext-201", "id=other")
    assert "has no such part" in run.refused("extension", "set", "ext-201", "label.text=x")
    assert "nothing would change" in run.refused("commit")
    assert "is not a duration" in run.refused("commit", "--confirm", "soon")
    assert "is not a time" in run.refused("commit", "--at", "soon")
    assert "name a readable file" in run.refused("import", str(tmp_path / "none.yaml"))
    assert "revision 4000" in run.refused("rollback", "4000")
    assert "no call 4000" in run.refused("calls", "show", "4000")
    assert "is not running here" in run.refused("stop", CENTRALINO_STATE=str(tmp_path))
    done = run.run("--debug", "extension", "show", "nobody")
    assert done.code == 1
    assert "Traceback" in done.stderr
    assert "NotFoundError" in done.stderr
    assert run.run("extension", "frobnicate").code == 2


def test_faults_of_the_document_are_told_all_at_once_and_nothing_is_applied(office: Office, run: As) -> None:
    before = head(office)
    run("extension", "set", "ext-203", "number=204")
    run("extension", "set", "ext-205", "number=999")
    done = run.run("commit")
    assert done.code == 1
    lines = done.stderr.splitlines()
    assert any("extension/ext-205/number" in line for line in lines), lines
    assert any("204" in line and "extension/ext-20" in line for line in lines), lines
    assert all(line.startswith(("error ", "warning ")) for line in lines)
    assert head(office) == before
    faults = run.run("verify", "--json")
    assert faults.code == 1
    assert "extension/ext-205/number" in faults.stdout
    assert faults.stdout.count('"severity": "error"') == len(lines)
    run("discard")
    run("extension", "set", "ext-205", "site=nowhere")
    assert "extension/ext-205/site" in run.refused("commit")


def test_without_an_applier_reading_works_and_changes_say_why_not(office: Office, run: As) -> None:
    run("extension", "set", "ext-203", "label=Nobody applies this")
    office.system.applier.stop()
    try:
        assert "the applier can't be reached" in run.refused("plan")
        assert "the applier can't be reached" in run.refused("commit")
        assert "ext-203" in run("extension", "list")
        with office.system.store() as store:
            assert store.open_proposals() == []
    finally:
        office.system.start_applier()
    run("commit")


# --- calls ---


def test_calls_are_found_by_time_number_direction_and_outcome(office: Office, run: As) -> None:
    one, two = office.phone("201-1"), office.phone("203-1")
    talk(one, two, one.call("203"))
    office.quiet()
    one.call("203").ringing().hangup()
    office.quiet()

    def both() -> list[dict[str, object]]:
        found: list[dict[str, object]] = run.json("calls", "--number", "203", "--limit", "2")["calls"]
        return found if [call["outcome"] for call in found] == ["cancelled", "answered"] else []

    missed, answered = eventually(both, "both calls are in the history", 20)
    assert (answered["from_extension"], answered["dialled"], answered["reached_device"]) == ("201", "203", "203-1")
    page = run.json("calls", "--number", "203", "--limit", "1")
    assert [call["id"] for call in page["calls"]] == [missed["id"]]
    following = run.json("calls", "--number", "203", "--limit", "1", "--after", page["next"])
    assert [call["id"] for call in following["calls"]] == [answered["id"]]
    ids = lambda *words: {call["id"] for call in run.json("calls", *words)["calls"]}  # noqa: E731
    assert {missed["id"], answered["id"]} <= ids("--since", "today", "--direction", "internal")
    assert ids("--outcome", "cancelled") & {missed["id"], answered["id"]} == {missed["id"]}
    assert ids("--direction", "inbound") == set()
    assert ids("--until", "2020-01-01") == set()
    assert ids("--since", "1h") == ids()
    assert ids("--number", MAIN) == ids("--number", "02 0000 0200") == set()
    said = run("calls", "--limit", "2")
    assert "201" in said
    assert "203 (203-1)" in said
    assert "--after" in run("calls", "--limit", "1")
    assert "No call found." in run("calls", "--number", "999")
    shown = run.json("calls", "show", str(answered["id"]))
    assert [leg["device"] for leg in shown["legs"]] == ["201-1", "203-1"]
    text = run("calls", "show", str(answered["id"]))
    assert "→ 201-1" in text
    assert "← 203-1" in text
    assert shown["legs"][0]["codec"] in text
    assert "is not a time" in run.refused("calls", "--since", "some day")
    assert "is not a number" in run.refused("calls", "--number", "reception")


# --- shell completion, language ---


def completed(run: As, line: str, **env: str) -> list[str]:
    """What bash would offer for a line: the protocol of the script that ``--install-completion`` installs."""
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    return run(_CENTRALINO_COMPLETE="complete_bash", **words, **env).split()


def test_the_shell_completes_verbs_and_ids(run: As) -> None:
    assert completed(run, "centralino extension show ext-30") == ["ext-301"]
    assert set(completed(run, "centralino extension remove ")) >= {"ext-201", "ext-202", "ext-301"}
    assert completed(run, "centralino device set 202-") == ["202-1", "202-2"]
    assert completed(run, "centralino secret set 202-1") == ["202-1"]
    assert "1" in completed(run, "centralino rollback ")
    assert "doctor" in completed(run, "centralino do")
    assert set(completed(run, "centralino extension ")) == {"list", "show", "add", "set", "remove", "fields"}
    assert "emergency" in completed(run, "centralino calls --direction ")
    assert completed(run, "centralino extension show ", CENTRALINO_STATE="/proc/nowhere") == []


def test_completion_is_for_bash_as_it_is(run: As, tmp_path: Path) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(run.process(_CENTRALINO_COMPLETE="source_bash").stdout)
    typed = 'COMP_WORDS=(centralino extension show ext-30); COMP_CWORD=3; _centralino_completion centralino; echo "${COMPREPLY[@]}"'
    environment = {
        **run.command.environment,
        "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}",
        "CENTRALINO_AUTHOR": "tester",
    }
    done = subprocess.run(run.command.host.argv(["bash", "-c", f". {script}; {typed}"]), env=environment, capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    assert done.stdout == "ext-301\n"
