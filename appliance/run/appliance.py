"""``centralino run``: the whole appliance on one machine, with a demo company at first start.

Killed anywhere in here, the next start goes on from what is on disk: the demo document is one proposal that is either
committed or made again, certificates and passwords are made once, leftovers of processes are replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from rich.console import Console

from appliance.access.access import Access
from appliance.access.links import path_of
from appliance.access.passkeys import portal_url
from appliance.applier.client import ApplierClient
from appliance.console.portal_address import portal_address, portal_port
from appliance.core.document import Document
from appliance.core.errors import CentralinoError, RefusedError
from appliance.core.plan import Effect
from appliance.engine.launch import EngineLauncher
from appliance.engine.place import ami_port, has_firewall, has_turn, has_vpn
from appliance.engine.processes import Interrupted, end, interruptible, note, noted
from appliance.engine.progress import Steps
from appliance.engine.root import EngineRoot, ensure_root
from appliance.i18n import _
from appliance.organisation.model import Person, Secret
from appliance.paths import EnginePaths, Paths
from appliance.run import gate, web
from appliance.run.address import LOOPBACK, checked, propose_move
from appliance.run.card import show_card
from appliance.run.certificate import ensure_certificate
from appliance.run.demo import ADMINISTRATOR, PROVIDER_SECRET, demo
from appliance.run.engine_service import STOP_S, EngineService, running_engine
from appliance.run.provider import PROVIDER_AMI_PORT, provider_files
from appliance.run.supervisor import Program, Supervisor
from appliance.store import Store
from appliance.turn.addresses import turn_server
from appliance.turn.keeper import turn_keeper
from appliance.vpn.keeper import vpn_keeper

PASSWORD_BYTES: Final = 12
"""Entropy of a generated SIP password: 96 bits, 16 characters that can be typed."""


def start_and_watch(paths: Paths, address: str | None = None, console: Console | None = None) -> None:
    """Start everything, print the card, watch until SIGINT, SIGTERM or SIGHUP, stop everything.

    Such a signal while it starts stops what was started so far.

    :param address: where phones are to connect from now on; None: where they did (at first: on this machine only).

    Raises InvalidError and RefusedError for such an address that can't be.
    Raises RefusedError (``already_running``) when an appliance runs in this state directory.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    console = console or Console(highlight=False)
    address = checked(address) if address else None
    began = time.monotonic()
    with _only_one(paths), interruptible():
        supervisor = Supervisor(paths.state / "run" / "supervisor.json")
        try:
            document, clear = _start(paths, address, supervisor, console)
            show_card(
                console,
                document,
                clear,
                sign_in=_first_link(paths, document),
                seconds=time.monotonic() - began,
                stop=_("Ctrl-C stops everything; what you configured stays in {place}.").format(place=paths.state),
            )
            supervisor.run()
        except Interrupted:
            pass
        finally:
            supervisor.stop()
        with contextlib.suppress(OSError):  # the terminal may be what has gone
            console.print(_("Stopped."))


def _start(
    paths: Paths, address: str | None, supervisor: Supervisor, console: Console
) -> tuple[Document, dict[str, str]]:
    with Steps(console) as steps:
        steps.step(_("Engine root"))
        root = ensure_root(paths, console=console)
        launcher = EngineLauncher(root, paths.engine, ami_port=ami_port(), die_with_parent=False)
        launcher.prepare()
        ensure_certificate(paths.engine.tls, "appliance", ("localhost", LOOPBACK, address or LOOPBACK))
        launcher.grant(paths.engine.tls)
        web.prepare(paths)
        steps.step(_("Configuration applier"))
        supervisor.start(_program(paths, "applier", ready=paths.applier_socket))
        first = _propose_demo(paths, address or LOOPBACK)
        if first is not None:
            steps.step(_("Demo company: Demo Srl"))
            ApplierClient(paths.applier_socket).apply(first, offline=True)
        elif address is not None:
            steps.step(_("Phones connect at {address}").format(address=address))
            _move(paths, address)
        document, clear = _document(paths)
        if PROVIDER_SECRET in clear:
            steps.step(_("Simulated provider"))
            supervisor.start(_provider(paths, root, clear[PROVIDER_SECRET]))
        steps.step(_("Engine"))
        supervisor.start(EngineService("engine", launcher))
        if has_vpn():
            steps.step(_("Voice VPN"))
            supervisor.start(_program(paths, "vpn"))
            supervisor.start(_inside(paths))
        if has_firewall():
            steps.step(_("Judge of bans"))
            supervisor.start(_bans(paths))
        if has_turn():
            steps.step(_("TURN server"))
            supervisor.start(_program(paths, "turn"))
        steps.step(_("Call history"))
        supervisor.start(_program(paths, "history"))
        ensure_certificate(paths.gate, "portal", ("localhost", LOOPBACK, address or LOOPBACK, *_turn_hosts(document)))
        gate.prepare(paths)
        web.prepare(paths)  # also what the steps before have made
        steps.step(_("Notifications"))
        supervisor.start(_notifications(paths))
        steps.step(_("Live hub"))
        supervisor.start(_hub(paths))
        steps.step(_("Portal"))
        supervisor.start(_console(paths))
        supervisor.start(_gate(paths))
    return document, clear


