"""``python -m appliance.applier``: the daemon.

Environment: see :mod:`appliance.paths` and :mod:`appliance.engine.place`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys

import structlog

from appliance.applier.apply import Applier
from appliance.applier.desired import Desired
from appliance.applier.generations import Generations
from appliance.applier.handing import Handing
from appliance.applier.journal import Journal
from appliance.applier.keyfile import KeyFile
from appliance.applier.link import EngineLink, Settings
from appliance.applier.server import Server, group_id
from appliance.applier.service import Service
from appliance.core.errors import CentralinoError, RefusedError
from appliance.engine.place import ami_port, engine_namespace, has_firewall, has_turn, has_vpn
from appliance.engine.trim import ENGINE_GID
from appliance.firewall.kernel import Kernel
from appliance.paths import Paths
from appliance.store import Store


def make(paths: Paths, settings: Settings, store: Store) -> Service:
    """The service over real parts."""
    group = ENGINE_GID if os.geteuid() == 0 else None
    firewall = Kernel(settings.network_namespace) if settings.firewall else None
    applier = Applier(Generations(paths.engine.config, group), EngineLink(paths.engine, settings), firewall)
    desired = Desired(paths, settings, KeyFile(store, paths.secret_key))
    readers = group_id() if os.geteuid() == 0 else None
    return Service(store, Journal.load(paths.applier_state), desired, applier, Handing(paths, readers))


def settings_from_environment() -> Settings:
    """Where the engine's manager interface is, whether the firewall is ours, and what else of the host runs here."""
    return Settings(ami_port(), engine_namespace(), firewall=has_firewall(), vpn=has_vpn(), turn=has_turn())


def only_one(paths: Paths) -> int:
    """Take the lock of the state directory, for the life of this process. :raises RefusedError: another has it."""
    lock = paths.applier_state.with_name("lock")
    lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RefusedError("an applier runs already for this state directory", error_id="already_running") from None
    return handle


def _log_lines() -> None:
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def main() -> int:
    """Run until SIGTERM or SIGINT; exit code 1 when it can't start."""
    os.umask(0o077)
    _log_lines()
    paths = Paths.default()
    try:
        only_one(paths)
        with Store.default(paths) as store:
            service = make(paths, settings_from_environment(), store)
            server = Server(paths.applier_socket, service)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: server.stop())
            service.desired.names.start()
            try:
                server.run()
            finally:
                service.desired.names.stop()
    except CentralinoError as error:
        structlog.get_logger("centralino.applier").error("cannot_start", error_id=error.error_id, message=error.message)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
