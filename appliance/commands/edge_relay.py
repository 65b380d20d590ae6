"""``centralino edge relay``: several lines to an OpenVPN server of another maker."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import socket
import threading
from typing import TYPE_CHECKING, Annotated, Final

import typer

from appliance.commands.common import out
from appliance.core.errors import Fault, InvalidError
from appliance.i18n import _

if TYPE_CHECKING:
    from appliance.edge.foreign import Foreign
    from appliance.failover.model import Copies

ROUND_S: Final = 1.0
SOCKET_MODE: Final = 0o660


def relay(
    server: Annotated[
        str,
        typer.Argument(metavar="HOST[:PORT]", help=_("The OpenVPN server; its port is 1194 unless you say otherwise")),
    ],
    line: Annotated[
        list[str] | None,
        typer.Option(
            "--line",
            metavar="DEVICE[:ROLE]",
            help=_("A line's interface, and whether it is primary, backup or metered; two or more"),
        ),
    ] = None,
    copies: Annotated[str, typer.Option(help=_("What goes over all lines: calls, or always everything"))] = "calls",
    port: Annotated[
        int, typer.Option(min=1, max=65535, help=_("Where OpenVPN's client finds it, at 127.0.0.1"))
    ] = 1195,
) -> None:
    """Until SIGTERM or Ctrl-C."""
    from appliance.edge.foreign import Foreign, lines_of, socket_of
    from appliance.edge.foreign import place as place_of
    from appliance.engine.unix import listening
    from appliance.vpn.enrolment.invitation import read_centre
    from appliance.vpn.files import explained

    lines, to, wanted = lines_of(line or ()), read_centre(server), _copies(copies)
    place = place_of()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with explained(str(place)):
        for directory in (place.parent, place):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = Foreign(place, to.host, to.port, lines, wanted, ("127.0.0.1", port))
    with listening(socket_of(place), SOCKET_MODE) as listener:
        listener.listen(8)
        out.print(_("OpenVPN's client finds it by: remote 127.0.0.1 {port} udp4").format(port=port))
        _keep(made, listener)


def _keep(made: Foreign, listener: socket.socket) -> None:
    """Until a signal; meanwhile whoever asks is told."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    listener.settimeout(ROUND_S)
    while not stopping.is_set():
        try:
            made.tend()
        except OSError as error:  # what runs goes on
            logging.getLogger("centralino.edge").error("%s", error)
        with contextlib.suppress(OSError):
            asker, _address = listener.accept()
            with asker:
                asker.settimeout(ROUND_S)
                asker.sendall(json.dumps(made.told()).encode())
    made.stop()


def _copies(said: str) -> Copies:
    from appliance.failover.model import Copies

    if said not in (Copies.CALLS, Copies.ALWAYS):  # how a line is can't be measured before a server that isn't ours
        message = _("is {what!r}, which is neither calls nor always").format(what=said)
        raise InvalidError([Fault("--copies", message, "--copies calls", "usage")])
    return Copies(said)
