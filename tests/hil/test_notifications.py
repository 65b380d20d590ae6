"""A real call at a real receiver, by the confined sender; and files of calls at a real SSH server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.core.document import parse
from appliance.kinds import KINDS
from appliance.notifications import sftp
from appliance.notifications.model import SftpTarget
from appliance.run import web
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.softphone import SoftPhone
from tests.hil.system import System, office
from tests.unit.notifications.receiver import Receiver, authority, receiving

RECEIVER = "crm.example.com"


def rows(address: str, port: int) -> list[tuple[str, dict[str, object]]]:
    target = {"type": "webhook", "url": f"https://{RECEIVER}:{port}/calls", "secret": "hook", "authority": authority(RECEIVER).pem}  # fmt: skip
    made = [
        (kind, {**row, "person": "anna"} if row.get("number") == "201" else row) for kind, row in office(address, 2)
    ]
    return [
        *made, ("person", {"id": "anna", "name": "Anna B."}), ("secret", {"id": "hook"}),
        ("notification_endpoint", {"id": "crm", "name": "CRM", "target": target}),
    ]  # fmt: skip


def test_a_real_call_is_told_of_as_it_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: engine, spool, history, sender as the web user in its sandbox with the secret that the applier handed over."""
    require_root()
    for name, value in web.group_environment().items():
        monkeypatch.setenv(name, value)
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(Network())
        pbx, phones, outside = net.host("pbx", number=10), net.host("phones"), net.host("crm")
        listener = outside.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((outside.address, 0))
        listener.listen(16)
        receiver: Receiver = stack.enter_context(receiving(tmp_path, RECEIVER, listener))
        system = System(pbx, tmp_path, rows(pbx.address, receiver.port))
        web.prepare(system.paths)
        stack.enter_context(system)
        system.start_history()
        hosts = tmp_path / "hosts"
        hosts.write_text(f"127.0.0.1 localhost\n{outside.address} {RECEIVER}\n")
        sender = web.confined(
            system.paths,
            [sys.executable, "-m", "appliance.notifications"],
            writable=(system.paths.store,),
            readable=(system.paths.handed_to("notifications"),),
        )
        at = sender.index("--ro-bind-try", sender.index("/etc") - 1) + 3
        eventually(system.paths.history_db.exists, "the history has its database", 10)
        web.prepare(system.paths)
        argv = [*sender[:at], "--ro-bind", str(hosts), "/etc/hosts", *sender[at:]]
        log = tmp_path / "sender.log"
        daemon = stack.enter_context(pbx.start(argv, log, env=system.environment))
        one, two = (
            stack.enter_context(SoftPhone(phones, tmp_path / id, id, system.passwords[id], pbx.address, tone_hz=hz))
            for id, hz in (("201-1", 440), ("202-1", 620))
        )
        one.register()
        two.register()
        call = one.call("202").ringing()
        told(receiver, ["call.started"], log)
        at_two = two.incoming().answer()
        call.established()
        told(receiver, ["call.started", "call.answered"], log)
        one.hears(620)
        call.hangup()
        at_two.closed()
        told(receiver, ["call.started", "call.answered", "call.ended"], log)
        assert daemon.running, log.read_text()
        assert system.passwords["hook"] not in log.read_text()
    password = system.passwords["hook"].encode()
    assert all(request.signed_by(password) for request in receiver.requests)
    assert len({request.json["data"]["call"] for request in receiver.requests}) == 1
    ended = receiver.requests[-1].json["data"]
    assert (ended["direction"], ended["caller"], ended["called"], ended["reached"]) == ("internal", "201", "202", "202")
    assert ended["user"] == {"id": "anna", "name": "Anna B.", "extension": "201"}
    assert (ended["outcome"], ended["site"], ended["did"], ended["trunk"]) == ("answered", "hq", None, None)
    assert ended["start"] < ended["answer"] < ended["end"]
    assert ended["duration_s"] > 0
    assert set(ended["quality"]) == {"loss_percent", "jitter_ms", "round_trip_ms"}
    assert ended["history_id"] == 1


def told(receiver: Receiver, types: list[str], log: Path) -> None:
    """What has come, in this order; at the latest some seconds after it happened."""
    eventually(
        lambda: receiver.types("/calls") == types, f"{types}, not {receiver.types('/calls')}: {log.read_text()}", 8
    )


