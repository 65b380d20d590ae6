"""What is believed of a name server's answer, and for how long (pure).

An answer is judged first: addresses that no provider can have are left out (:func:`judged`). What is left makes a name
*known*. Of a name that is known two things are asked:

sources
    whoever may call us: every address that it had within a day (:data:`LINGER_S`). Providers answer with another few of their
    addresses each time, and call from all of them.
targets
    whom we call: what it has now, and what it had within five minutes (:data:`POOL_S`). By priority (RFC 2782); of one priority
    the newest first, so that a provider that moves is followed at once, and one that turns its addresses round is not followed
    in circles: an address that comes back is no newer than it was.

A name that can't be looked up keeps what it had for :data:`KEPT_S`. All times are counted while we run, and none is read off a
clock: one that jumps by years takes nobody's addresses away.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

TTL_S: Final = (60.0, 86_400.0)
"""Shortest and longest time until a name is asked for again, whatever the answer says of itself."""
RETRY_S: Final = (30.0, 900.0)
"""First and longest pause after a failure; each is twice the one before."""
ADDRESSES: Final = 16
"""The most addresses that are believed of one name: those of the best priority, in order."""
POOL_S: Final = 300.0
LINGER_S: Final = 86_400.0
KEPT_S: Final = 30 * 86_400.0

_MARTIANS: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4",
        "::/128", "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip
"""Nobody on a network has these, or they are others in disguise (RFC 6890)."""
_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""RFC 1918, 4193 and 6598. A provider may be there (a line of its own to the company); its trunk says so then."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(_Value):
    """Where a provider is: an address and a port. ``priority``: lower is tried first; ``weight``: higher first."""

    address: str
    port: Annotated[int, Field(ge=1, le=65535)]
    priority: Annotated[int, Field(ge=0, le=65535)] = 0
    weight: Annotated[int, Field(ge=0, le=65535)] = 0

    @field_validator("address")
    @classmethod
    def _canonical(cls, text: str) -> str:
        return str(ipaddress.ip_address(text))

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.address).version


class Question(_Value):
    """A name to look up. ``service``: by SRV (``_sip._udp``), else by address; ``port``: of an answer that says none."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    service: Literal["", "_sip._udp", "_sip._tcp", "_sips._tcp"] = ""
    port: Annotated[int, Field(ge=1, le=65535)] = 5060

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.service}.{self.name}:{self.port}" if self.service else f"{self.name}:{self.port}"


class Answer(_Value):
    """What a name server said: targets and how long they hold (s), or why there are none.

    ``partial``: of some it couldn't say anything (of IPv4, say, or of one of several servers): who is missing isn't gone.
    """

    ttl: Annotated[int, Field(ge=0)] = 0
    targets: Annotated[tuple[Target, ...], Field(max_length=1024)] = ()
    error: Annotated[str, Field(max_length=200)] = ""
    partial: bool = False


class Held(_Value):
    """A target that a name had. ``absent_s``: for so long good answers have been without it; ``rank``: lower is newer."""

    target: Target
    absent_s: Annotated[float, Field(ge=0)] = 0.0
    rank: int = 0


