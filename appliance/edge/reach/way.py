"""To which host a test goes, and by which device; and the sockets for it.

What happens when…

* a name can't be looked up, or its name servers are silent: :data:`LOOK_UP_S`, then it is said;
* a name has IPv4 and IPv6 addresses: the first one of a kind that the device has an address for;
* the kernel keeps this user from pinging: it is said, with the setting that permits it.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from appliance.core.errors import Fault, InvalidError, NotFoundError, UnavailableError
from appliance.edge.reach.reports import Report
from appliance.i18n import later

LOOK_UP_S: Final = 5.0
TIMESTAMPS: Final = 35
"""``SO_TIMESTAMPNS``: the kernel tells when a packet came."""
_BIND_TO_DEVICE: Final = 25
_DEVICE: Final = re.compile(r"(?!-|\.\.?$)[^\s/:%]{1,15}")
"""What the kernel takes for an interface's name (``dev_valid_name``), but for a leading dash, which would be an option elsewhere."""

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Way:
    """``device``: by which it goes; empty: as the routes say."""

    address: Address
    device: str = ""

    @property
    def six(self) -> bool:
        """Whether it is IPv6."""
        return isinstance(self.address, IPv6Address)

    @property
    def family(self) -> socket.AddressFamily:
        """Of its sockets."""
        return socket.AF_INET6 if self.six else socket.AF_INET

    def to(self, port: int = 0) -> tuple[str, int] | tuple[str, int, int, int]:
        """For ``sendto``. An address that is good on one link only (RFC 4007) gets the device's number."""
        if not isinstance(self.address, IPv6Address):
            return str(self.address), port
        scope = self.address.scope_id or (self.device if self.address.is_link_local else "")
        bare = str(self.address).partition("%")[0]
        return bare, port, 0, _number(scope) if scope else 0

    def is_it(self, sender: str) -> bool:
        """Whether an address that a socket told is the one that was asked."""
        return sender.partition("%")[0] == str(self.address).partition("%")[0]

    def opened(self, kind: int, protocol: int = 0) -> socket.socket:
        """A socket that waits for nothing, by the device.

        :raises NotFoundError: ``no_device``. :raises UnavailableError: ``ping_not_permitted``, or what the kernel says.
        """
        try:
            made = socket.socket(self.family, kind | socket.SOCK_NONBLOCK, protocol)
        except PermissionError as error:
            raise _not_permitted() from error
        except OSError as error:
            raise UnavailableError(in_words(error)) from error
        try:
            if self.device:
                made.setsockopt(socket.SOL_SOCKET, _BIND_TO_DEVICE, self.device.encode() + b"\0")
            made.setsockopt(socket.SOL_SOCKET, TIMESTAMPS, 1)
        except OSError as error:
            made.close()
            if error.errno == errno.ENODEV:
                raise no_device(self.device) from error
            raise UnavailableError(in_words(error)) from error
        return made

    def ping_socket(self) -> socket.socket:
        """For ICMP echoes. :raises UnavailableError: ``ping_not_permitted``."""
        return self.opened(socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP)


def checked_host(text: str) -> str:
    """A host's name or address. :raises InvalidError: ``bad_host``: it is neither."""
    from pydantic import TypeAdapter  # an edge's console is small until somebody asks

    from appliance.core.fields import Host

    bare, percent, scope = text.partition("%")
    try:
        TypeAdapter(Host).validate_python(bare)
        if percent:
            ipaddress.IPv6Address(bare)
            _checked(scope)
        elif ":" in bare or re.fullmatch(r"[0-9.]+", bare):
            ipaddress.ip_address(bare)
    except ValueError as error:  # pydantic's is one
        fault = Fault(
            "host", f"{text!r} is neither a host's name nor an address", "vpn.example.com, 192.0.2.1", "bad_host"
        )
        raise InvalidError([fault]) from error
    return text


