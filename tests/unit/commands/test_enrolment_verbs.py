"""``centralino vpn enrol``, ``bundle`` and so on, and ``centralino edge enrol``, as a person or a program runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from appliance.access.access import Access
from appliance.access.audit import Event
from appliance.cli import app
from appliance.commands.enrolment import write_secret
from appliance.core.document import parse
from appliance.core.errors import CentralinoError
from appliance.kinds import KINDS
from appliance.paths import Paths
from appliance.store import Store
from appliance.vpn.enrolment.codes import read_code
from appliance.vpn.enrolment.invitation import read_file
from appliance.vpn.pki import Authority

Run = Callable[..., Result]
ROWS: list[tuple[str, dict[str, Any]]] = [
    ("company", {"id": "demo", "name": "Demo Srl"}),
    ("site", {"id": "torino", "name": "Torino", "company": "demo", "networks": ["10.3.0.0/24"]}),
    ("site", {"id": "roma", "name": "Roma", "company": "demo", "networks": ["10.4.0.0/24"]}),
    ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": "vpn.example.com"}], "third_party": True}),
    ("branch", {"id": "torino", "site": "torino", "number": 1}),
    ("branch", {"id": "roma", "site": "roma", "number": 2, "router": "third_party"}),
]


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("state")
    paths = Paths(state, state)
    with Store.default(paths) as store:
        number = store.propose([parse(KINDS, *row) for row in ROWS], (), base=0, author="test", message="test").number
        store.promote(number)
    return state


@pytest.fixture
def run(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CENTRALINO_STATE", str(state))
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "edge"))
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.chdir(tmp_path)
    return lambda *words, **more: CliRunner().invoke(app, [*words], catch_exceptions=True, **more)


def error(result: Result) -> CentralinoError:
    assert isinstance(result.exception, CentralinoError), result.output
    return result.exception


def test_an_invitation_as_a_file_shows_no_secret_and_is_for_its_owner_alone(run: Run, tmp_path: Path) -> None:
    result = run("vpn", "enrol", "torino", "--file", "torino.json", "--for", "90m")
    assert result.exit_code == 0, result.output
    made = read_file((tmp_path / "torino.json").read_bytes())
    assert (tmp_path / "torino.json").stat().st_mode & 0o777 == 0o600
    assert made.secret.secret not in result.output
    assert "centralino edge enrol torino.json" in result.output
    assert error(run("vpn", "enrol", "torino", "--file", "torino.json")).error_id == "exists"
    assert "waits" in run("vpn", "invitations").output


def test_a_code_and_json_for_programs(run: Run) -> None:
    text = run("vpn", "enrol", "torino", "--code").output
    code = read_code(text.split("Code: ")[1].splitlines()[0])
    plain = json.loads(run("vpn", "enrol", "torino", "--json").output)
    assert plain["site"] == "torino"
    assert read_code(plain["code"]) != code
    assert read_file(plain["invitation"].encode()).secret == read_code(plain["code"]).secret
    (shown,) = json.loads(run("vpn", "invitations", "--json").output)
    assert (shown["site"], shown["standing"], shown["tries"]) == ("torino", "waiting", 0)
    assert "is over" in run("vpn", "withdraw", "torino").output
    assert "has no invitation" in run("vpn", "withdraw", "torino").output


@pytest.mark.parametrize(
    ("words", "error_id"),
    [
        (("enrol", "bari"), "no_branch"),
        (("enrol", "roma"), "third_party"),
        (("enrol", "torino", "--for", "soon"), "duration"),
        (("bundle", "torino"), "not_third_party"),
        (("enrol", "torino", "--file", "nowhere/x.json"), "storage"),
    ],
)
def test_what_can_not_be_is_told(run: Run, words: tuple[str, ...], error_id: str) -> None:
    assert error(run("vpn", *words)).error_id == error_id


def test_what_was_given_away_is_in_the_audit_without_any_secret(run: Run, state: Path) -> None:
    file = run("vpn", "enrol", "torino", "--for", "90m", "--replace", "--json").output
    run("vpn", "withdraw", "torino")
    run("vpn", "enrol", "bari")
    with Access.open(Paths(state, state)) as access:
        told = [(each.event, dict(each.detail)) for each in access.audit.entries()]
    assert (Event.BRANCH_INVITED, {"site": "torino", "hours": 1.5, "replace": True}) in told
    assert (Event.INVITATION_ENDED, {"site": "torino"}) in told
    assert {"site": "bari", "hours": 24.0, "replace": False, "failed": "no_branch"} in [more for _, more in told]
    assert json.loads(file)["code"] not in str(told)


def test_only_root_enrols(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert error(run("vpn", "enrol", "torino")).error_id == "not_root"
    assert error(run("edge", "enrol", "--code", "0" * 20, "--centre", "192.0.2.1")).error_id in {"not_root", "bad_code"}


def test_a_bundle_is_written_once_with_its_key(run: Run, state: Path, tmp_path: Path) -> None:
    result = run("vpn", "bundle", "roma")
    assert result.exit_code == 0, result.output
    assert "private key is in it" in result.output
    made = tmp_path / "roma.ovpn"
    assert made.stat().st_mode & 0o777 == 0o600
    assert b"BEGIN PRIVATE KEY" in made.read_bytes()
    assert error(run("vpn", "bundle", "roma")).error_id == "exists"
    again = json.loads(run("vpn", "bundle", "roma", "--file", "other.ovpn", "--replace", "--json").output)
    assert len(again["revoked"]) == 1
    assert len(Authority(Paths(state, state).vpn).living("roma")) == 1


def test_a_file_that_can_not_be_written_whole_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CentralinoError, match="No space left"):
        write_secret(tmp_path / "x", b"secret")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "error_id"),
    [
        ((), "usage"),
        (("x.json", "--code", "7"), "usage"),
        (("--code", "7K3M"), "usage"),
        (("--code", "7K3M", "--centre", "192.0.2.1"), "bad_code"),
        (("--code", "7K3M", "--centre", "a b"), "bad_centre"),
        (("missing.json",), "no_file"),
        (("-",), "bad_invitation"),
    ],
)
def test_at_the_edge_wrong_usage_is_told_at_once(run: Run, words: tuple[str, ...], error_id: str) -> None:
    assert error(run("edge", "enrol", *words, input="{}")).error_id == error_id
