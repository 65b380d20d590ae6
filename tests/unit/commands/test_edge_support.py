"""``centralino edge bundle``, ``logs`` and ``events``: as whoever helps a branch calls them."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from appliance.cli import app
from appliance.commands import common, edge_support
from appliance.core.errors import CentralinoError
from appliance.edge import owner
from appliance.edge.journal import Event, Journal
from appliance.edge.paths import EdgePaths
from tests.unit.commands.test_doctor_edge import WELL, saying

AT = 1_803_902_400_000
KEY = "7c" * 32


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EdgePaths:
    """An edge that has run: its relay's key is in its log."""
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "edge"))
    monkeypatch.setenv("CENTRALINO_STATE", str(tmp_path / "none"))
    monkeypatch.setenv("CENTRALINO_LANGUAGE", "en")
    monkeypatch.setattr(common.out, "width", 200)
    made = EdgePaths.default()
    for place in (made.run, made.log, made.relay):
        place.mkdir(parents=True)
    made.top.chmod(0o700)
    (made.relay / "config.json").write_text(json.dumps({"key": KEY}))
    (made.log / "openvpn.log").write_text("".join(f"line {n}\n" for n in range(100)))
    (made.log / "relay.log").write_text(f"\x1b[2J it was {KEY}\n")
    return made


def said(*words: str) -> str:
    done = CliRunner().invoke(app, ["edge", *words])
    assert done.exit_code == 0, done.exception
    return done.stdout


def refused(*words: str) -> CentralinoError:
    error = CliRunner().invoke(app, ["edge", *words]).exception
    assert isinstance(error, CentralinoError), error
    return error


def names(file: Path) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(file.read_bytes()), mode="r:gz") as archive:
        return archive.getnames()


