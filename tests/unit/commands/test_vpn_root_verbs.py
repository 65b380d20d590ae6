"""``centralino vpn root``: what the alarms about the root's key tell people to type ends them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from appliance.access.access import Access
from appliance.access.audit import Event
from appliance.cli import app
from appliance.core.errors import CentralinoError
from appliance.paths import Paths
from appliance.vpn.pki import Authority

Run = Callable[..., Result]
PASSPHRASE = "granite walnut saddle orbit\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CENTRALINO_STATE", str(tmp_path))
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.chdir(tmp_path)
    return lambda *words, **more: CliRunner().invoke(app, ["vpn", "root", *words], catch_exceptions=True, **more)


def error_id(result: Result) -> str:
    assert isinstance(result.exception, CentralinoError), result.output
    return result.exception.error_id


def test_the_alarm_is_over_when_what_it_says_was_typed_and_the_key_can_go_and_come(run: Run, tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    assert error_id(run("export", "root.pem", input=PASSPHRASE)) == "no_authority"
    authority = Authority(paths.vpn)
    authority.create()
    [alarm] = authority.faults()
    assert (alarm.error_id, alarm.severity) == ("root_not_exported", "warning")
    assert "centralino vpn root export FILE" in alarm.hint
    assert error_id(run("remove")) == "not_exported"
    assert run("export", "root.pem", input="short\n").exit_code != 0
    assert not (tmp_path / "root.pem").exists()
    assert run("export", "root.pem", input=PASSPHRASE).exit_code == 0
    assert (tmp_path / "root.pem").stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in (tmp_path / "root.pem").read_bytes()
    assert error_id(run("export", "root.pem", input=PASSPHRASE)) == "exists"
    assert run("verify", "root.pem", input="another passphrase\n").exit_code != 0
    assert authority.faults() == (alarm,)
    assert run("verify", "root.pem", input=PASSPHRASE).exit_code == 0
    assert authority.faults() == ()
    assert run("remove").exit_code == 0
    assert not authority.root.here
    assert error_id(run("renew")) == "no_root_key"
    assert "Intermediate 2 signs" in run("renew", "root.pem", input=PASSPHRASE).output
    assert not authority.root.here, "the copy was used, not kept"
    assert run("restore", "root.pem", input=PASSPHRASE).exit_code == 0
    assert authority.root.here
    with Access.open(paths) as opened:
        told = [each.detail for each in opened.audit.entries() if each.event == Event.ROOT_KEY]
    assert {"deed": "remove", "failed": "not_exported"} in told
    assert PASSPHRASE.strip() not in str(told)
