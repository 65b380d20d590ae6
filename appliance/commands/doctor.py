"""``centralino doctor``: looks at host, engine, DNS independence, clock, disk and ports, and says how to mend each."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import CentralinoError
from appliance.i18n import _
from appliance.paths import Paths
from appliance.pbx.media.model import Listener, Transport

DISK_WARN: Final = 0.15
"""Share of free space below which we warn."""
DISK_FAIL_BYTES: Final = 500 * 1024 * 1024
BUILD_YEAR: Final = 2026
NTP_MARKS: Final = (Path("/run/systemd/timesync/synchronized"), Path("/run/chrony/chronyd.pid"), Path("/run/ntpd.pid"))


class Grade(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: ``mend`` says what to do when it isn't well."""

    check: str
    grade: Grade
    message: str
    mend: str = ""


def examine(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """All checks, each on its own: one that fails to run is a fault, not the end of the others."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        programs,
        lambda: engine_root(paths),
        lambda: engine(paths),
        lambda: dns(paths),
        clock,
        lambda: disk(paths.state),
        lambda: keys(paths),
        lambda: ports(paths, document),
        lambda: history(paths),
    ]
    for check in checks:
        try:
            yield from check()
        except (CentralinoError, OSError) as error:
            yield Finding("doctor", Grade.FAULT, str(error), getattr(error, "hint", ""))


def programs() -> Iterator[Finding]:
    """Programs of the host that the appliance calls."""
    missing = [name for name in ("bwrap", "setpriv", "mmdebstrap") if shutil.which(name) is None]
    if missing:
        yield Finding(
            "host", Grade.FAULT, _("missing: {names}").format(names=", ".join(missing)), "tools/host-packages run"
        )
    else:
        yield Finding("host", Grade.OK, _("all programs are there"))


def engine_root(paths: Paths) -> Iterator[Finding]:
    """Whether the engine root is built, and which Asterisk it holds."""
    from appliance.engine.root import find_root

    try:
        root = find_root(paths)
    except CentralinoError as error:
        yield Finding("engine root", Grade.FAULT, error.message, error.hint or "make engine")
        return
    version = root.manifest.version_of("asterisk")
    yield Finding("engine root", Grade.OK, f"Asterisk {version.partition(':')[2].partition('+')[0]} ({version})")


def engine(paths: Paths) -> Iterator[Finding]:
    """Whether the engine runs, answers, and complains in its log."""
    from appliance.engine.known import troubles
    from appliance.run.engine_service import running_engine

    pid = running_engine(paths.engine.control_socket)
    if pid is None:
        yield Finding("engine", Grade.FAULT, _("it does not run"), _("start the appliance: make run"))
        return
    uid = Path(f"/proc/{pid}").stat().st_uid
    if uid == 0:
        yield Finding("engine", Grade.FAULT, _("it runs as root"), _("stop it and start it with make run"))
    lines = paths.engine.messages.read_text(errors="replace").splitlines() if paths.engine.messages.exists() else []
    bad = troubles(lines[-2000:])
    if bad:
        yield Finding("engine", Grade.WARNING, _("{count} errors and warnings in its log; the last: {last}").format(
            count=len(bad), last=bad[-1][-160:]), str(paths.engine.messages))  # fmt: skip
    else:
        yield Finding("engine", Grade.OK, _("runs as process {pid}, its log is clean").format(pid=pid))


def dns(paths: Paths) -> Iterator[Finding]:
    """Calls must not wait for name servers: the engine knows its own name and asks nobody."""
    hosts = paths.engine.top / "hosts"
    resolver = paths.engine.top / "resolv.conf"
    if not hosts.exists():
        return
    words = hosts.read_text().split()
    absent = [
        name for name in (socket.gethostname(), "A.ROOT-SERVERS.NET") if name.lower() not in map(str.lower, words)
    ]
    if absent:
        yield Finding("dns", Grade.FAULT, _("the engine must ask DNS for {names} at each call").format(names=", ".join(absent)),
                      _("restart the engine: its hosts file is written at start"))  # fmt: skip
    elif "nameserver" in (resolver.read_text() if resolver.exists() else ""):
        yield Finding("dns", Grade.WARNING, _("the engine asks name servers: calls wait for them when they are slow"))
    else:
        yield Finding("dns", Grade.OK, _("calls don't depend on DNS"))


def clock() -> Iterator[Finding]:
    """Certificates, history and confirm windows need the right time."""
    if time.gmtime().tm_year < BUILD_YEAR:
        yield Finding(
            "clock",
            Grade.FAULT,
            _("it shows the year {year}").format(year=time.gmtime().tm_year),
            "timedatectl set-time",
        )
    elif any(mark.exists() for mark in NTP_MARKS):
        yield Finding("clock", Grade.OK, _("synchronised by the network"))
    else:
        yield Finding("clock", Grade.WARNING, _("nothing keeps it right"), "apt install chrony")


def disk(place: Path) -> Iterator[Finding]:
    """Room for history, recordings and the next generation of the configuration."""
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    free = f"{usage.free / 1e9:.1f} GB ({100 * usage.free / usage.total:.0f} %)"
    if usage.free < DISK_FAIL_BYTES:
        yield Finding(
            "disk",
            Grade.FAULT,
            _("only {free} free").format(free=free),
            _("make room: commits and call records need it"),
        )
    elif usage.free < DISK_WARN * usage.total:
        yield Finding("disk", Grade.WARNING, _("only {free} free").format(free=free), _("make room soon"))
    else:
        yield Finding("disk", Grade.OK, _("{free} free").format(free=free))


def keys(paths: Paths) -> Iterator[Finding]:
    """Key files are readable by their owner alone."""
    for path in (paths.secret_key, paths.engine.ami_secret):
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            yield Finding("keys", Grade.FAULT, f"{path}: {mode:04o}", f"chmod 600 {path}")
            return
    yield Finding("keys", Grade.OK, _("only their owner can read them"))


def ports(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """Every listener of the document answers: by the engine, not by another program."""
    from appliance.run.engine_service import running_engine

    if document is None:
        return
    running = running_engine(paths.engine.control_socket) is not None
    faults = 0
    for listener in sorted(document.all(Listener).values(), key=lambda item: item.id):
        free = _is_free(listener)
        if free is None:
            faults += 1
            yield Finding("ports", Grade.FAULT, _("{address} is not an address of this machine").format(address=listener.address),
                          f"centralino listener set {listener.id} address=…")  # fmt: skip
        elif free == running:
            faults += 1
            what = _("nobody listens at {place}") if running else _("another program listens at {place}")
            place = f"{listener.transport} {listener.address} {listener.port}"
            yield Finding("ports", Grade.FAULT, what.format(place=place), _("see who: ss -lntup"))
    if not faults:
        yield Finding("ports", Grade.OK, _("all listeners are as they should be"))


def history(paths: Paths) -> Iterator[Finding]:
    """Whether calls are being recorded: alarms that the history's daemon has raised."""
    from appliance.history.service import History
    from appliance.store.history import open_history

    if "CENTRALINO_HISTORY_URL" not in os.environ and not paths.history_db.exists():
        return
    database = open_history(paths=paths)
    try:
        alarms = History(database).alarms()
    finally:
        database.close()
    for alarm in alarms:
        grade = Grade.FAULT if alarm.severity == "critical" else Grade.WARNING
        yield Finding("history", grade, alarm.message, _("make room: commits and call records need it"))
    if not alarms:
        yield Finding("history", Grade.OK, _("calls are being recorded"))


def _is_free(listener: Listener) -> bool | None:
    """Whether the listener's port can be bound now; None when the address isn't ours."""
    family = socket.AF_INET6 if ":" in listener.address else socket.AF_INET
    kind = socket.SOCK_DGRAM if listener.transport is Transport.UDP else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listener.address, listener.port))
        except OSError as error:
            if error.errno == 99:  # EADDRNOTAVAIL
                return None
            return False
    return True
