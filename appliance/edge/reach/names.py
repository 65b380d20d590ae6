"""What each of the machine's name servers says of a name: its addresses, or what is wrong with the answer, and how long it took.

By UDP, and by TCP where the answer doesn't fit (RFC 7766). Nothing is kept, and one server's answer says nothing of another's.

What happens when…

* a server is silent: :data:`TIMEOUT_S` for each kind of address; when it says nothing of the first kind, it isn't asked for the other;
* it answers with noise, or to another question: that is told, and nothing of it is believed;
* it is on this machine itself (127.0.0.53, say): it is asked without the device, for it goes its own way.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype

from appliance.core.errors import Fault, InvalidError, UnavailableError
from appliance.edge.reach.way import Way, checked_device, checked_host, in_words
from appliance.i18n import later

SYSTEM: Final = Path("/etc/resolv.conf")
TIMEOUT_S: Final = 2.0
"""For one question to one server."""
PORT: Final = 53
SERVERS_MAX: Final = 8
ADDRESSES_MAX: Final = 16
_KINDS: Final = (dns.rdatatype.A, dns.rdatatype.AAAA)

_SILENT: Final = later("it doesn't answer")
_NOISE: Final = later("what it answers can't be read")
_CODES: Final = {
    dns.rcode.NXDOMAIN: later("it says that there is no such name"),
    dns.rcode.REFUSED: later("it refuses to answer us"),
    dns.rcode.SERVFAIL: later("it says that it can't find out now"),
    dns.rcode.FORMERR: later("it says that it doesn't understand the question"),
    dns.rcode.NOTIMP: later("it says that it can't answer such questions"),
}


@dataclass(frozen=True, slots=True)
class Said:
    """What one server says. ``fault``: in words, empty: nothing is wrong; ``ms``: for all questions together."""

    server: str
    addresses: tuple[str, ...]
    fault: str
    ms: float


def servers_in(text: str) -> tuple[str, ...]:
    """The name servers of a ``resolv.conf``, in order (pure). Lines that name none are passed over, as the C library does."""
    found: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            try:
                address = str(ipaddress.ip_address(words[1]))
            except ValueError:
                continue
            if address not in found:
                found.append(address)
    return tuple(found[:SERVERS_MAX])


def ask_all(host: str, device: str = "", path: Path = SYSTEM) -> Iterator[Said]:
    """What each server says, one after the other.

    :raises UnavailableError: ``no_name_servers``. :raises NotFoundError: ``no_device``. :raises InvalidError: ``bad_host``, ``bad_device``.
    """
    checked_host(host)
    if _is_address(host):
        fault = Fault(
            "host", f"{host!r} is an address, which no name server is asked for", "vpn.example.com", "bad_host"
        )
        raise InvalidError([fault])
    if device:
        checked_device(device)
    try:
        servers = servers_in(path.read_text(errors="replace"))
    except OSError:
        servers = ()
    if not servers:
        raise UnavailableError(
            f"{path} names no name server",
            "it is written by what gets this machine its address: does that work? Else by hand: nameserver ADDRESS",
            error_id="no_name_servers",
        )
    for server in servers:
        yield ask(host, server, device)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def ask(host: str, server: str, device: str = "", port: int = PORT) -> Said:
    """What one server says of a name. :raises NotFoundError: ``no_device``."""
    address = ipaddress.ip_address(server)
    way = Way(address, "" if address.is_loopback else device)
    began, found, faults = time.monotonic(), [], []
    for kind in _KINDS:
        addresses, fault, silent = _asked(host, kind, way, port)
        found += addresses
        faults += [fault] if fault else []
        if silent:
            break
    if not found and not faults:
        faults = [later("it knows the name, which has no address")]
    return Said(server, tuple(found[:ADDRESSES_MAX]), faults[0] if faults else "", (time.monotonic() - began) * 1000)


def _asked(host: str, kind: dns.rdatatype.RdataType, way: Way, port: int) -> tuple[list[str], str, bool]:
    """One question → addresses, what is wrong, whether nobody is there."""
    try:
        question = dns.message.make_query(dns.name.from_text(host), kind)
        answer = _answer(question, way, port)
    except dns.exception.Timeout:
        return [], _SILENT, True
    except dns.query.BadResponse:
        return [], later("it answers another question than ours"), False
    except (dns.exception.DNSException, EOFError, ValueError):
        return [], _NOISE, False
    except OSError as error:
        return [], in_words(error), True
    if answer.rcode() != dns.rcode.NOERROR:
        message = f"it answers with error {dns.rcode.to_text(answer.rcode())}"
        return [], _CODES.get(answer.rcode(), message), False
    found = [str(record.address) for each in answer.answer if each.rdtype == kind for record in each]
    return found, "", False


def _answer(question: dns.message.Message, way: Way, port: int) -> dns.message.Message:
    """By UDP, else by TCP; both through sockets of our own, which are connected: only so the kernel tells that nobody listens."""
    where = str(way.address)
    with way.opened(socket.SOCK_DGRAM) as made:
        made.connect(way.to(port))
        answer = dns.query.udp(question, where, TIMEOUT_S, port, sock=made, ignore_unexpected=True)
    if not answer.flags & dns.flags.TC:
        return answer
    with way.opened(socket.SOCK_STREAM) as made:
        made.settimeout(TIMEOUT_S)
        try:
            made.connect(way.to(port))
        except TimeoutError as error:
            raise dns.exception.Timeout from error
        made.setblocking(False)
        return dns.query.tcp(question, where, TIMEOUT_S, port, sock=made)
