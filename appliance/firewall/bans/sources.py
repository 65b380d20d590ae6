"""What is remembered of each source, in bounded memory.

A source has one small record: what it tried, at most sixteen things of twelve bytes each. The records stand in two tables: of those
that proved to be who they seem, and of the others. So a flood with invented senders, ten thousand a second, makes nobody
forgotten but invented senders.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

from appliance.firewall.bans import keys
from appliance.firewall.bans.model import Attempt, Network, Outcome, Sign
from appliance.firewall.bans.rules import Rules

T = TypeVar("T")

TRIED_MAX: Final = 16
_TRIED: Final = struct.Struct("<IIff")
_PROVEN, _DROPPED = 1, 2
_COARSE: Final = 1000
"""Ms that make no difference to what is halved in ten minutes."""


class Recent(Generic[T]):
    """A table that forgets what wasn't touched for long: at least the last ``most / 2`` keys are in it, never more than ``most``.

    Two dictionaries, the younger of which becomes the older when it is full. That takes no list of who was touched when,
    and no time but now and then.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, most: int) -> None:
        self._half: Final = max(1, most // 2)
        self._young: dict[int, T] = {}
        self._old: dict[int, T] = {}

    def get(self, key: int) -> T | None:
        """What is remembered, without touching it."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: int, value: T) -> None:
        """Remember, as the latest."""
        self._old.pop(key, None)
        if key not in self._young and len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def pop(self, key: int) -> T | None:
        """Forget."""
        young, old = self._young.pop(key, None), self._old.pop(key, None)
        return old if young is None else young

    def pop_touching(self, network: Network) -> None:
        """Forget all whose key is the number of a network that has an address in common with this one."""
        for table in (self._young, self._old):
            for key in [key for key in table if keys.touch(key, network)]:
                del table[key]

    def items(self) -> Iterator[tuple[int, T]]:
        """All of them, the longest untouched about first."""
        yield from self._old.items()
        yield from self._young.items()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


class Source:
    """What one source has tried. ``at``: until when it was counted, running time."""

    __slots__ = ("at", "attempts", "signs", "tried")

    def __init__(self, at: int) -> None:
        self.at = at
        self.attempts = 0
        self.signs = 0
        self.tried = b""

    def add(self, attempt: Attempt, rules: Rules) -> None:
        """Count a failed or dropped attempt."""
        self._fade(attempt.when, rules)
        self.attempts += 1
        signs = attempt.signs.value
        self.signs |= signs
        dropped = attempt.outcome is Outcome.DROPPED
        first, again = (rules.dropped, rules.dropped_again) if dropped else (rules.account, rules.again)
        if signs & Sign.UNKNOWN_ACCOUNT.value:
            first = max(first, rules.unknown_account)
        extra = 0.0
        if signs & Sign.FOREIGN_METHOD.value:
            extra += rules.foreign_method
        if signs & Sign.ATTACK_TOOL.value:
            extra += rules.attack_tool
        what = _what(attempt)
        kind = (_PROVEN if attempt.proven else 0) | (_DROPPED if dropped else 0)
        for place, (tried, flags, base, repeats) in enumerate(_TRIED.iter_unpack(self.tried)):
            if tried == what and flags == kind:  # apart for what is proven: nobody adds to what another did
                changed = _TRIED.pack(what, flags, base, repeats + again + extra)
                start = place * _TRIED.size
                self.tried = self.tried[:start] + changed + self.tried[start + _TRIED.size :]
                return
        self.tried += _TRIED.pack(what, kind, first, extra)
        if len(self.tried) > TRIED_MAX * _TRIED.size:
            self._fold()

    def forgive(self, attempt: Attempt) -> None:
        """Forget what it tried at the account that it got into."""
        right = _what(attempt)
        self.tried = b"".join(_TRIED.pack(*one) for one in _TRIED.iter_unpack(self.tried) if one[0] != right)

    def forgive_unproven(self) -> None:
        """Forget what anybody may have done in its name."""
        self.tried = b"".join(_TRIED.pack(*one) for one in _TRIED.iter_unpack(self.tried) if one[1] & _PROVEN)
        self.signs = 0

    def points(self) -> tuple[float, float]:
        """All points, and those of them that are certainly its own."""
        total = proven = 0.0
        for _, flags, base, repeats in _TRIED.iter_unpack(self.tried):
            total += base + repeats
            if flags & _PROVEN:
                proven += base + repeats
        return total, proven

    def accounts(self, but: Attempt | None = None) -> int:
        """How many accounts it tried, besides that of an attempt."""
        spared = {_what(but)} if but else set()
        return len({what for what, flags, _, _ in _TRIED.iter_unpack(self.tried) if not flags & _DROPPED} - spared)

    def all_dropped(self) -> bool:
        """Whether it did nothing but knock where nothing is."""
        return all(flags & _DROPPED for _, flags, _, _ in _TRIED.iter_unpack(self.tried))

    def _fade(self, now: int, rules: Rules) -> None:
        passed = now - self.at
        if passed < _COARSE:
            return  # the time stays, so that it isn't lost
        self.at = now
        fast, slow = 0.5 ** (passed / rules.repeats_halve), 0.5 ** (passed / rules.accounts_halve)
        faded = []
        for what, flags, base, repeats in _TRIED.iter_unpack(self.tried):
            if base * slow + repeats * fast >= 0.5:
                faded.append(_TRIED.pack(what, flags, base * slow, repeats * fast))
        self.tried = b"".join(faded)

    def _fold(self) -> None:
        """Two of the oldest become one, which has the points of both; unless one of them proves nothing."""
        (_, old, base, repeats), (what, flags, more, most) = list(_TRIED.iter_unpack(self.tried[: 2 * _TRIED.size]))
        if old == flags:
            more, most = more + base, most + repeats
        self.tried = _TRIED.pack(what, flags, more, most) + self.tried[2 * _TRIED.size :]


def _what(attempt: Attempt) -> int:
    """A number for what was tried. Two accounts with the same number are one; that takes luck, and spares nobody else."""
    return zlib.crc32(f"{attempt.service} {attempt.account}".encode())


class Sources:
    """All sources, in two tables."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._proven: Recent[Source] = Recent(rules.sources // 2)
        self._others: Recent[Source] = Recent(rules.sources - rules.sources // 2)

    def __len__(self) -> int:
        return len(self._proven) + len(self._others)

    def get(self, key: int) -> Source | None:
        """The record of a source."""
        return self._proven.get(key) or self._others.get(key)

    def add(self, key: int, attempt: Attempt) -> Source:
        """Count an attempt; the source's record."""
        found = self._proven.pop(key)
        proven = found is not None or attempt.proven
        if found is None:
            found = self._others.pop(key) or Source(attempt.when)
        found.add(attempt, self._rules)
        (self._proven if proven else self._others).put(key, found)
        return found

    def forget(self, key: int) -> None:
        """Forget a source."""
        self._proven.pop(key)
        self._others.pop(key)

    def forget_touching(self, network: Network) -> None:
        """Forget all of a network."""
        self._proven.pop_touching(network)
        self._others.pop_touching(network)
