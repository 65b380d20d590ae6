"""Where phones connect: moving the listeners to another address of this machine, and what address it has on the LAN."""

from __future__ import annotations

import ipaddress
import socket

from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError, RefusedError
from appliance.engine.ports import is_ours
from appliance.i18n import _
from appliance.pbx.media.model import Listener, Zone
from appliance.store import Store

LOOPBACK = "127.0.0.1"


def checked(address: str) -> str:
    """The address in its usual form.

    :raises InvalidError: it isn't one, or not of this machine.
    """
    try:
        usual = str(ipaddress.ip_address(address))
    except ValueError:
        raise InvalidError(
            [Fault("--address", _("is no IP address"), _("for example 192.0.2.10"), "address")]
        ) from None
    if not is_ours(usual):
        mine = lan_address()
        hint = _("this machine has {address}").format(address=mine) if mine else _("see: ip -brief address")
        raise InvalidError([Fault("--address", _("is not an address of this machine"), hint, "address")])
    return usual


def lan_address() -> str | None:
    """This machine's address towards other networks; None: it has none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if ipaddress.ip_address(address).is_loopback else address


def phone_addresses(document: Document) -> list[str]:
    """Addresses at which phones and browsers connect; those of providers' lines are another matter."""
    return sorted({listener.address for listener in _of_phones(document)})


def _of_phones(document: Document) -> list[Listener]:
    return [listener for listener in document.all(Listener).values() if listener.zone is not Zone.TRUNKS]


def propose_move(store: Store, address: str, *, running: bool) -> int | None:
    """Number of a revision with all listeners of phones at ``address``; None: they are.

    :param running: the engine runs and goes on with its calls; moving would drop them.
    :raises RefusedError: ``several_addresses``, ``engine_running``; the hint says what to type.
    """
    document = store.document()
    found = phone_addresses(document)
    if found == [address]:
        return None
    moved = [listener.model_copy(update={"address": address}) for listener in _of_phones(document)]
    if len(found) > 1 or running:
        commands = "; ".join(f"centralino listener set {item.id} address={address}" for item in moved)
        reason = _("the engine runs already") if running else _("the listeners have several addresses")
        raise RefusedError(
            _("phones aren't moved to {address}: {reason}").format(address=address, reason=reason),
            _("start without --address, then type: {commands}; centralino commit --allow-drops").format(
                commands=commands
            ),
            error_id="engine_running" if running else "several_addresses",
        )
    message = f"Phones connect at {address}"
    return store.propose(moved, (), base=store.head().number, author="centralino", message=message).number
