"""Opens and shuts the gate, as invitations come and go: the listening socket, the front that strangers talk with, and the firewall.

The firewall's rules have an opening for the gate that counts only while a set holds the port (:data:`appliance.firewall.rules.GATE`). This puts it there and
takes it out: in a second, where loading all rules anew would take the applier up to ten. The kernel takes it out by itself when the last invitation is
over, also if everything of ours is dead; and when rules are loaded anew, the next round puts it back.

What happens when…

* the front dies: another is started at the next round, at first; then after 1 s, 2 s, 4 s … at most 30 s;
* this process is killed: the front ends with it (it holds a socket pair to it, and dies with its parent);
* the port is taken, the clock is wrong, the firewall refuses: told among the VPN's faults, and tried again.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from appliance.clock import Clock, system_clock
from appliance.core.errors import CentralinoError, CorruptError, UnavailableError
from appliance.engine.keeping import telling
from appliance.engine.logs import bound_ours
from appliance.engine.netns import socket_in
from appliance.engine.place import engine_namespace, has_firewall
from appliance.engine.processes import held_together
from appliance.engine.runner import end
from appliance.firewall.kernel import Kernel
from appliance.paths import Paths
from appliance.run import web
from appliance.vpn.configured import configured
from appliance.vpn.enrolment.answering import Answering, Said
from appliance.vpn.enrolment.front import BACKLOG
from appliance.vpn.enrolment.waiting import Invitations
from appliance.vpn.enrolment.wire import REQUEST_MAX, Request
from appliance.vpn.keeper import Keeper
from appliance.vpn.pki import Authority, Identity
from appliance.vpn.slices.formats import common
from appliance.vpn.slices.served import Slices
from appliance.vpn.slices.sign import signed

_log = logging.getLogger("centralino.vpn")

BACKOFF_MAX_S: Final = 30.0
GOOD_LIFE_S: Final = 60.0
READY_S: Final = 10.0
STOP_S: Final = 2.0
FIREWALL_EVERY_S: Final = 1.0
IDENTITY_S: Final = 7 * 86400.0
LINGER_S: Final = 3.0
"""How long the front goes on when nothing waits any more: the wrong attempt that burned the last invitation is answered too."""


@dataclass
class _Front:
    """The process that strangers talk with, and the thread that answers it."""

    port: int
    process: subprocess.Popen[bytes]
    ours: socket.socket
    thread: threading.Thread
    started: float


class Gate:
    """See this module. ``firewall``: None: this machine's isn't ours."""

    def __init__(
        self,
        paths: Paths,
        answering: Answering,
        *,
        network_namespace: str | None = None,
        firewall: Kernel | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._paths, self._answering, self._clock = paths, answering, clock
        self._namespace, self._firewall = network_namespace, firewall
        self._front: _Front | None = None
        self._backoff_s, self._again_at, self._firewall_at = 0.0, 0.0, 0.0
        self._opened: int | None = None
        self._since: float | None = None
        self._identity: tuple[str, float, Identity] | None = None
        self.fault: str = ""
        """What can't be done now, in words."""

    @property
    def port(self) -> int | None:
        """Where it is open; None: it is shut."""
        front = self._front
        return front.port if front is not None and front.process.poll() is None else None

    def tend(self) -> None:
        """One round. Never raises."""
        found: list[str] = []
        with telling(found):
            self._tend()
        fault = next(iter(found), "")
        if fault and fault != self.fault:
            _log.error("%s", fault)
        self.fault = fault

    def stop(self) -> None:
        """Shut it."""
        self._end()
        with contextlib.suppress(CentralinoError):
            self._shut_firewall()

    def _tend(self) -> None:
        now = self._clock()
        waiting = self._answering.invitations.open()
        port = _port(self._paths.engine.current) if waiting else None
        front = self._front
        if port is None:
            self._shut_firewall()
            self._linger()
            return
        self._since = None
        if front is not None and (port != front.port or front.process.poll() is not None):
            if port == front.port:
                _log.error("the gate for new edges died; it is opened again in %g s", self._backoff_s)
                if time.monotonic() - front.started > GOOD_LIFE_S:
                    self._backoff_s = 0.0
                self._again_at = time.monotonic() + self._backoff_s
                self._backoff_s = min(max(1.0, 2 * self._backoff_s), BACKOFF_MAX_S)
            self._end()
        if self._front is None and time.monotonic() >= self._again_at:
            self._start(port)
        left_ms = max(each.lasts - each.elapsed(now) for each in waiting.values())
        self._open_firewall(port, max(60.0, left_ms / 1000))

    # The front

    def _linger(self) -> None:
        """Who is being served still gets his answer; nobody new comes through the firewall."""
        if self._since is None:
            self._since = time.monotonic()
        if time.monotonic() >= self._since + LINGER_S:
            self._end()
            self._backoff_s = self._again_at = 0.0

    def _start(self, port: int) -> None:
        identity = self._shown()
        told = {"chain": identity.chain.decode(), "root": identity.root.decode(), "key": identity.key.decode()}
        with contextlib.ExitStack() as opened:
            listening = opened.enter_context(self._listening(port))
            ours, theirs = socket.socketpair()
            opened.enter_context(theirs)
            argv = web.confined(
                self._paths,
                [sys.executable, "-m", "appliance.vpn.enrolment", str(listening.fileno()), str(theirs.fileno())],
            )
            argv.insert(1, "--unshare-net")  # it has its sockets already, and needs no others
            with held_together(), self._log_file().open("ab") as log:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(listening.fileno(), theirs.fileno()),
                    start_new_session=True,
                )
        ours.settimeout(READY_S)
        try:
            ours.sendall(json.dumps(told).encode() + b"\n")
            ready = ours.recv(1) == b"\n"
        except OSError:
            ready = False
        if not ready:
            ours.close()
            end(process, STOP_S)
            raise UnavailableError(
                "the gate for new edges can't be opened", f"see {self._log_file()}", error_id="gate_shut"
            )
        ours.settimeout(None)
        thread = threading.Thread(target=answer_all, args=(self._answering, ours), name="enrolment", daemon=True)
        thread.start()
        self._front = _Front(port, process, ours, thread, time.monotonic())
        _log.info("the gate for new edges is open at TCP port %d", port)

    def _shown(self) -> Identity:
        """Who we are, of this root: the same for a week, so that opening the gate often doesn't fill the registry."""
        root, now = self._answering.authority.root_key(), time.monotonic()
        if self._identity is None or self._identity[0] != root or now - self._identity[1] > IDENTITY_S:
            self._identity = root, now, self._answering.authority.gate()
        return self._identity[2]

    def _listening(self, port: int) -> socket.socket:
        made = socket_in(self._namespace, socket.AF_INET6)
        try:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("::", port))
            made.listen(BACKLOG)
        except OSError as error:
            made.close()
            raise UnavailableError(
                f"the gate for new edges can't listen at TCP port {port}: {error.strerror}",
                "end what uses it, or give the concentrator another port", error_id="gate_port",
            ) from error  # fmt: skip
        return made

    def _end(self) -> None:
        front, self._front = self._front, None
        if front is None:
            return
        with contextlib.suppress(OSError):
            front.ours.shutdown(socket.SHUT_RDWR)
        end(front.process, STOP_S)
        front.thread.join(STOP_S)
        front.ours.close()
        bound_ours(self._log_file())
        _log.info("the gate for new edges is shut")

    def _log_file(self) -> Path:
        self._paths.vpn.log.mkdir(parents=True, exist_ok=True)
        return self._paths.vpn.log / "enrolment.log"

    # The firewall

    def _open_firewall(self, port: int, lasts_s: float) -> None:
        if self._firewall is None or time.monotonic() < self._firewall_at:
            return
        self._firewall_at = time.monotonic() + FIREWALL_EVERY_S
        if self._opened not in (None, port):
            self._shut_firewall()
        self._firewall.open_gate(port, lasts_s)
        self._opened = port

    def _shut_firewall(self) -> None:
        if self._firewall is None or self._opened is None:
            return
        self._firewall.shut_gate(self._opened)
        self._opened, self._firewall_at = None, 0.0