class Known(_Value):
    """What is known of one name.

    :param failing_s: for so long it hasn't been possible to look it up; ``error``: why. ``refused``: addresses of its last
        answer that weren't believed.
    """

    held: tuple[Held, ...] = ()
    failing_s: Annotated[float, Field(ge=0)] = 0.0
    error: str = ""
    refused: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """Whom we call, the best first."""
        now = [each for each in self.held if each.absent_s < POOL_S]
        now.sort(key=lambda each: (each.target.priority, each.rank, -each.target.weight, each.target.address))
        return tuple(each.target for each in now)

    @property
    def sources(self) -> tuple[str, ...]:
        """Who may call us: addresses, in an order that doesn't depend on the answer's."""
        found = {ipaddress.ip_address(each.target.address) for each in self.held}
        return tuple(str(each) for each in sorted(found, key=lambda each: (each.version, int(each))))

    def heard(self, targets: Sequence[Target], refused: Sequence[str], elapsed_s: float) -> Self:
        """After a good answer, ``elapsed_s`` after the one before.

        :param targets: what was believed of it; at least one.
        """
        now = {(each.address, each.port): each for each in targets}
        newest = min((each.rank for each in self.held), default=1) - 1
        ranks = {(each.target.address, each.target.port): each.rank for each in self.held}
        held = [Held(target=target, rank=ranks.get(place, newest)) for place, target in now.items()]
        for each in self.held:
            absent = each.absent_s + elapsed_s
            if (each.target.address, each.target.port) not in now and absent < LINGER_S:
                held.append(each.model_copy(update={"absent_s": absent}))
        held.sort(key=lambda each: (each.absent_s, each.target.priority, each.rank, each.target.address))
        return self.model_copy(
            update={"held": tuple(held[: 4 * ADDRESSES]), "failing_s": 0.0, "error": "", "refused": tuple(refused)}
        )

    def within(self, limits: Limits) -> Self:
        """Without what isn't believed (any more)."""
        refused = set(judged((each.target for each in self.held), limits)[1])
        return self.model_copy(update={"held": tuple(each for each in self.held if each.target.address not in refused)})

    def failed(self, error: str, refused: Sequence[str], elapsed_s: float) -> Self:
        """After no answer, or one of which nothing is believed, ``elapsed_s`` after the one before."""
        failing = self.failing_s + elapsed_s
        held = self.held if failing < KEPT_S else ()
        return self.model_copy(update={"held": held, "failing_s": failing, "error": error, "refused": tuple(refused)})


@dataclass(frozen=True, slots=True)
class Resolved:
    """What plans are told of a name: :attr:`Known.targets` and :attr:`Known.sources`."""

    targets: tuple[Target, ...] = ()
    sources: tuple[str, ...] = ()

    def target(self, version: int) -> Target | None:
        """Whom to call from a listener of that family."""
        return next((each for each in self.targets if each.version == version), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """What isn't believed.

    :param own: addresses of this machine. ``ours``: networks of phones, sites, administrators and tunnels.
    :param allowed: networks that a trunk says its calls come from, be they private or ours: a provider may have a line of its
        own to the company, or a gateway in it.
    """

    own: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()


def judged(targets: Iterable[Target], limits: Limits) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Which targets of an answer are believed (at most :data:`ADDRESSES`), and which addresses are not.

    Who answers for a name could else have the firewall opened to addresses of our own, or have us call ourselves (DNS
    rebinding).
    """
    never = (*_MARTIANS, *(ipaddress.ip_network(each) for each in limits.own))
    inside = (*_PRIVATE, *(ipaddress.ip_network(each) for each in limits.ours))
    allowed = tuple(ipaddress.ip_network(each) for each in limits.allowed)
    believed: dict[tuple[str, int], Target] = {}
    refused: dict[str, None] = {}
    for target in sorted(targets, key=lambda each: (each.priority, -each.weight, each.address, each.port)):
        address = ipaddress.ip_address(target.address)
        named = any(address in net for net in allowed)
        if any(address in net for net in never) or (not named and any(address in net for net in inside)):
            refused[target.address] = None
        elif len(believed) < ADDRESSES:
            believed.setdefault((target.address, target.port), target)
    return tuple(believed.values()), tuple(refused)


def pause_s(answer: Answer, failures: int) -> float:
    """How long until a name is asked for again. ``failures``: how many there have been in a row, this one included."""
    if answer.error or failures:
        first, longest = RETRY_S
        return float(min(longest, first * 2 ** min(failures - 1, 10)))
    shortest, longest = TTL_S
    if answer.partial:
        return shortest
    return float(min(max(float(answer.ttl), shortest), longest))
