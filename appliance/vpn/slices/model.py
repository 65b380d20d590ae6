"""What a branch's edge has to know of the document (pure)."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from pydantic import AfterValidator, Field, StringConstraints

from appliance.core.fields import Host, IpAddress, IpNetwork, ObjectId, Port
from appliance.core.model import Part
from appliance.failover.model import LINES, Access, Copies, DeviceName, LineRole

WORDS: Final = frozenset(
    (
        "client", "dev-type", "disable-dco", "nobind", "data-ciphers", "tun-mtu", "mssfix", "passtos", "replay-window", "hand-window",
        "tls-timeout", "persist-key", "persist-tun", "auth-nocache", "sndbuf", "rcvbuf", "connect-retry", "resolv-retry",
        "auth-retry", "server-poll-timeout", "explicit-exit-notify", "verb", "mute",
    )
)  # fmt: skip
"""What lines of OpenVPN's configuration may begin with: none of them names a file, or starts a program. An edge refuses all else,
whoever signed it."""


def _known(line: str) -> str:
    if line.split(" ", 1)[0] not in WORDS:
        msg = f"{line!r} is no line that an edge takes"
        raise ValueError(msg)
    return line


Line = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9-]+( [A-Za-z0-9:._-]+)*$", max_length=200), AfterValidator(_known)
]


class Remote(Part):
    """One way to the centre: an address of it, and the UDP port of a daemon."""

    host: Host
    port: Port


class Path(Part):
    """One way of the relays' (:mod:`appliance.failover.plan`): over a line of the edge, to a relay of the centre."""

    number: Annotated[int, Field(ge=0, le=15)]
    role: LineRole
    device: DeviceName
    host: Host
    port: Port
    monthly_gb: Annotated[int, Field(ge=1)] | None = None


class Link(Part):
    """A line whose interface the edge sets up itself."""

    number: Annotated[int, Field(ge=1, le=LINES)]
    device: DeviceName
    access: Access


class Slice(Part):
    """One branch's part of the document.

    :param revision: of the document that it was made from; two slices that differ in nothing else are the same.
    :param remotes: in the order in which they are tried.
    :param openvpn: lines for OpenVPN, besides remotes and keys.
    :param networks: the site's own: what the centre routes to it.
    :param paths: of its relay, which OpenVPN then goes through; none: OpenVPN alone, by ``remotes``.
    :param copies: what goes over all lines at once.
    :param links: lines whose interfaces the edge sets up.
    :param inside: the centre's addresses within this branch's tunnel, where its service is, and that service's TCP port.
    """

    revision: Annotated[int, Field(ge=0)]
    site: ObjectId
    remotes: Annotated[tuple[Remote, ...], Field(min_length=1, max_length=144)]
    openvpn: Annotated[tuple[Line, ...], Field(max_length=100)]
    networks: tuple[IpNetwork, ...]
    inside: Annotated[tuple[IpAddress, ...], Field(min_length=1, max_length=2)]
    inside_port: Port
    paths: Annotated[tuple[Path, ...], Field(max_length=16)] = ()
    copies: Copies = Copies.ALWAYS
    links: Annotated[tuple[Link, ...], Field(max_length=LINES)] = ()

    @property
    def digest(self) -> str:
        """What tells two slices apart, but for their revision: 32 hexadecimal digits."""
        unsaid = {
            "revision",
            *(() if self.paths else ("paths", "copies")),
            *(() if self.links else ("links",)),
        }  # as before there were any
        return hashlib.sha256(self.model_dump_json(exclude=unsaid).encode()).hexdigest()[:32]