def test_the_bundle_is_written_whole_for_its_caller_and_over_nothing(paths: EdgePaths, tmp_path: Path) -> None:
    file = tmp_path / "torino.tar.gz"
    with saying(paths, WELL):
        text = said("bundle", str(file))
    assert f"Written: {file}" in text
    assert {"status.json", "logs/relay.log", "MANIFEST.txt"} <= set(names(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_bytes()
    error = refused("bundle", str(file))
    assert (error.error_id, file.read_bytes()) == ("exists", before)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert refused("bundle", str(link)).error_id == "exists"
    assert refused("bundle", str(tmp_path / "no" / "where")).error_id == "storage"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["edge", "link", file.name], "no draft is left"


def test_without_an_agent_there_is_one_all_the_same(paths: EdgePaths, tmp_path: Path) -> None:
    file = tmp_path / "torino.tar.gz"
    told = json.loads(said("bundle", str(file), "--json"))
    assert told == {"file": str(file), "bytes": file.stat().st_size}
    assert "status.json" not in names(file)


@pytest.mark.parametrize("found", [False, True])
def test_on_a_stick_that_knows_no_links(
    paths: EdgePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    file = tmp_path / "torino.tar.gz"

    def link(*_: Any, **__: Any) -> None:
        if found:
            file.write_text("somebody else's")
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    if found:
        assert refused("bundle", str(file)).error_id == "exists"
        assert file.read_text() == "somebody else's"
    else:
        said("bundle", str(file))
        assert "MANIFEST.txt" in names(file)
    assert len(list(tmp_path.iterdir())) == 2, "no draft is left"


def test_a_disk_without_room_leaves_nothing(paths: EdgePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = refused("bundle", str(tmp_path / "torino.tar.gz"))
    assert (error.error_id, "No space left" in error.message) == ("storage", True)
    assert [each.name for each in tmp_path.iterdir()] == ["edge"]


@pytest.fixture
def open_place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory whose way others may go, which pytest's own isn't."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_reads_as_the_edges_owner_and_writes_as_itself(
    paths: EdgePaths, open_place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = 45_070
    top = paths.top.rename(open_place / "edge")
    monkeypatch.setenv("CENTRALINO_EDGE", str(top))
    secret = open_place / "roots"
    secret.write_text("of root alone")
    secret.chmod(0o600)
    os.link(secret, top / "log" / "linked.log")
    for each in (top, *top.rglob("*")):
        if each.name != "linked.log":
            os.chown(each, user, user)
    file = tmp_path / "torino.tar.gz"
    said("bundle", str(file))
    assert (file.stat().st_uid, os.geteuid(), os.getegid()) == (0, 0, 0)
    with tarfile.open(file) as archive:
        manifest = archive.extractfile("MANIFEST.txt")
        assert manifest is not None
        assert "\nlogs/linked.log: Permission denied, " in manifest.read().decode()
        assert {"logs/relay.log", "network/nftables.txt"} <= set(archive.getnames())
        assert "logs/linked.log" not in archive.getnames()
    assert said("logs", "openvpn", "--lines", "1") == "line 99\n"


def test_logs_end_without_keys_or_orders_to_the_terminal(paths: EdgePaths) -> None:
    assert said("logs", "openvpn", "--lines", "2") == "line 98\nline 99\n"
    assert said("logs", "relay") == "?[2J it was [removed]\n"
    assert said("logs", "--lines", "1") == "openvpn\nline 99\nrelay\n?[2J it was [removed]\n"
    error = refused("logs", "agent")
    assert (error.error_id, error.hint) == ("no_log", "there are: openvpn, relay")
    assert refused("logs", "--follow").error_id == "usage"
    for each in paths.log.iterdir():
        each.unlink()
    assert said("logs").startswith("There are no logs yet")


def test_logs_are_followed_until_somebody_has_enough(paths: EdgePaths) -> None:
    # Who runs the tests in the background has them ignore Ctrl-C, and so would this.
    main = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from appliance.cli import main; main()"
    command = [sys.executable, "-c", main, "edge", "logs", "relay", "--follow"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        patience = threading.Timer(30, process.kill)
        patience.start()
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "?[2J it was [removed]\n"
            with (paths.log / "relay.log").open("a") as log:
                log.write("path 1 is up\n")
            assert process.stdout.readline() == "path 1 is up\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            patience.cancel()
            process.kill()


def test_events_the_newest_first_in_words(paths: EdgePaths) -> None:
    assert "Nothing has happened yet" in said("events")
    assert not paths.journal.exists(), "who looks makes nothing"
    journal = Journal(paths.journal)
    journal.add(Event("line_down", AT, about={"line": 2}))
    journal.add(Event("fault", AT + 1000, sure=False, about={"text": f"the key {KEY} is bad"}))
    journal.delivered(1)
    text = said("events")
    assert text.index("the key [removed] is bad") < text.index("line 2 is down")
    assert " *" in text
    assert "clock wasn't sure" in text
    found = json.loads(said("events", "--json"))["events"]
    assert found[1] == {"number": 1, "at": AT, "sure": True, "what": "line_down", "about": {"line": 2}, "text": "line 2 is down"}  # fmt: skip
    assert found[0]["about"] == {"text": "the key [removed] is bad"}
    for number in range(edge_support.SHOWN):
        journal.add(Event("line_up", AT + 2000, about={"line": number % 9}))
    assert "2 older ones: --json" in said("events")
    paths.journal.write_bytes(b"garbage" * 1000)
    assert refused("events").error_id == "journal_damaged"


def test_it_is_for_root_and_the_edge_itself_where_there_is_one(
    paths: EdgePaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = (["events"], ["logs"], ["bundle", str(tmp_path / "x")])
    monkeypatch.setattr(owner, "owner", lambda _paths: (4242, 4242))
    monkeypatch.setattr(os, "geteuid", lambda: 4343)
    assert [refused(*each).error_id for each in commands] == ["not_root"] * 3
    monkeypatch.setenv("CENTRALINO_EDGE", str(tmp_path / "other"))
    assert [refused(*each).error_id for each in commands] == ["no_edge"] * 3
    assert not (tmp_path / "other").exists()
