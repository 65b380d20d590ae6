"""An edge's OpenVPN: made from a state, kept running, left alone when the agent dies.

What happens when…

* OpenVPN dies: it is started again, after 1 s, 2 s, 4 s … at most 30 s; a minute of good life resets the wait;
* the agent dies: the tunnel stays; the next agent takes it over (its PID file names it for good);
* another state is in force: OpenVPN is started anew if anything of its configuration differs, else it notices nothing;
* the centre is away: OpenVPN itself tries all of its addresses, for ever.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from appliance.core.errors import UnavailableError
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State
from appliance.engine.logs import bound_ours
from appliance.engine.openvpn_management import management_lines
from appliance.engine.processes import end, held_together, note, noted
from appliance.engine.unix import connect
from appliance.vpn.layout import daemon_user
from appliance.vpn.pki import client_lines
from appliance.vpn.pki.files import put
from appliance.vpn.slices import Remote, Slice

_log = logging.getLogger("centralino.edge")

INTERFACE: Final = "voice-0"
BACKOFF_MAX_S: Final = 30.0
GOOD_LIFE_S: Final = 60.0
STOP_S: Final = 3.0
ASK_S: Final = 2.0
SAID_MAX: Final = 65536
_KEY: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", re.DOTALL)
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def config(state: State, local: list[str]) -> str:
    """OpenVPN's whole configuration, with keys: one file, so that they always belong together. ``local``: lines of this machine."""
    material = state.material
    key, chain = _KEY.findall(material.identity), _CERTIFICATE.findall(material.identity)
    lines = [
        f"# Made from state {state.name}; edits are lost.",
        f"dev {INTERFACE}",
        *state.slice.openvpn,
        *(f"remote {each.host} {each.port} udp" for each in state.slice.remotes),
        *client_lines(),
        *local,
    ]
    for name, content in (
        ("ca", material.root), ("cert", b"\n".join(chain)), ("key", b"\n".join(key)), ("tls-crypt-v2", material.tunnel_key),
    ):  # fmt: skip
        lines += [f"<{name}>", content.decode().strip(), f"</{name}>"]
    return "\n".join(lines) + "\n"


class Tunnel:
    """The one of an edge."""

    def __init__(self, paths: EdgePaths) -> None:
        self._paths = paths
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._backoff_s = 1.0
        self._restart_at: float | None = None

    @property
    def pid(self) -> int | None:
        """Process id of OpenVPN; None: it doesn't run."""
        return noted(self._pid_file)

    def tend(self, state: State) -> None:
        """One round: it runs, as that state wants it.

        :raises UnavailableError: ``program_missing``; :raises OSError: it can't be written; what runs goes on.
        """
        wanted = config(state, self._local())
        if self.pid is None:
            self._revive(wanted)
        elif _text(self._config_file) != wanted:
            _log.info("the tunnel is started anew: state %s", state.name)
            self.stop()
            self._start(wanted)
        else:
            bound_ours(self._log_file)
            if self._child is not None:
                self._child.poll()

    def stop(self) -> None:
        """End it."""
        pid = self.pid
        if pid is not None:
            end(pid, STOP_S)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_S)
        self._pid_file.unlink(missing_ok=True)
        self._child, self._restart_at, self._started, self._backoff_s = None, None, 0.0, 1.0

    def way(self, slice: Slice) -> Remote | None:
        """By which of the centre's addresses it is connected, as the slice names it; None: it isn't, or can't be told."""
        words = self._state().split(",")
        if len(words) < 6 or words[1] != "CONNECTED":
            return None
        address, port = words[4], words[5]
        for each in slice.remotes:
            if str(each.port) == port and address in _addresses(each.host):
                return each
        return None

    def _state(self) -> str:
        """What the management interface says of now: ``time,state,description,local,remote,port,…`` (management-notes.txt)."""
        said = b""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ASK_S)
                connect(connection, self._management)
                connection.sendall(b"state\n")
                while b"\nEND" not in said and len(said) < SAID_MAX and (chunk := connection.recv(4096)):
                    said += chunk
        except OSError:
            return ""
        lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
        found = [line for line in lines if line[:1].isdigit() and line.count(",") >= 5]
        return found[-1] if found else ""

    def _revive(self, wanted: str) -> None:
        now = time.monotonic()
        if self._started and self._restart_at is None:
            if self._child is not None:
                self._child.poll()
            if now - self._started > GOOD_LIFE_S:
                self._backoff_s = 1.0
            _log.error("OpenVPN died; starting it again in %g s", self._backoff_s)
            self._restart_at = now + self._backoff_s
            self._backoff_s = min(2 * self._backoff_s, BACKOFF_MAX_S)
        if self._restart_at is None or now >= self._restart_at:
            self._start(wanted)

    def _start(self, wanted: str) -> None:
        program = shutil.which("openvpn")
        if program is None:
            raise UnavailableError("openvpn is not installed", "apt install openvpn", error_id="program_missing")
        self._paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._paths.log.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(self._config_file, wanted.encode())
        self._restart_at, self._started = None, time.monotonic()
        with held_together(), self._log_file.open("ab") as log:
            self._child = subprocess.Popen(
                [program, "--config", str(self._config_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            note(self._pid_file, self._child.pid)

    def _local(self) -> list[str]:
        us = pwd.getpwuid(os.geteuid())
        user = daemon_user()
        return [
            f"user {user}",
            f"group {grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name}",
            *management_lines(self._management, us.pw_name, grp.getgrgid(us.pw_gid).gr_name),
        ]

    @property
    def _management(self) -> Path:
        return self._paths.run / "openvpn.sock"

    @property
    def _pid_file(self) -> Path:
        return self._paths.run / "openvpn.pid"

    @property
    def _log_file(self) -> Path:
        return self._paths.log / "openvpn.log"

    @property
    def _config_file(self) -> Path:
        return self._paths.run / "openvpn.conf"


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    except OSError:
        return set()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