@dataclass(frozen=True)
class Server:
    """An SSH server: what an export needs to know of it."""

    port: int
    host_key: str
    private_key: str
    directory: Path

    def target(self, **fields: object) -> SftpTarget:
        row = {
            "host": "127.0.0.1", "port": self.port, "username": pwd.getpwuid(os.geteuid()).pw_name, "secret": "key",
            "host_key": self.host_key, "directory": str(self.directory), "allow_local": True, **fields,
        }  # fmt: skip
        return SftpTarget.model_validate(row)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Debian's own, on loopback."""
    work = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)], check=True, timeout=20)
    shutil.copy(work / "user.pub", work / "authorized")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = work / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {work}/host\nAuthorizedKeysFile {work}/authorized\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd gives up its rights
    files = work / "in"
    files.mkdir()
    with Child([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-e", "-f", str(config)], work / "sshd.log") as daemon:
        eventually(lambda: _listens(port), f"sshd listens: {daemon.text()}", 10)
        host_key = " ".join((work / "host.pub").read_text().split()[:2])
        yield Server(port, host_key, (work / "user").read_text(), files)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def pieces(*texts: str) -> AsyncIterator[bytes]:
    for text in texts:
        yield text.encode()


def upload(target: SftpTarget, secret: str, name: str, *texts: str) -> str:
    return asyncio.run(sftp.upload(target, secret, name, pieces(*texts)))


def test_a_file_is_put_whole_and_put_again(server: Server) -> None:
    assert upload(server.target(), server.private_key, "a.csv", "one,", "two\r\n") == ""
    assert (server.directory / "a.csv").read_bytes() == b"one,two\r\n"
    (server.directory / ".a.csv.part").write_text("left by an attempt that was broken off, and longer")
    assert upload(server.target(), server.private_key, "a.csv", "three\r\n") == ""
    assert (server.directory / "a.csv").read_bytes() == b"three\r\n"
    assert [each.name for each in server.directory.iterdir()] == ["a.csv"]


def test_a_file_that_breaks_off_isn_t_there_under_its_name(server: Server) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise OSError(5, "Input/output error")

    assert asyncio.run(sftp.upload(server.target(), server.private_key, "b.csv", broken())).startswith("it broke off")
    assert not (server.directory / "b.csv").exists()


def test_what_is_wrong_is_told(server: Server, tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True, timeout=20
    )
    other, other_key = (tmp_path / "other").read_text(), " ".join((tmp_path / "other.pub").read_text().split()[:2])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = closed.getsockname()[1]
        found = [
            upload(server.target(host_key=other_key), server.private_key, "x.csv", "x"),
            upload(server.target(), other, "x.csv", "x"),
            upload(server.target(), "a password", "x.csv", "x"),
            upload(server.target(), "-----BEGIN PRIVATE KEY-----\nnonsense", "x.csv", "x"),
            upload(server.target(directory="/nowhere"), server.private_key, "x.csv", "x"),
            upload(server.target(allow_local=False), server.private_key, "x.csv", "x"),
            upload(server.target(port=dead), server.private_key, "x.csv", "x"),
            upload(server.target(host="nowhere.invalid"), server.private_key, "x.csv", "x"),
        ]
    assert found == [
        "the server's key isn't the one in the configuration",
        "the server doesn't let this user in",
        "the server doesn't let this user in",
        "the secret isn't a private key that can be read",
        "the server refuses the file: No such file",
        "127.0.0.1 leads to this machine itself (127.0.0.1)",
        "it can't be reached: Connection refused",
        "its name can't be resolved",
    ]
    assert list(server.directory.glob("x*")) == []


def test_a_target_s_key_passes_the_document(server: Server) -> None:
    from appliance.core.document import Document
    from appliance.verify import verify

    target = server.target().model_dump(mode="json")
    site = [("company", {"id": "d", "name": "D"}), ("site", {"id": "hq", "name": "HQ", "company": "d"})]
    export = ("history_export", {"id": "x", "name": "X", "site": "hq", "target": target})
    secret = ("secret", {"id": "key", "value": "sealed:v1:AAAA"})
    assert verify(Document.of(parse(KINDS, kind, row) for kind, row in (*site, secret, export))) == ()