class Answers(Protocol):
    """Who answers requests: :class:`.answering.Answering`."""

    def answer(self, request: Request) -> tuple[Said, bytes]: ...


def answer_all(answering: Answers, ours: socket.socket) -> None:
    """What the front asks, one after the other, until it is gone. A front that says what it never should is let go."""
    with contextlib.suppress(OSError, ValueError, CorruptError), ours.makefile("rwb") as line:
        while asked := line.readline(4 * REQUEST_MAX):
            status, body = answering.answer(Request.read(base64.b64decode(asked)))
            line.write(json.dumps({"status": int(status), "body": base64.b64encode(body).decode()}).encode() + b"\n")
            line.flush()
    with contextlib.suppress(OSError):
        ours.shutdown(socket.SHUT_RDWR)


def _port(generation: Path) -> int | None:
    """Of the gate: the number of the first daemon's port, by the generation in force."""
    found = configured(generation)
    ports = [
        int(line.split()[1]) for each in found.values() for line in each.config.splitlines() if line.startswith("port ")
    ]
    return min(ports, default=None)


def vpn_gate(paths: Paths, keeper: Keeper) -> Gate:
    """The gate of an installation, beside its keeper."""
    authority = Authority(paths.vpn)
    slices = Slices(paths.engine.current)

    def slice(site: str, formats: tuple[int, ...]) -> bytes:
        return signed(slices.of(site), authority.signer(), common(formats))

    answering = Answering(
        Invitations(paths.vpn), authority, slice, let_in=lambda name: name in keeper.living
    )  # fmt: skip
    namespace = engine_namespace()
    return Gate(
        paths, answering, network_namespace=namespace, firewall=Kernel(namespace) if has_firewall() else None
    )  # fmt: skip
