"""An edge's OpenVPN: made from a state, kept running, left alone when the agent dies.

What happens when…

* OpenVPN dies: it is started again (:mod:`appliance.engine.revival`);
* the agent dies: the tunnel stays; the next agent takes it over (its PID file names it for good);
* the slice has paths: OpenVPN goes through the relay (:mod:`.relay`), which is kept like it;
* another state is in force: OpenVPN is started anew if anything of its configuration differs, else it notices nothing;
* the centre is away: OpenVPN itself tries all of its addresses, for ever;
* the clock jumps ahead: through the relay, nothing; a tunnel without it begins anew (``ping-restart``), which takes a second;
* the clock was wrong, and is set back: OpenVPN's own never goes back (``otime.c``), so one of its waits may last half a minute. One that isn't in then
  is started anew; one that is in is left alone.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from appliance.clock import MINUTE, SECOND, Clock, system_clock
from appliance.core.errors import UnavailableError
from appliance.edge.paths import EdgePaths
from appliance.edge.relay import HERE, EdgeRelay
from appliance.edge.states import State
from appliance.edge.unit import narrowed
from appliance.edge.why import LOOKED_AT
from appliance.engine.logs import bound_ours
from appliance.engine.openvpn_management import management_lines
from appliance.engine.processes import end, held_together, note, noted, urgent
from appliance.engine.revival import Revival
from appliance.engine.unix import connect
from appliance.vpn.files import put
from appliance.vpn.layout import daemon_user
from appliance.vpn.pki import client_lines
from appliance.vpn.slices import Remote, Slice

_log = logging.getLogger("centralino.edge")

INTERFACE: Final = "voice-0"
STOP_S: Final = 3.0
ASK_S: Final = 2.0
SAID_MAX: Final = 65536
SET_BACK: Final = MINUTE
"""What the clock goes back by that is told from what a time server mends, ms."""
LOOK_EVERY: Final = 2 * SECOND
CONNECTED: Final = "CONNECTED"
RELAYED: Final = ("ping-restart 0", 'pull-filter ignore "ping-restart"')
"""The relay says when it is to begin anew (:mod:`appliance.failover.relay.edge_process`)."""
_KEY: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----", re.DOTALL)
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def config(state: State, local: list[str]) -> str:
    """OpenVPN's whole configuration, with keys: one file, so that they always belong together. ``local``: lines of this machine."""
    material = state.material
    key, chain = _KEY.findall(material.identity), _CERTIFICATE.findall(material.identity)
    lines = [
        "# Made from the state in force; edits are lost.",
        f"dev {INTERFACE}",
        *state.slice.openvpn,
        *_remotes(state.slice),
        *client_lines(),
        *(RELAYED if state.slice.paths else ()),
        *local,
    ]
    for name, content in (
        ("ca", material.root), ("cert", b"\n".join(chain)), ("key", b"\n".join(key)), ("tls-crypt-v2", material.tunnel_key),
    ):  # fmt: skip
        lines += [f"<{name}>", content.decode().strip(), f"</{name}>"]
    return "\n".join(lines) + "\n"


class Tunnel:
    """The one of an edge. ``servers``: see :class:`.lookups.Lookups`."""

    def __init__(
        self, paths: EdgePaths, clock: Clock = system_clock, servers: Callable[[], Sequence[tuple[str, str]]] = tuple
    ) -> None:
        self._paths, self._clock = paths, clock
        self._ahead = 0
        """The latest that the clock has been since OpenVPN began: ms since 1970 when the machine started, by it."""
        self._look_at = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._revival = Revival("OpenVPN", _log)
        self.relay = EdgeRelay(paths, servers)

    @property
    def pid(self) -> int | None:
        """Process id of OpenVPN; None: it doesn't run."""
        return noted(self._pid_file)

    def tend(self, state: State) -> None:
        """One round: it runs, as that state wants it.

        :raises UnavailableError: ``program_missing``; :raises OSError: it can't be written; what runs goes on.
        """
        trouble = None
        try:
            self.relay.tend(state)
        except OSError as error:  # is no reason to leave OpenVPN alone
            trouble = error
        self._tend(config(state, self._local()), state.name)
        if trouble is not None:
            raise trouble

    def _tend(self, wanted: str, name: str) -> None:
        if self.pid is None:
            if self._child is not None:
                self._child.poll()
            if self._revival.due():
                self._start(wanted)
        elif _text(self._config_file) != wanted:
            _log.info("the tunnel is started anew: state %s", name)
            self._end()
            self._start(wanted)
        elif self._waits_for_another_time():
            _log.warning("the clock was set back, and the tunnel isn't up: it is started anew")
            self._end()
            self._start(wanted)
        else:
            bound_ours(self._log_file)
            if self._child is not None:
                self._child.poll()

    def stop(self) -> None:
        """End it, and its relay."""
        self._end()
        self.relay.stop()

    def _end(self) -> None:
        pid = self.pid
        if pid is not None:
            end(pid, STOP_S)
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(STOP_S)
        self._pid_file.unlink(missing_ok=True)
        self._child = None
        self._revival.forget()

    def _waits_for_another_time(self) -> bool:
        """Whether the clock was set back since OpenVPN began, and it isn't in. What can't be told isn't so."""
        now = self._clock()
        self._ahead = max(self._ahead, now.wall - now.uptime)
        if self._ahead - (now.wall - now.uptime) < SET_BACK or now.uptime < self._look_at:
            return False
        self._look_at = now.uptime + LOOK_EVERY
        words = self._state().split(",")
        return len(words) > 1 and words[1] != CONNECTED

    def way(self, slice: Slice) -> Remote | None:
        """By which of the centre's addresses it is connected, as the slice names it; None: it isn't, or can't be told."""
        words = self._state().split(",")
        if len(words) < 6 or words[1] != CONNECTED:
            return None
        if slice.paths:
            return self.relay.way(slice)
        address, port = words[4], words[5]
        for each in slice.remotes:
            if str(each.port) == port and address in _addresses(each.host):
                return each
        return None

    def said(self) -> str:
        """The end of OpenVPN's log; nothing: it can't be read."""
        try:
            with self._log_file.open("rb") as log:
                log.seek(max(0, self._log_file.stat().st_size - LOOKED_AT))
                return log.read(LOOKED_AT).decode(errors="replace")
        except OSError:
            return ""

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

    def _start(self, wanted: str) -> None:
        program = shutil.which("openvpn")
        if program is None:
            raise UnavailableError("openvpn is not installed", "apt install openvpn", error_id="program_missing")
        self._paths.run.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._paths.log.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(self._config_file, wanted.encode())
        self._revival.began()
        self._ahead = 0
        with held_together(), self._log_file.open("ab") as log:
            self._child = subprocess.Popen(
                [*urgent(), *narrowed(), program, "--config", str(self._config_file)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            note(self._pid_file, self._child.pid)

    def _local(self) -> list[str]:
        us = pwd.getpwuid(os.geteuid())
        lines = management_lines(self._management, us.pw_name, grp.getgrgid(us.pw_gid).gr_name)
        if us.pw_uid:  # a service's user, who may become nobody else: OpenVPN stays that
            return lines
        user = daemon_user()
        return [f"user {user}", f"group {grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name}", *lines]

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


def _remotes(slice: Slice) -> list[str]:
    if slice.paths:
        host, port = HERE
        # The relay says when there is another server: no need to wait longer for it than OpenVPN has to (one second).
        return [f"remote {host} {port} udp4", "connect-retry 1 1"]
    return [f"remote {each.host} {each.port} udp" for each in slice.remotes]


def _addresses(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)}
    except OSError:
        return set()


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
