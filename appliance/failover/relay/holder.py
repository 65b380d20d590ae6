"""Holds a relay's sockets while the relay is started again; touches no packet itself.

The relay is its child, forked and not executed anew: all that it needs is in memory already, so its successor is at work within some milliseconds. They speak as
systemd and its services do (:mod:`.sockets`), so a relay can also be started by systemd itself.

What happens when…

* the relay dies: the next one is started at once with its sockets, in which what has come waits; one that dies at once again and again is started after pauses;
* the holder dies: the relay goes on; the next holder finds it by its PID file, is given its sockets, and watches it;
* the relay is broken into: it has a user of its own and no capability (:mod:`.confined`), and can't get at us but by words;
* both die: the next relay binds the same ports anew; OpenVPN's server notices nothing, and what came meanwhile is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from appliance.engine.processes import end, note, noted
from appliance.engine.unix import bind
from appliance.failover.relay.confined import confine
from appliance.failover.relay.sockets import CLIENT_ANEW, FIRST, force_memory

GOOD_LIFE_S: Final = 1.0
PAUSE_S: Final = 0.1
PAUSE_MAX_S: Final = 5.0
STOP_S: Final = 2.0
KEPT_MAX: Final = 4096
"""Sockets of one relay."""


class Holder:
    """See this module.

    :param relay: runs it, in the child and in its directory.
    :param user: whom the child becomes; what lies in the directory is that user's. None: nobody else.
    :param pid_file: names the relay; None: in its directory, which is all right where the relay is nobody else.
    :param client: PID file of OpenVPN's client, for when the relay says that it is to begin anew.
    :raises KeyError: no such user; :raises OSError: the directory can't be used.
    """

    def __init__(
        self,
        relay: Callable[[], int],
        directory: Path,
        user: str | None = None,
        client: Path | None = None,
        pid_file: Path | None = None,
    ) -> None:
        self._relay, self._directory, self._client = relay, directory, client
        self._user = pwd.getpwnam(user) if user is not None else None
        self._pid_file = pid_file or directory / "relay.pid"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._address = directory / "holder.sock"
        self._address.unlink(missing_ok=True)
        bind(self._socket, self._address)
        if self._user is not None:
            os.chown(self._address, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._held: dict[str, int] = {}
        self._stopping = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; the relay ends too."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        pause = PAUSE_S
        while not self._stopping:
            began = time.monotonic()
            pid = noted(self._pid_file)
            if pid is None:
                pid = self._start()
            else:
                os.kill(pid, signal.SIGUSR1)  # an earlier holder's: let us have its sockets
            self._watch(pid)
            if time.monotonic() - began >= GOOD_LIFE_S:
                pause = PAUSE_S
            elif not self._stopping:
                time.sleep(pause)
                pause = min(2 * pause, PAUSE_MAX_S)
        self._pid_file.unlink(missing_ok=True)
        return 0

    def _on_signal(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _start(self) -> int:
        pid = os.fork()
        if pid == 0:
            code = 127
            try:
                self._become()
                code = self._relay()
            finally:
                sys.stderr.flush()
                os._exit(code)
        note(self._pid_file, pid)
        return pid

    def _become(self) -> None:
        """In the child: its directory, its user, sockets from descriptor 3 on and the environment that tells of them; nothing else of the holder's."""
        names, high = list(self._held), FIRST + len(self._held)
        moved = [fcntl.fcntl(self._held[name], fcntl.F_DUPFD_CLOEXEC, high) for name in names]
        for descriptor in (self._socket.detach(), *self._held.values()):
            os.close(descriptor)
        for index, descriptor in enumerate(moved):
            os.dup2(descriptor, FIRST + index, inheritable=False)
            os.close(descriptor)
        os.chdir(self._directory)
        confine(self._user)
        os.environ |= {
            "NOTIFY_SOCKET": self._address.name, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(names)),
            "LISTEN_FDNAMES": ":".join(names),
        }  # fmt: skip

    def _watch(self, pid: int) -> None:
        """Until that process has ended."""
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        poll.register(self._socket.fileno(), select.POLLIN)
        told_to_end = False
        try:
            while True:
                if self._stopping and not told_to_end:
                    told_to_end = True
                    end(pid, STOP_S)
                ready = {descriptor for descriptor, _event in poll.poll(200)}
                if self._socket.fileno() in ready:
                    self._hear(pid)
                if watched in ready:
                    break
        finally:
            os.close(watched)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)  # it is nobody's child if an earlier holder started it

    def _hear(self, pid: int) -> None:
        try:
            said, descriptors = self._receive(pid)
        except OSError:
            return
        lines = dict(line.partition("=")[::2] for line in said.decode(errors="replace").splitlines())
        name = lines.get("FDNAME", "")
        if CLIENT_ANEW in lines and self._client is not None:
            client = noted(self._client)
            with contextlib.suppress(OSError):
                if client is not None:
                    os.kill(client, signal.SIGUSR1)  # OpenVPN's: connect anew, with all that is open kept
        if "FDSTOREREMOVE" in lines and name in self._held:
            os.close(self._held.pop(name))
        for descriptor in descriptors:
            if "FDSTORE" in lines and name and (name in self._held or len(self._held) < KEPT_MAX):
                if name in self._held:
                    os.close(self._held[name])
                self._held[name] = descriptor
                force_memory(descriptor)
            else:
                os.close(descriptor)

    def _receive(self, pid: int) -> tuple[bytes, list[int]]:
        """What the relay says; whatever another process says, whose credentials the kernel tells, is nothing."""
        said, beside, _flags, _address = self._socket.recvmsg(4096, socket.CMSG_SPACE(16) + socket.CMSG_SPACE(16))
        descriptors: list[int] = []
        sender = 0
        for level, kind, content in beside:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors += memoryview(content[: len(content) // 4 * 4]).cast("i").tolist()
            elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                sender = int.from_bytes(content[:4], sys.byteorder)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if sender != pid:
            for descriptor in descriptors:
                os.close(descriptor)
            return b"", []
        return said, descriptors
