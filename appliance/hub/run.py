"""``python -m appliance.hub``: listens on a Unix socket, behind the gate, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any, Final

from hypercorn.asyncio import serve
from hypercorn.config import Config

from appliance.access.access import Access
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.ami_stream import Place
from appliance.engine.place import ami_port, engine_namespace, has_vpn
from appliance.engine.plan import AMI_HUB_USER
from appliance.engine.unix import listening
from appliance.history.service import Alarm, History
from appliance.hub.app import GOING_AWAY, MESSAGE_MAX, create_app
from appliance.hub.directory import Directory, directory
from appliance.hub.service import Alarms, Hub
from appliance.hub.sign_in import Sessions
from appliance.hub.sign_in import visible as visible_to_roles
from appliance.hub.subject import Authenticator, Visible
from appliance.notifications.watching import VPN
from appliance.paths import Paths
from appliance.store import Store
from appliance.store.history import open_history
from appliance.vpn.asking import told

_log = logging.getLogger("centralino.hub")

SOCKET_MODE: Final = 0o600
STOP_S: Final = 3.0
"""Seconds that browsers get to take the last bytes when the hub stops."""
COLLECT: Final = (700, 10, 100)
"""Thresholds of Python's garbage collector. A look through everything that a thousand browsers have takes it 0.2 s, in which
nobody hears anything; with its own last threshold, 10, it looks every few seconds while calls come and go. Not more than
this: 16 kB of each browser that has gone wait for that look.
"""


def main(authenticator: Authenticator | None = None, visible: Visible = visible_to_roles) -> int:
    """Run until told to stop. Exit code 0, or 1 with one line why not.

    :param authenticator: knows whose session a cookie is; None: the portal's sign-in.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    gc.set_threshold(*COLLECT)
    paths = Paths.default()
    try:
        with contextlib.ExitStack() as stack:
            if authenticator is None:
                authenticator = _sign_in(paths, stack)
            listener = stack.enter_context(listening(paths.hub_socket, SOCKET_MODE))
            asyncio.run(_serve(listener, engine_place(paths, ami_port()), paths, authenticator, visible))
    except CentralinoError as error:
        _log.error("%s (%s)", error, error.hint)
        return 1
    return 0


def _sign_in(paths: Paths, stack: contextlib.ExitStack) -> Sessions:
    store = stack.enter_context(Store.default(paths))
    return Sessions(store, stack.enter_context(Access.open(paths)))


async def _serve(
    listener: socket.socket,
    place: Place,
    paths: Paths,
    authenticator: Authenticator,
    visible: Visible,
) -> None:
    hub = Hub(
        place,
        visible,
        directory_reader(paths),
        alarm_reader(paths),
        paths.hub / "memory.json",
        (lambda: told(paths.vpn_socket)) if has_vpn() else None,
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    async def until_stopped() -> None:
        await stop.wait()
        for browser in list(hub.sockets.browsers):
            browser.close(GOING_AWAY)

    await serve(create_app(hub, authenticator), _configuration(listener), shutdown_trigger=until_stopped)


def _configuration(listener: socket.socket) -> Config:
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.websocket_max_message_size = MESSAGE_MAX
    config.graceful_timeout = STOP_S
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config


def engine_place(paths: Paths, port: int) -> Place:
    """Where the engine's manager interface is, with our own password there (placed by :mod:`appliance.run.web`).

    :raises UnavailableError: ``ami_secret``: there is none yet.
    """
    try:
        secret = paths.hub_ami_secret.read_text()
    except OSError as error:
        raise UnavailableError(
            f"the password of the engine's manager interface can't be read: {error.strerror}",
            "start the engine once, it makes it: make run",
            error_id="ami_secret",
        ) from error
    return Place(lambda: secret, port=port, username=AMI_HUB_USER, network_namespace=engine_namespace())


def directory_reader(paths: Paths) -> Callable[[int | None], Directory | None]:
    """Reads the directory of the newest revision, if it is another one than is known."""
    opened: list[Store] = []

    def read(known: int | None) -> Directory | None:
        if not opened:
            opened.append(Store.default(paths))
        try:
            revision = opened[0].head().number
            return None if revision == known else directory(opened[0].document(), revision)
        except CentralinoError:
            opened.pop().close()
            raise

    return read


def alarm_reader(paths: Paths) -> Callable[[], Alarms]:
    """Reads the alarms that last."""
    opened: list[History] = []

    def read() -> Alarms:
        if not opened:
            if "CENTRALINO_HISTORY_URL" not in os.environ and not paths.history_db.exists():
                return ()
            opened.append(History(open_history(paths=paths)))
        try:
            # the voice VPN's it is told live, by the VPN itself
            return [alarm_data(alarm) for alarm in opened[0].alarms() if not alarm.code.startswith(VPN)]
        except CentralinoError:
            opened.pop().database.close()
            raise

    return read


def alarm_data(alarm: Alarm) -> dict[str, Any]:
    """An alarm as the room ``alarms`` shows it."""
    return {"id": alarm.code, "severity": alarm.severity, "message": alarm.message, "raised": alarm.raised}
