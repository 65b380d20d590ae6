"""The applier's Unix socket: who may speak, how long and how much; what is said is in :mod:`appliance.applier.protocol`."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any, Final

import structlog

from appliance.applier import protocol
from appliance.applier.options import Options
from appliance.applier.protocol import (
    ApplyRequest,
    CheckRequest,
    ConfirmRequest,
    LookUpRequest,
    PlanRequest,
    Request,
    RollbackRequest,
    SealRequest,
    StateRequest,
    UnscheduleRequest,
    VerifyRequest,
)
from appliance.applier.service import Service
from appliance.applier.upkeep import Upkeep
from appliance.core.errors import CentralinoError, Fault, InvalidError, UnavailableError
from appliance.core.errors_json import error_json, fault_json
from appliance.engine import unix

_log = structlog.get_logger("centralino.applier")

GROUP: Final = "centralino"
"""Members of this group may speak to the applier, besides root and its own user."""
SOCKET_MODE: Final = 0o660
LINE_S: Final = 10.0
"""Seconds for a whole request to come in, from its connection or from the answer before it."""
SEND_S: Final = 30.0
CONNECTIONS: Final = 32
_TEND_S: Final = 1.0
_RETRY_S: Final = 10.0
_PEER = struct.Struct("3i")


def group_id() -> int | None:
    """The group's number on this machine, if there is such a group; without systemd, the one that the supervisor names."""
    if given := os.environ.get("CENTRALINO_GROUP"):
        return int(given)
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


