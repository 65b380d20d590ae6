"""``centralino doctor``: looks at host, processes, engine, DNS independence, clock, disk, keys, ports, firewall,
kernel, names, bans, voice VPN, history, notifications, sign-in, hub and single sign-on, and says how to mend each."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from appliance.commands.doctor_network import bans, browsers, firewall, turn, voice_vpn
from appliance.commands.findings import Finding, Grade
from appliance.core.document import Document
from appliance.core.errors import CentralinoError
from appliance.engine.runner import run
from appliance.i18n import _
from appliance.paths import Paths
from appliance.pbx.media.model import Listener, Transport

DISK_WARN: Final = 0.15
"""Share of free space below which we warn."""
DISK_FAIL_BYTES: Final = 500 * 1024 * 1024
BUILD_YEAR: Final = 2026
NTP_MARK: Final = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd makes it when it has set the clock."""
NOTIFICATIONS: Final = ("notifications_", "export_")
"""How codes of alarms begin that are about what is sent."""
ELSEWHERE: Final = (*NOTIFICATIONS, "vpn_")
"""… and those that another check tells of by itself."""
LAG_S: Final = 60.0
"""Events of the engine are in the history half a second later; this old, nobody reads them."""


def examine(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """All checks, each on its own: one that fails to run is a fault, not the end of the others."""
    from appliance.commands.firewall import check_names, check_tuning

    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "host": programs,
        "engine root": lambda: engine_root(paths),
        "supervisor": lambda: supervisor(paths),
        "applier": lambda: applier(paths),
        "engine": lambda: engine(paths),
        "dns": lambda: dns(paths),
        "clock": clock,
        "disk": lambda: disk(paths.state),
        "keys": lambda: keys(paths, document),
        "ports": lambda: ports(paths, document),
        "firewall": lambda: firewall(paths),
        "kernel": lambda: check_tuning(paths),
        "names": lambda: check_names(paths),
        "bans": lambda: bans(paths),
        "voice VPN": lambda: voice_vpn(paths),
        "browsers": lambda: browsers(document),
        "TURN server": lambda: turn(paths, document),
        "history": lambda: history(paths),
        "notifications": lambda: notifications(paths),
        "sign-in": lambda: sign_in(paths, document),
        "hub": lambda: hub(paths),
        "single sign-on": lambda: single_sign_on(paths, document),
    }
    yield from each(checks)


def each(checks: Mapping[str, Callable[[], Iterator[Finding]]]) -> Iterator[Finding]:
    """Check by check, by name; what goes wrong in one is its finding."""
    for name, check in checks.items():
        try:
            yield from check()
        except PermissionError as error:
            yield Finding(
                name,
                Grade.FAULT,
                _("you may not look at {place}").format(place=error.filename or _("it")),
                _("ask as the appliance's user: sudo centralino doctor"),
            )
        except CentralinoError as error:
            yield Finding(name, Grade.FAULT, error.message, error.hint)
        except OSError as error:
            yield Finding(name, Grade.FAULT, str(error))
        except Exception as error:  # noqa: BLE001 (garbage where nobody expected it: the other checks are needed all the more)
            what = _("it couldn't be looked at: {reason}").format(reason=f"{type(error).__name__}: {error}"[:200])
            yield Finding(name, Grade.FAULT, what, _("is a file of it damaged? Otherwise report this"))


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


def supervisor(paths: Paths) -> Iterator[Finding]:
    """Whether what dies is started again. Nothing to say where none ever ran: systemd does it there."""
    from appliance.run.appliance import supervisor_pid
    from appliance.run.status import services

    told = services(paths)
    if not told:
        return
    dead = [item["name"] for item in told[1:] if item["pid"] is None]
    if supervisor_pid(paths) is None:
        yield Finding("supervisor", Grade.FAULT, _("it is gone: whatever dies now stays dead"),
                      _("start it, calls go on: make run"))  # fmt: skip
    elif dead:
        yield Finding("supervisor", Grade.FAULT, _("{names} died, it starts them again").format(names=", ".join(dead)),
                      str(paths.state / "log"))  # fmt: skip
    else:
        yield Finding("supervisor", Grade.OK, _("everything that it started runs"))


def applier(paths: Paths) -> Iterator[Finding]:
    """Whether it answers, what it says of the configuration, and whether the engine holds that, object by object."""
    from appliance.applier.client import ApplierClient

    client = ApplierClient(paths.applier_socket)
    state = client.state()
    if waits := state["confirm"]:
        yield Finding("applier", Grade.WARNING, _("revision {revision} waits to be confirmed, {seconds:.0f} s are left").format(
            revision=waits["revision"], seconds=waits["left_s"]), "centralino confirm")  # fmt: skip
    try:
        wrong = client.check()
    except CentralinoError as error:
        # The engine is away or busy: other checks tell why.
        yield Finding("applier", Grade.WARNING, error.message, error.hint)
        return
    if wrong:
        yield Finding("applier", Grade.FAULT, _("the engine holds {count} objects otherwise than revision {revision}; the first: {first}").format(
            count=len(wrong), revision=state["revision"], first=wrong[0]),
            _("restart the engine, it reads its files: centralino stop, then make run"))  # fmt: skip
    else:
        yield Finding("applier", Grade.OK, _("the engine holds revision {revision}").format(revision=state["revision"]))


