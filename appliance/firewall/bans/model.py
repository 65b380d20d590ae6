"""What the judge is told and what it says: attempts, bans, decisions.

Two times go with everything. ``when``, ``since`` and ``until`` are *running time*: milliseconds that the appliance has
run, over all its starts, which no clock that is set can move (:class:`~appliance.firewall.bans.timeline.Timeline`).
``wall`` is what the clock on the wall said, ms since the epoch, UTC: for people to read, and for nothing else.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Flag, IntEnum, StrEnum
from typing import Final

from appliance.access.texts import clean

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

ACCOUNT_MAX: Final = 80
DETAIL_MAX: Final = 160
"""Characters of an attempt's account and detail; strangers write both."""


class Service(StrEnum):
    """Where somebody tried to get in."""

    SIP = "sip"
    PORTAL = "portal"
    API = "api"
    PROVISIONING = "provisioning"
    VPN = "vpn"
    DROPPED = "dropped"
    """Nowhere: the firewall dropped it."""


class Outcome(IntEnum):
    """How it ended. Of two at the same time the lesser counts first: a success forgives what came with it."""

    DROPPED = 0
    FAILED = 1
    SUCCEEDED = 2


class Sign(Flag):
    """What an attempt gives away about who makes it."""

    NONE = 0
    UNKNOWN_ACCOUNT = 1
    """There is no such account. Phones are provisioned: they don't try names that nobody has."""
    FOREIGN_METHOD = 2
    """A request that no phone or page of ours makes."""
    ATTACK_TOOL = 4
    """It names itself, or looks exactly like a tool for attacks (a ``User-Agent`` such as ``friendly-scanner``)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to get in, or one packet that was dropped.

    :param source: an IPv4 address that is written as IPv6 (RFC 4291 §2.5.5.2) becomes IPv4.
    :param account: what was tried: an extension, a user name, a certificate; of a dropped packet its port, ``udp/5060``.
        May be empty.
    :param detail: for the evidence. Both texts are cleaned and cut here: strangers write them.
    :param proven: the source has answered something that only it can have got: a TCP or TLS handshake, a digest made with
        our nonce, a cookie. Else anybody may have sent the packet in its name.
    """

    when: int
    wall: int
    source: Address
    service: Service
    outcome: Outcome
    account: str = ""
    detail: str = ""
    proven: bool = False
    signs: Sign = Sign.NONE

    def __post_init__(self) -> None:
        if self.account:
            object.__setattr__(self, "account", _fit(self.account, ACCOUNT_MAX))
        if self.detail:
            object.__setattr__(self, "detail", _fit(self.detail, DETAIL_MAX))
        if self.source.version == 6 and (mapped := self.source.ipv4_mapped) is not None:
            object.__setattr__(self, "source", mapped)


def _fit(text: str, longest: int) -> str:
    if len(text) <= longest and text.isascii() and text.isprintable():
        return text  # nearly all of them; ten thousand come a second
    return clean(text, longest)


class Reason(StrEnum):
    """Why somebody is kept out; a stable id. What weighed most."""

    MANY_ACCOUNTS = "many_accounts"
    GUESSING = "guessing"
    ATTACK_TOOL = "attack_tool"
    FOREIGN_METHODS = "foreign_methods"
    PROBING = "probing"
    MOVING = "moving"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One attempt as people see it. ``address``: which one of the ban's network it was."""

    wall: int
    address: str
    service: Service
    outcome: Outcome
    account: str
    detail: str


@dataclass(frozen=True, slots=True)
class Ban:
    """A network that is kept out from ``since`` to ``until``.

    :param strike: which ban of this network it is, 1 for the first; older ones that were forgotten don't count.
    :param attempts: how many attempts it is made of; of these ``evidence`` has the last few.
    :param quarantine: a host of our own networks: it can't telephone, except for help; the rest goes on.
    :param brief: nothing proves that the packets are its own: short, and held against nobody later.
    """

    network: Network
    since: int
    until: int
    wall: int
    reason: Reason
    words: str
    strike: int = 1
    attempts: int = 0
    evidence: tuple[Evidence, ...] = ()
    quarantine: bool = False
    brief: bool = False

    def left(self, now: int) -> int:
        """Ms that it still lasts."""
        return max(0, self.until - now)


@dataclass(frozen=True, slots=True)
class Strikes:
    """How often a network was banned, and when last: from ``since`` to ``until``."""

    count: int
    since: int
    until: int


class Action(StrEnum):
    """What is to be done."""

    BAN = "ban"
    QUARANTINE = "quarantine"
    LIFT = "lift"
    """It no longer stands, before its time."""
    SPARE = "spare"
    """Nothing: it would be banned, but is protected. Worth telling somebody."""


@dataclass(frozen=True, slots=True)
class Decision:
    """``ban``: what begins (it replaces one of the same network), what is lifted, or what would have been."""

    action: Action
    ban: Ban