class Server:
    """Serves until :meth:`stop`. Requests run in threads of their own; changes run one after another."""

    def __init__(self, path: Path, service: Service, line_s: float = LINE_S) -> None:
        self._path = path
        self._service = service
        self._stopping = threading.Event()
        self._slots = threading.BoundedSemaphore(CONNECTIONS)
        self._busy: set[threading.Thread] = set()
        self._group = group_id()
        self._line_s = line_s

    def run(self) -> None:
        """Listen, converge, serve and tend until stopped; a change under way is finished first."""
        with self._listen() as listener:
            tender = threading.Thread(target=self._tend, name="tend")
            tender.start()
            try:
                while not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        connection, _ = listener.accept()
                        self._take(connection)
            finally:
                self._stopping.set()
                tender.join()
                for thread in list(self._busy):
                    thread.join()
                self._path.unlink(missing_ok=True)

    def stop(self) -> None:
        """End :meth:`run`; safe to call from a signal handler."""
        self._stopping.set()

    def _listen(self) -> socket.socket:
        """The socket under its name only when it is ready: whoever finds it can connect."""
        if not self._path.parent.is_dir():
            self._path.parent.mkdir(parents=True)
            self._path.parent.chmod(0o755)  # whatever our umask: members of the group must get in
        unready = self._path.with_name(self._path.name + ".new")
        unready.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        unix.bind(listener, unready)
        unready.chmod(SOCKET_MODE)
        if self._group is not None and os.geteuid() == 0:
            os.chown(unready, -1, self._group)
        listener.listen(CONNECTIONS)
        listener.settimeout(0.2)
        unready.rename(self._path)
        return listener

    def _tend(self) -> None:
        upkeep = Upkeep(self._service)
        converged = False
        wait = _TEND_S
        while not self._stopping.is_set():
            try:
                if not converged:
                    self._service.converge()
                    converged = True
                upkeep.tend()
                wait = _TEND_S
            except CentralinoError as error:
                _log.error("tending_failed", error_id=error.error_id, message=error.message)
                wait = _RETRY_S if converged else _TEND_S
            except Exception:  # noqa: BLE001 (the daemon outlives a mistake of ours; it is logged whole)
                _log.exception("tending_failed")
                wait = _RETRY_S
            self._stopping.wait(wait)

    # One connection

    def _take(self, connection: socket.socket) -> None:
        if not self._slots.acquire(blocking=False):
            busy = UnavailableError("too many connections to the applier", "try again", error_id="busy")
            with connection:
                _turn_away(connection, busy, 0.2)
            return
        thread = threading.Thread(target=self._converse, args=(connection,), name="request")
        self._busy.add(thread)
        thread.start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                self._allow(connection)
                buffer = bytearray()
                while (line := self._read(connection, buffer)) is not None:
                    self._answer(connection, line)
        except CentralinoError as error:
            _log.warning("refused", error_id=error.error_id, message=error.message)
        finally:
            self._slots.release()
            self._busy.discard(threading.current_thread())

    def _allow(self, connection: socket.socket) -> None:
        """:raises CentralinoError: the peer is neither root, nor our own user, nor in the group."""
        pid, uid, gid = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid in {0, os.geteuid()} or (self._group is not None and self._group in groups_of(pid, gid)):
            return
        error = CentralinoError("you may not use the applier", f"be a member of {GROUP}", error_id="forbidden")
        _turn_away(connection, error, 1)
        raise error

    def _read(self, connection: socket.socket, buffer: bytearray) -> bytes | None:
        """The next line; None when the peer has ended, is too slow, or we are stopping."""
        deadline = time.monotonic() + self._line_s
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > protocol.LINE_MAX:
                long = InvalidError([Fault("request", f"is longer than {protocol.LINE_MAX} bytes", error_id="request")])
                self._send(connection, {"ok": False, "error": error_json(long)})
                return None
            left = deadline - time.monotonic()
            if left <= 0 or self._stopping.is_set():
                return None
            connection.settimeout(min(left, 0.5))
            with contextlib.suppress(TimeoutError):
                data = connection.recv(65536)
                if not data:
                    return None
                buffer += data
        line = bytes(buffer[:end])
        del buffer[: end + 1]
        return line

    def _answer(self, connection: socket.socket, line: bytes) -> None:
        def progress(text: str) -> None:
            # Whoever asked may have gone; what they asked for goes on.
            with contextlib.suppress(OSError):
                self._send(connection, {"progress": text})

        began = time.monotonic()
        op = "?"
        try:
            request = protocol.parse(line)
            op = request.op
            answer: dict[str, Any] = {"ok": True, "result": self._do(request, progress)}
        except CentralinoError as error:
            answer = {"ok": False, "error": error_json(error)}
        except Exception:  # noqa: BLE001 (as above)
            _log.exception("internal_error", op=op)
            internal = CentralinoError("internal error of the applier", "its log says more", error_id="internal")
            answer = {"ok": False, "error": error_json(internal)}
        seconds = round(time.monotonic() - began, 3)
        log = _log.debug if op == "state" else _log.info
        log("request", op=op, ok=answer["ok"], error_id=answer.get("error", {}).get("error_id"), seconds=seconds)
        self._send(connection, answer)

    @staticmethod
    def _send(connection: socket.socket, answer: dict[str, Any]) -> None:
        connection.settimeout(SEND_S)
        connection.sendall(_line(answer))

    def _do(self, request: Request, progress: Any) -> dict[str, Any]:
        service = self._service
        match request:
            case PlanRequest():
                return service.plan(request.revision, confirm=request.confirm)
            case VerifyRequest():
                return {"faults": [fault_json(fault) for fault in service.faults(request.revision)]}
            case ApplyRequest():
                options = Options(request.allow, request.confirm_s, request.offline)
                if request.at is not None:
                    return service.schedule.add(request.revision, request.at, options)
                return service.apply(request.revision, options, progress)
            case ConfirmRequest():
                return service.confirm(request.revision)
            case RollbackRequest():
                options = Options(request.allow, request.confirm_s, request.offline)
                if request.at is not None:
                    return service.rollback_later(
                        request.revision, request.author, request.message, request.at, options
                    )
                return service.rollback(request.revision, request.author, request.message, options, progress)
            case UnscheduleRequest():
                return service.schedule.cancel(request.revision)
            case StateRequest():
                return service.state()
            case CheckRequest():
                return {"mismatches": service.check()}
            case SealRequest():
                return {"sealed": service.seal(request.id, request.clear)}
            case LookUpRequest():
                return {"names": service.desired.names.again()}


def _turn_away(connection: socket.socket, error: CentralinoError, within_s: float) -> None:
    """Say why, and wait until the peer has gone or the time is over: what it sent and nobody read would have the kernel
    throw our answer away when we close."""
    deadline = time.monotonic() + within_s
    with contextlib.suppress(OSError):
        connection.settimeout(within_s)
        connection.sendall(_line({"ok": False, "error": error_json(error)}))
        connection.shutdown(socket.SHUT_WR)
        while (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            if not connection.recv(65536):
                break


def groups_of(pid: int, gid: int) -> set[int]:
    """All groups of a process, as the kernel says now; only ``gid`` when it has ended."""
    found = {gid}
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Groups:"):
                found |= {int(each) for each in line.split()[1:]}
    return found


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"
