"""How web processes are confined: what they see, what is theirs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from appliance.engine.plan import hub_secret
from appliance.engine.unix import listening
from appliance.paths import CHECKOUT, Paths
from appliance.run import web


def made(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "state", tmp_path / "cache")
    web.prepare(paths)
    return paths


def bound(argv: list[str]) -> dict[str, str]:
    """Place → how it is shown."""
    return {argv[at + 2]: word for at, word in enumerate(argv) if word in ("--bind", "--ro-bind", "--ro-bind-try")}


def test_they_write_their_own_places_and_see_no_key(tmp_path: Path) -> None:
    paths = made(tmp_path)
    argv = web.confined(paths, ["program", "option"], writable=(paths.store, paths.console), readable=(paths.run,))
    shown = bound(argv)
    writable = {place for place, how in shown.items() if how == "--bind"}
    assert writable == {str(paths.store), str(paths.console)}
    assert shown[str(CHECKOUT)] == "--ro-bind-try"
    assert shown[str(paths.run)] == "--ro-bind"
    assert argv[argv.index(str(paths.state)) - 1] in ("--dir", "--tmpfs"), "the rest of the state isn't there"
    assert str(paths.secret_key.parent) not in shown
    assert argv[-3:] == ["--", "program", "option"]
    assert ("setpriv" in argv) is (os.geteuid() == 0)


def test_they_see_only_the_secrets_that_they_are_handed(tmp_path: Path) -> None:
    paths = made(tmp_path)
    (paths.handed_to("other")).mkdir()
    argv = web.confined(paths, ["program"], readable=(paths.handed_to("console"),))
    shown = bound(argv)
    assert argv[argv.index(str(paths.handed)) - 3 : argv.index(str(paths.handed))] == ["--perms", "0755", "--dir"]
    assert shown[str(paths.handed_to("console"))] == "--ro-bind"
    assert not {str(paths.handed), str(paths.handed_to("other"))} & shown.keys()


def test_a_link_among_their_files_gives_nothing_away(tmp_path: Path) -> None:
    paths = made(tmp_path)
    theirs, other, hard = paths.console / "tokens.json", tmp_path / "other", tmp_path / "hard"
    for file in (theirs, other, hard):
        file.write_text("x")
        file.chmod(0o640)
    (paths.console / "link").symlink_to(other)
    (paths.store / "hard").hardlink_to(hard)
    os.mkfifo(paths.console / "fifo")
    web.prepare(paths)
    for file in (other, hard):
        assert (file.stat().st_uid, stat.S_IMODE(file.stat().st_mode)) == (os.geteuid(), 0o640)
    if os.geteuid() == 0:
        assert (theirs.stat().st_uid, stat.S_IMODE(theirs.stat().st_mode)) == (web.WEB_UID, 0o600)
        assert paths.document_db.stat().st_uid == web.WEB_UID
    assert stat.S_IMODE(paths.console.stat().st_mode) == 0o700


def test_the_hub_gets_a_password_of_its_own_and_follows_no_link(tmp_path: Path) -> None:
    paths = made(tmp_path)
    assert not paths.hub_ami_secret.exists()
    paths.engine.ami_secret.parent.mkdir(parents=True)
    paths.engine.ami_secret.write_text("the engine's own")
    other = tmp_path / "other"
    other.write_text("precious")
    paths.hub_ami_secret.symlink_to(other)
    paths.hub_ami_secret.with_name("ami.secret.new").symlink_to(other)
    web.prepare(paths)
    assert other.read_text() == "precious"
    assert paths.hub_ami_secret.read_text() == hub_secret("the engine's own") != "the engine's own"
    assert stat.S_IMODE(paths.hub_ami_secret.stat().st_mode) == 0o600


def test_the_gate_reads_its_files_and_writes_nothing(tmp_path: Path) -> None:
    paths = made(tmp_path)
    (paths.gate / "portal.key").write_text("key")
    web.prepare(paths)
    assert stat.S_IMODE(paths.gate.stat().st_mode) == 0o750
    if os.geteuid() == 0:
        found = (paths.gate / "portal.key").stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (0, web.WEB_GID, 0o640)
    assert "--bind" not in web.confined(paths, ["gate"], readable=(paths.gate, paths.web))


def test_who_listens(tmp_path: Path) -> None:
    assert not web.listens_at("127.0.0.1", 1)
    assert not web.listens(tmp_path / "none.sock")
    with listening(tmp_path / "some.sock", 0o600) as listener:
        listener.listen()
        assert web.listens(tmp_path / "some.sock")
        assert stat.S_IMODE((tmp_path / "some.sock").stat().st_mode) == 0o600
    assert not (tmp_path / "some.sock").exists()