def engine(paths: Paths) -> Iterator[Finding]:
    """Whether the engine runs, answers, and complains in its log."""
    from appliance.engine.ami import AmiClient
    from appliance.engine.known import troubles
    from appliance.engine.place import ami_port, engine_namespace
    from appliance.run.engine_service import running_engine

    pid = running_engine(paths.engine.control_socket)
    if pid is None:
        yield Finding("engine", Grade.FAULT, _("it does not run"), _("start the appliance: make run"))
        return
    uid = Path(f"/proc/{pid}").stat().st_uid
    if uid == 0:
        yield Finding("engine", Grade.FAULT, _("it runs as root"), _("stop it and start it with make run"))
    secret = paths.engine.ami_secret.read_text()
    try:
        AmiClient.connect(secret, port=ami_port(), timeout_s=5, network_namespace=engine_namespace()).close()
    except CentralinoError as error:
        yield Finding("engine", Grade.FAULT, error.message, _("is its port taken? ss -lntup; then restart the engine"))
        return
    bad = troubles(_last_lines(paths.engine.messages))
    if bad:
        yield Finding("engine", Grade.WARNING, _("{count} errors and warnings in its log; the last: {last}").format(
            count=len(bad), last=bad[-1][-160:]), str(paths.engine.messages))  # fmt: skip
    else:
        yield Finding("engine", Grade.OK, _("runs as process {pid}, its log is clean").format(pid=pid))


def _last_lines(log: Path, size: int = 1 << 18) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - size))
            return file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []


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
        return
    right = synchronised()
    if right:
        yield Finding("clock", Grade.OK, _("synchronised by the network"))
    elif right is None:
        yield Finding("clock", Grade.WARNING, _("unknown whether anything keeps it right"), "apt install chrony")
    else:
        yield Finding(
            "clock", Grade.WARNING, _("nothing keeps it right"), "chronyc sources; timedatectl timesync-status"
        )


def synchronised() -> bool | None:
    """Whether a time server sets the clock; None: nobody here can tell."""
    if NTP_MARK.exists():
        return True
    for argv, good, bad in (
        (["chronyc", "-c", "tracking"], r"(?s).*,(?!Not synchronised)[\w ]+\s*", r"(?s).*,Not synchronised\s*"),
        (["timedatectl", "show", "--property=NTPSynchronized", "--value"], r"yes\s*", r"no\s*"),
    ):
        if shutil.which(argv[0]) is None:
            continue
        told = run(argv, check=False, timeout_s=5)
        if told.exit_code == 0 and re.fullmatch(good, told.output):
            return True
        if told.exit_code == 0 and re.fullmatch(bad, told.output):
            return False
    return None


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