def checked_device(text: str) -> str:
    """An interface's name. :raises InvalidError: ``bad_device``: it can be none."""
    try:
        return _checked(text)
    except ValueError as error:
        fault = Fault("device", f"{text!r} can't be an interface", "an interface: eth0, wwan0", "bad_device")
        raise InvalidError([fault]) from error


def _checked(text: str) -> str:
    if not _DEVICE.fullmatch(text) or not text.isprintable():
        raise ValueError(text)  # nobody reads it
    return text


def no_device(device: str) -> NotFoundError:
    """There is none of that name."""
    return NotFoundError(f"there is no interface {device!r}", "which there are: ip link", error_id="no_device")


def look_up(host: str, device: str = "") -> Way:
    """The way to a host, by its address or its name.

    :raises UnavailableError: ``name_unknown``. :raises InvalidError: ``bad_host``, ``bad_device``.
    """
    checked_host(host)
    if device:
        checked_device(device)
    try:
        return Way(ipaddress.ip_address(host), device)
    except ValueError:
        pass  # a name
    addresses = _addresses(host)
    if not addresses:
        raise UnavailableError(
            f"the name {host!r} can't be looked up here",
            f"what each name server says: centralino edge dns {host}",
            error_id="name_unknown",
        )
    ways = [Way(address, device) for address in addresses]
    return next((way for way in ways if leads_somewhere(way)), ways[0])


def leads_somewhere(way: Way) -> bool:
    """Whether the kernel would send there, with an address of this machine of that kind. Nothing is sent."""
    try:
        with way.opened(socket.SOCK_DGRAM) as made:
            made.connect(way.to(9))
            own = ipaddress.ip_address(str(made.getsockname()[0]).partition("%")[0])
    except (OSError, UnavailableError):
        return False
    return not own.is_loopback and (not own.is_link_local or way.address.is_link_local)


def _addresses(name: str) -> Sequence[Address]:
    """By the system's resolver, which may take its time: a thread of its own waits for it."""
    found: list[Address] = []

    def ask() -> None:
        try:
            for each in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM):
                found.append(ipaddress.ip_address(str(each[4][0])))
        except (OSError, UnicodeError, ValueError):
            return

    return tuple(found) if _in_time(ask, LOOK_UP_S) else ()


def _in_time(action: Callable[[], None], seconds: float) -> bool:
    thread = threading.Thread(target=action, name="look-up", daemon=True)
    thread.start()
    thread.join(seconds)
    return not thread.is_alive()


def _number(device: str) -> int:
    try:
        return int(device) if device.isdigit() else socket.if_nametoindex(device)
    except OSError as error:
        raise no_device(device) from error


def _not_permitted() -> UnavailableError:
    return UnavailableError(
        "the kernel lets this user send no ping",
        "as root: sysctl -w net.ipv4.ping_group_range='0 2147483647'; for good: the same line in /etc/sysctl.d/",
        error_id="ping_not_permitted",
    )


def said_by(report: Report) -> str:
    """What somebody reports, for people; empty: nothing is wrong. The kernel reports in this machine's own name who doesn't answer to ARP."""
    return report.reason if report.words and _is_ours(report.by) else report.words


def _is_ours(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind((address, 0))
    except OSError:
        return False
    return True


_WORDS: Final = {
    errno.ENETUNREACH: later("this machine has no route there"),
    errno.EADDRNOTAVAIL: later("this machine has no address for that"),
    errno.EHOSTUNREACH: later("nobody answers there, nor where packets for it would go next"),
    errno.EPERM: later("this machine's own firewall stops it"),
    errno.EACCES: later("this machine's own routes or firewall forbid it"),
    errno.ECONNREFUSED: later("the host answers that nothing listens there"),
    errno.ENETDOWN: later("the interface is off"),
    errno.EMSGSIZE: later("the packet is too large for the way"),
}


def in_words(error: OSError) -> str:
    """What the kernel says, for people."""
    return _WORDS.get(error.errno or 0, error.strerror or type(error).__name__)