def _turn_hosts(document: Document) -> tuple[str, ...]:
    """Names by which browsers ask for the TURN server: by TLS they want to find them in the certificate."""
    server = turn_server(document) if has_turn() else None
    return () if server is None else tuple(address.host for address in server.addresses)


def _first_link(paths: Paths, document: Document) -> str:
    """A one-time link for the administrator, as long as that has no password."""
    if document.find(Person, ADMINISTRATOR) is None:
        return ""
    with Access.open(paths) as access:
        if access.held(ADMINISTRATOR).password:
            return ""
        return portal_url() + path_of(access.links.make(ADMINISTRATOR, author="centralino"))


def _console(paths: Paths) -> Program:
    return Program(
        "console",
        web.confined(
            paths,
            [sys.executable, "-m", "appliance.console"],
            writable=(paths.store, paths.console, paths.web),
            readable=(paths.run, paths.names.parent, paths.handed_to("console")),
        ),
        log=paths.state / "log" / "console.log",
        pid_file=paths.run / "console.pid",
        ready=lambda: web.listens(paths.console_socket),
    )


def _hub(paths: Paths) -> Program:
    """Not waited for: without it, all but the browsers' live view works."""
    return Program(
        "hub",
        web.confined(
            paths,
            [sys.executable, "-m", "appliance.hub"],
            writable=(paths.store, paths.hub, paths.web),
            readable=(paths.live,),
        ),
        log=paths.state / "log" / "hub.log",
        pid_file=paths.run / "hub.pid",
    )


def _gate(paths: Paths) -> Program:
    return Program(
        "gate",
        web.confined(paths, gate.command(paths), writable=(paths.door,), readable=(paths.gate, paths.web)),
        log=paths.state / "log" / "gate.log",
        pid_file=paths.run / "gate.pid",
        ready=lambda: web.listens_at(portal_address(), portal_port()),
    )


def _notifications(paths: Paths) -> Program:
    return Program(
        "notifications",
        web.confined(
            paths,
            [sys.executable, "-m", "appliance.notifications"],
            writable=(paths.store,),
            readable=(paths.handed_to("notifications"), paths.live),
        ),
        log=paths.state / "log" / "notifications.log",
        pid_file=paths.run / "notifications.pid",
    )


def _bans(paths: Paths) -> Program:
    return _program(paths, "bans", module="appliance.firewall.bans")


def _inside(paths: Paths) -> Program:
    """The centre's service for edges, within the tunnels."""
    return _program(paths, "inside", module="appliance.vpn.inside")


def _program(paths: Paths, name: str, ready: Path | None = None, module: str = "") -> Program:
    return Program(
        name,
        [sys.executable, "-m", module or f"appliance.{name}"],
        log=paths.state / "log" / f"{name}.log",
        pid_file=paths.run / f"{name}.pid",
        ready=None if ready is None else lambda: _accepts(ready),
        env=web.group_environment(),
    )


def _accepts(socket_path: Path) -> bool:
    try:
        ApplierClient(socket_path).state()
    except CentralinoError:
        return False
    return True


