"""The console's process: Flask under hypercorn, one process with threads for its pages, by TLS, at addresses that only the branch's own network reaches.

It listens at 127.0.0.1, at :data:`FIXED` (where the router has that address: a telephone or laptop on the cable finds it without any DHCP), and at this machine's addresses
within the site's networks, never at a line's. When those become others it ends, and its service starts it again.

What happens when…

* the edge doesn't run: pages say so, and what to do;
* an address isn't there yet: it is listened at all the same (``IP_FREEBIND``);
* the certificate can't be written: it doesn't start, and says why.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import signal
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config
from werkzeug.wsgi import ClosingIterator

from appliance.console.technician.app import BODY_MAX, Services, create_app
from appliance.console.technician.door import Door
from appliance.console.technician.paths import ConsolePaths
from appliance.console.technician.samples import Samples
from appliance.console.technician.trying import Trying
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.edge.asking import Edge
from appliance.edge.paths import EdgePaths
from appliance.vpn import files

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_log = logging.getLogger("centralino.edge.console")

FIXED: Final = "169.254.1.1"
"""Link-local (RFC 3927)."""
FREEBIND: Final = 15
"""``IP_FREEBIND`` of ip(7), which Python doesn't name."""
BACKLOG: Final = 32
HEAD_MAX: Final = 16 * 1024
THREADS: Final = 4
WATCH_S: Final = 10.0


def wanted(told: Mapping[str, Any], own: Iterable[str]) -> tuple[str, ...]:
    """Where to listen: see this module. ``told``: how the edge stands; ``own``: addresses of this machine."""
    networks = [ipaddress.ip_network(each) for each in told.get("networks", ())]
    inside = {each for each in own if any(ipaddress.ip_address(each) in network for network in networks)}
    return ("127.0.0.1", FIXED, *sorted(inside))


def own_addresses() -> list[str]:
    """Of this machine. None that can't be told."""
    try:
        said = subprocess.run(["ip", "-j", "address"], capture_output=True, check=True, timeout=5).stdout
        found = [each["local"] for link in json.loads(said) for each in link.get("addr_info", ()) if "local" in each]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        _log.warning("this machine's addresses can't be read: %s", error)
        return []
    return [str(each) for each in found]


def serve(paths: ConsolePaths, edge_paths: EdgePaths, places: Sequence[str], port: int, *, watch: bool) -> None:
    """Until SIGTERM or SIGINT. ``watch``: end also when :func:`wanted` are others than these ``places``.

    :raises UnavailableError: ``address``: one of them can't be had; ``storage``: the certificate can't be read.
    """
    edge = Edge(edge_paths.orders)
    listeners = [_bound(place, port) for place in places]
    samples = Samples(edge.status)
    samples.start()
    app = create_app(Services(edge, Door(paths.code), samples, Trying(edge.status)))
    _log.info("listens at %s port %d", ", ".join(places), port)
    with files.explained("the console's certificate"):
        asyncio.run(_run(app, _configuration(paths, listeners), edge, tuple(places) if watch else None))


async def _run(app: WSGIApplication, config: Config, edge: Edge, places: tuple[str, ...] | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="page"))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    watching = asyncio.create_task(_watch(edge, places, stopping)) if places is not None else None
    await hypercorn_serve(answering(app), config, shutdown_trigger=stopping.wait, mode="wsgi")
    if watching is not None:
        watching.cancel()


def answering(app: WSGIApplication) -> WSGIApplication:
    """``app``, but no answer's body is without any part: hypercorn (0.18) begins to answer with the first one, and says 500 where there is none."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        parts = app(environ, start_response)
        return ClosingIterator(chain(parts, (b"",)), getattr(parts, "close", None))

    return call


async def _watch(edge: Edge, places: tuple[str, ...], stopping: asyncio.Event) -> None:
    """Other addresses: our service starts us again."""
    while True:
        await asyncio.sleep(WATCH_S)
        found = await asyncio.to_thread(looked, edge)
        if found is not None and found != places:
            _log.info("addresses are %s now: ends, to be started again", ", ".join(found))
            stopping.set()
            return


def looked(edge: Edge) -> tuple[str, ...] | None:
    """Where to listen now; None: without the edge nobody knows."""
    try:
        return wanted(edge.status(), own_addresses())
    except CentralinoError:
        return None


def _bound(place: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in place else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_IP, FREEBIND, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((place, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UnavailableError(
            f"can't listen at {place} port {port}: {error.strerror}", "does another console run? Else --listen and --port", error_id="address"
        ) from error  # fmt: skip
    return listener


def _configuration(paths: ConsolePaths, listeners: Iterable[socket.socket]) -> Config:
    config = Config()
    config.bind = [f"fd://{each.detach()}" for each in listeners]
    config.certfile, config.keyfile = str(paths.certificate), str(paths.key)
    config.alpn_protocols = ["http/1.1"]
    config.wsgi_max_body_size = BODY_MAX
    config.h11_max_incomplete_size = HEAD_MAX
    config.keep_alive_timeout, config.read_timeout, config.graceful_timeout = 15.0, 20, 2.0
    config.ssl_handshake_timeout = 5
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    return config
