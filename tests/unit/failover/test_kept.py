"""A relay that is kept: real processes on the loopback, killed in turn; and a directory in which somebody else has left things."""

from __future__ import annotations

import errno
import json
import os
import pwd
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.engine.processes import noted
from appliance.failover import kept as kept_module
from appliance.failover.kept import KeptRelay
from tests.hil.agents.process import eventually

KEY = "ab" * 32


class Ground:
    """One relay of a centre's."""

    def __init__(self, top: Path) -> None:
        self.top = top
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.all: list[KeptRelay] = []
        self.kept = self.another()

    def another(self) -> KeptRelay:
        """As after the death of whoever kept it."""
        self.all.append(KeptRelay("centre", self.own, self.top / "run", self.top / "relay.log", name="relay"))
        return self.all[-1]

    @property
    def own(self) -> Path:
        return self.top / "relays" / "0"

    @property
    def relay(self) -> int | None:
        return noted(self.top / "run" / "relay.pid")

    def config(self, *sites: str) -> dict[str, Any]:
        return {
            "listen": [["127.0.0.1", self.port]], "servers": {"0": {"at": ["127.0.0.1", 9], "pid": "server-0.pid"}},
            "sites": [{"site": site, "number": at + 1, "server": "0", "key": f"{at:02x}" * 32} for at, site in enumerate(sites)],
        }  # fmt: skip

    def at_work(self) -> None:
        def told() -> bool:
            self.kept.tend(self.config("bari"))
            return self.kept.standing().get("pid") == self.relay is not None

        eventually(
            told, f"it is at work: {(self.top / 'relay.log').read_text() if (self.top / 'relay.log').exists() else ''}"
        )


@pytest.fixture
def ground() -> Iterator[Ground]:
    with tempfile.TemporaryDirectory(prefix="centralino-kept-") as folder:
        made = Ground(Path(folder))
        try:
            yield made
        finally:
            for each in made.all:
                each.stop()


def test_relay_and_holder_are_killed_in_turn_and_it_is_ended(ground: Ground) -> None:
    ground.at_work()
    first, holder = ground.relay, ground.kept.pid
    assert first is not None
    assert holder is not None
    os.kill(first, signal.SIGKILL)
    eventually(lambda: ground.relay not in (None, first), "another relay")
    ground.at_work()
    assert ground.kept.pid == holder
    second = ground.relay
    os.kill(holder, signal.SIGKILL)
    ground.kept = ground.another()  # we are killed too
    eventually(lambda: ground.kept.pid is None, "nobody holds it")
    ground.at_work()
    assert ground.relay == second, "it was taken over"
    holder = ground.kept.pid
    ground.kept = ground.another()
    ground.at_work()
    assert (ground.relay, ground.kept.pid) == (second, holder)
    ground.kept.stop()
    assert (ground.relay, ground.kept.pid) == (None, None)


def test_what_it_goes_by_is_not_written_again_by_the_next_that_keeps_it(ground: Ground) -> None:
    """On a full disk it couldn't be, and nothing would be started again."""
    ground.at_work()
    config = ground.own / "config.json"
    before = config.stat().st_ino
    ground.kept = ground.another()
    ground.at_work()
    assert config.stat().st_ino == before
    ground.kept.tend(ground.config("bari", "lecce"))
    assert config.stat().st_ino != before
    config.write_text("{}")  # by a relay that was broken into
    ground.kept = ground.another()
    ground.kept.tend(ground.config("bari"))
    assert json.loads(config.read_text()) == ground.config("bari")


def test_what_is_of_another_release_is_replaced_and_keeps_its_sockets(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.at_work()
    relay, holder = ground.relay, ground.kept.pid
    release = ground.top / "run" / "release"
    assert release.read_text() == kept_module.RELEASE
    monkeypatch.setattr(kept_module, "RELEASE", "another")
    ground.kept.tend(ground.config("bari"))
    assert ground.kept.pid not in (None, holder)
    assert ground.relay == relay, "it is left at work until it has handed its sockets over"

    def replaced() -> bool:
        ground.kept.tend(ground.config("bari"))
        return ground.relay not in (None, relay)

    eventually(replaced, "the relay is another")
    ground.at_work()
    assert "in use" not in (ground.top / "relay.log").read_text()
    assert ground.kept.standing()["troubles"] == {}
    pids = ground.relay, ground.kept.pid
    release.unlink()  # a disk that was full
    ground.kept.tend(ground.config("bari"))
    assert (ground.relay, ground.kept.pid) == pids


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_what_it_goes_by_is_its_own_and_nobody_elses(ground: Ground) -> None:
    ground.at_work()
    own, nobody = ground.own.stat(), pwd.getpwnam("nobody").pw_uid
    config = (ground.own / "config.json").stat()
    assert (own.st_uid, stat.S_IMODE(own.st_mode)) == (nobody, 0o700)
    assert (config.st_uid, stat.S_IMODE(config.st_mode)) == (nobody, 0o600)
    assert (ground.top / "run" / "relay.pid").stat().st_uid == 0
    assert KEY not in Path(f"/proc/{ground.relay}/cmdline").read_text()
    assert set(Path(f"/proc/{ground.relay}/environ").read_text().split("\0")) <= {
        f"{name}={os.environ.get(name)}" for name in ("PATH", "PYTHONPATH", "LANG")
    } | {""}


def test_what_a_broken_relay_leaves_in_its_directory_is_not_followed(ground: Ground) -> None:
    victim = ground.top / "victim"
    victim.write_text("precious")
    ground.own.mkdir(parents=True)
    (ground.own / ".config.json.given").symlink_to(victim)
    (ground.own / "config.json").symlink_to(victim)
    ground.kept.give("config.json", b"{}")
    assert victim.read_text() == "precious"
    assert (ground.own / "config.json").read_bytes() == b"{}"
    assert not (ground.own / "config.json").is_symlink()

    victim.write_text(json.dumps({"sites": "stolen"}))
    told = ground.own / "standing.json"
    told.symlink_to(victim)
    assert ground.kept.standing() == {}
    told.unlink()
    os.mkfifo(told)  # nobody writes to it: whoever waited would wait for ever
    assert ground.kept.standing() == {}
    told.unlink()
    for garbage in (b"", b"[]", b"[" * 5000, b"\xff", b"7"):
        told.write_bytes(garbage)
        assert ground.kept.standing() == {}
    told.write_text('{"pid": 1}')
    assert ground.kept.standing() == {"pid": 1}
    os.utime(told, (0, 0))
    assert ground.kept.standing() == {}, "of long ago"


def test_a_full_disk_leaves_what_it_goes_by_and_no_draft(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    ground.own.mkdir(parents=True)
    ground.kept.give("config.json", b"{}")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("appliance.failover.kept.os.rename", full)
    with pytest.raises(OSError, match="No space"):
        ground.kept.give("config.json", b'{"sites": []}')
    assert (ground.own / "config.json").read_bytes() == b"{}"
    assert [each.name for each in ground.own.iterdir()] == ["config.json"]
    monkeypatch.undo()
    ground.kept.give("config.json", b'{"sites": []}')
    assert (ground.own / "config.json").read_bytes() == b'{"sites": []}'