def _propose_demo(paths: Paths, address: str) -> int | None:
    """Number of the revision with the demo company, or None when the document isn't empty."""
    with Store.default(paths) as store:
        if store.head().number:
            return None
        for left in store.open_proposals():
            store.fail(left.number, "given up by a start that was interrupted")
        company = demo(address, lambda: secrets.token_urlsafe(PASSWORD_BYTES))
        keyring = store.keyring(paths.secret_key)
        put = [
            Secret(id=item.id, value=keyring.seal(item.id, company.secrets[item.id]))
            if isinstance(item, Secret)
            else item
            for item in company.objects
        ]
        return store.propose(put, (), base=0, author="centralino", message="Demo company").number


def _move(paths: Paths, address: str) -> None:
    running = running_engine(paths.engine.control_socket) is not None
    with Store.default(paths) as store:
        revision = propose_move(store, address, running=running)
    if revision is not None:
        ApplierClient(paths.applier_socket).apply(revision, allow=[each.value for each in Effect], offline=True)


def _document(paths: Paths) -> tuple[Document, dict[str, str]]:
    with Store.default(paths) as store:
        document = store.document()
        return document, store.keyring(paths.secret_key).reveal(document)


def _provider(paths: Paths, root: EngineRoot, password: str) -> EngineService:
    launcher = EngineLauncher(root, _provider_paths(paths), ami_port=PROVIDER_AMI_PORT)
    launcher.prepare()
    directory = launcher.paths.current
    directory.mkdir(exist_ok=True)
    for name, text in provider_files(password, launcher.read_ami_secret()).items():
        fresh = directory / f"{name}.new"
        fresh.touch(mode=0o640)
        fresh.write_text(text)
        fresh.rename(directory / name)
    launcher.grant(launcher.paths.config)
    return EngineService("provider", launcher)


def _provider_paths(paths: Paths) -> EnginePaths:
    return EnginePaths(paths.state / "provider")


@contextmanager
def _only_one(paths: Paths) -> Iterator[None]:
    """Hold the lock of the state directory; the kernel frees it when we die."""
    place = paths.state / "run"
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    with (place / "supervisor.lock").open("a+") as lock:
        if not _locked(lock):
            raise RefusedError(
                _("the appliance runs already in {place}").format(place=paths.state),
                _("stop it: centralino stop"),
                error_id="already_running",
            )
        pid_file = place / "supervisor.pid"
        note(pid_file, os.getpid())
        try:
            yield
        finally:
            pid_file.unlink(missing_ok=True)


def _locked(lock: IO[str]) -> bool:
    """Whether we got it; whoever only looks (``centralino status``) has it for an instant."""
    deadline = time.monotonic() + 0.5
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def supervisor_pid(paths: Paths) -> int | None:
    """Process id of the supervisor that runs in this state directory: the one that holds its lock."""
    place = paths.state / "run"
    try:
        with (place / "supervisor.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return noted(place / "supervisor.pid")
    except OSError:
        return None
    return None


def end_leftovers(paths: Paths) -> list[str]:
    """End what a supervisor that was killed has left; its names. The lock keeps a start from coming in between.

    Raises RefusedError (``already_running``) when an appliance runs in this state directory.
    """
    ended: list[str] = []
    if not (paths.state / "run").is_dir():
        return ended
    with _only_one(paths):
        for program in (
            _gate(paths),
            _console(paths),
            _hub(paths),
            _notifications(paths),
            _program(paths, "history"),
            _bans(paths),
            _inside(paths),
            _program(paths, "vpn"),
            _program(paths, "turn"),
            _program(paths, "applier"),
        ):
            if program.leftover() is not None:
                program.stop()
                ended.append(program.name)
        ended += vpn_keeper(paths).stop()
        ended += ["coturn"] if turn_keeper(paths).stop() else []
        for name, place in (("engine", paths.engine), ("provider", _provider_paths(paths))):
            pid = running_engine(place.control_socket)
            if pid is not None:
                end(pid, STOP_S)
                ended.append(name)
        (paths.state / "run" / "supervisor.json").unlink(missing_ok=True)
    return ended