def keys(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """Key files are readable by their owner alone, and the key opens every secret of the document."""
    from appliance.organisation.model import Secret
    from appliance.store.sealing import Keyring

    for path in (paths.secret_key, paths.engine.ami_secret):
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077:
            yield Finding("keys", Grade.FAULT, f"{path}: {mode:04o}", f"chmod 600 {path}")
            return
    sealed = document is not None and any(secret.value for secret in document.all(Secret).values())
    if document is not None and (sealed or paths.secret_key.exists()):
        Keyring.load(paths.secret_key).reveal(document)
    yield Finding("keys", Grade.OK, _("only their owner can read them, and they open every secret"))


def ports(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """The engine itself has every port of the document's listeners, and that of its manager interface."""
    from appliance.engine.place import ami_port, engine_namespace
    from appliance.engine.ports import bound_sockets, is_ours, sockets_of
    from appliance.run.engine_service import running_engine

    pid = running_engine(paths.engine.control_socket)
    bound = bound_sockets(pid or "self")
    mine = sockets_of(pid) if pid else set()
    places = [("manager", "tcp", "127.0.0.1", ami_port())]
    for listener in sorted((document.all(Listener) if document else {}).values(), key=lambda item: item.id):
        places.append((listener.id, listener.transport, listener.address, listener.port))
    faults = 0
    for id, transport, address, port in places:
        protocol = "udp" if transport == Transport.UDP else "tcp"
        here = [
            each for each in bound if (each.protocol, each.port) == (protocol, port) and _covers(each.address, address)
        ]
        others = [each for each in here if each.inode not in mine]
        if not is_ours(address, engine_namespace()):
            faults += 1
            yield Finding("ports", Grade.FAULT, _("{address} is not an address of this machine").format(address=address),
                          f"centralino listener set {id} address=…")  # fmt: skip
        elif len(others) == len(here) and (others or pid):
            faults += 1
            what = _("another program listens at {place}") if others else _("nobody listens at {place}")
            place = f"{transport} {address} {port}"
            yield Finding("ports", Grade.FAULT, what.format(place=place), _("see who: ss -lntup"))
    if not faults:
        yield Finding("ports", Grade.OK, _("all listeners are as they should be"))


def _covers(bound: str, wanted: str) -> bool:
    return bound == wanted or bound in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)


def history(paths: Paths) -> Iterator[Finding]:
    """Whether calls are being recorded: somebody reads the engine's events, keeps up, and has raised no alarm."""
    from appliance.history.service import History
    from appliance.history.spool import Spool
    from appliance.store.history import open_history

    if not paths.engine.cel.is_dir():
        return
    if not Spool(paths.engine.cel).is_read():
        yield Finding("history", Grade.FAULT, _("nobody records calls: its daemon doesn't run"),
                      _("start it, no call is lost: make run; its log: {log}").format(log=paths.state / "log" / "history.log"))  # fmt: skip
    if "CENTRALINO_HISTORY_URL" not in os.environ and not paths.history_db.exists():
        return
    database = open_history(paths=paths)
    try:
        told = History(database)
        alarms, late = told.alarms(), told.unread_s(paths.engine.cel)
    finally:
        database.close()
    alarms = [alarm for alarm in alarms if not alarm.code.startswith(ELSEWHERE)]
    for alarm in alarms:
        grade = Grade.FAULT if alarm.severity == "critical" else Grade.WARNING
        mend = _("make room: commits and call records need it") if alarm.code.startswith("spool_") else _("its log says more: {log}").format(log=paths.state / "log" / "history.log")  # fmt: skip
        yield Finding("history", grade, alarm.message, mend)
    if late > LAG_S:
        yield Finding("history", Grade.FAULT, _("events of the last {seconds:.0f} s aren't recorded yet").format(seconds=late),
                      _("its log says more: {log}").format(log=paths.state / "log" / "history.log"))  # fmt: skip
    elif not alarms and Spool(paths.engine.cel).is_read():
        yield Finding("history", Grade.OK, _("calls are being recorded"))


def notifications(paths: Paths) -> Iterator[Finding]:
    """Whether everything that somebody is to be told arrives."""
    from appliance.history.service import History
    from appliance.store.history import open_history

    if "CENTRALINO_HISTORY_URL" not in os.environ and not paths.history_db.exists():
        return
    database = open_history(paths=paths)
    try:
        alarms = [alarm for alarm in History(database).alarms() if alarm.code.startswith(NOTIFICATIONS)]
    finally:
        database.close()
    for alarm in alarms:
        grade = Grade.FAULT if alarm.severity == "critical" else Grade.WARNING
        yield Finding("notifications", grade, alarm.message, "centralino notifications status")
    if not alarms:
        yield Finding("notifications", Grade.OK, _("nothing waits for long"))


def single_sign_on(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """Whether directories and providers answer and take us. Nothing to say where there are none."""
    from appliance.commands.ways_in import ways_in

    yield from ways_in(paths, document)


def sign_in(paths: Paths, document: Document | None) -> Iterator[Finding]:
    """Credentials are kept from others' eyes, the audit is whole, and nobody who is gone left any."""
    from appliance.access.access import Access
    from appliance.access.people import known_people

    if "CENTRALINO_ACCESS_URL" not in os.environ and not paths.access_db.exists():
        return
    exposed = [(path, 0o007) for path in paths.access_db.parent.glob(f"{paths.access_db.name}*")]
    for path, others in [*exposed, (paths.token_keys, 0o077)]:
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & others:
            yield Finding("sign-in", Grade.FAULT, f"{path}: {mode:04o}", f"chmod {mode & ~others:o} {path}")
            return
    with Access.open(paths) as opened:
        opened.database.check()
        opened.signing.all()
        chain = opened.audit.verify()
        gone = opened.unknown(known_people(document)) if document is not None and len(document) else []
    if chain.broken is not None:
        yield Finding("sign-in", Grade.FAULT, _("the audit was changed: entry {number} isn't what was written").format(number=chain.broken),
                      _("find out who can write to the database; the entries before it are whole: centralino access audit"))  # fmt: skip
    for person in gone:
        yield Finding("sign-in", Grade.WARNING, _("{person} is gone from the document and left credentials").format(person=person),
                      "centralino access forget")  # fmt: skip
    if chain.broken is None and not gone:
        yield Finding("sign-in", Grade.OK, _("the audit is whole, and only the appliance can read credentials"))


def hub(paths: Paths) -> Iterator[Finding]:
    """Whether browsers are shown what happens, if a hub was started here at all."""
    from appliance.hub.client import HubClient
    from appliance.run.status import services

    if "hub" not in {item["name"] for item in services(paths)}:
        return
    told = HubClient(paths.hub_socket).health()
    if told["state"] == "live":
        yield Finding("hub", Grade.OK, _("{count} browsers see live what happens").format(count=told["sockets"]))
    else:
        yield Finding("hub", Grade.WARNING, _("what browsers see may be out of date: {reason}").format(reason=told["reason"]),
                      _("is the engine running? centralino status"))  # fmt: skip
