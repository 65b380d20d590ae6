"""Calls as the history keeps them (pure). Times are milliseconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.history.legs import Quality


class Direction(StrEnum):
    """Where a call came from and went to."""

    INTERNAL = "internal"
    INBOUND = "inbound"
    OUTBOUND = "outbound"
    EMERGENCY = "emergency"


class Outcome(StrEnum):
    """How a call ended for its caller.

    ``answered`` by a device, a trunk or a service; ``busy``; ``no_answer``: rang in vain; ``cancelled``: the caller gave up;
    ``failed``: nobody could be reached; ``engine_failure``: the engine died during the call.
    """

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"
    FAILED = "failed"
    ENGINE_FAILURE = "engine_failure"


class LegResult(StrEnum):
    """How one leg ended. ``elsewhere``: another device of the same call was faster; ``open``: unknown, the engine died."""

    ANSWERED = "answered"
    ELSEWHERE = "elsewhere"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    CANCELLED = "cancelled"
    FAILED = "failed"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Leg:
    """The engine's connection to one device or trunk during a call.

    :param caller: it came to us; otherwise we called it.
    :param device: id of the device, or empty.
    :param trunk: id of the trunk, or empty.
    :param extension: the device's extension number.
    :param number: what it dialled (a caller's leg), or what was dialled on it.
    :param cause: Q.850 cause of its end, 0 when unknown.
    :param sip: last SIP status that it answered, 0 when unknown.
    :param redirected_by: number that forwarded the call here.
    :param site: id of the site where the device stood at the time of the call (a trunk's own for a call that came in by
        it); empty when unknown.
    """

    caller: bool
    device: str
    trunk: str
    extension: str
    number: str
    started: int
    answered: int | None
    ended: int | None
    result: LegResult
    cause: int = 0
    sip: int = 0
    codec: str = ""
    redirected_by: str = ""
    quality: Quality | None = None
    site: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """One transfer. ``by``, ``of`` and ``to`` are extensions or numbers: who transferred whom to whom.

    ``kind`` is ``blind``, ``attended`` or ``pickup`` (somebody else's ringing call taken: ``by`` takes it).
    """

    kind: str
    time: int
    by: str
    of: str
    to: str


@dataclass(frozen=True, slots=True)
class Call:
    """One call with all its legs, from the first channel to the last.

    ``from_extension`` and ``from_device`` are empty for calls from outside, ``from_trunk`` for calls from inside.
    ``from_number`` and ``from_name`` are what was shown. ``reached_*`` is who answered first; transfers tell the rest.
    ``rang`` is when the first leg was called. ``incomplete``: events of it were lost (full disk, damaged spool).
    """

    linked_id: str
    run: str
    direction: Direction
    outcome: Outcome
    from_device: str
    from_extension: str
    from_trunk: str
    from_number: str
    from_name: str
    dialled: str
    reached_device: str
    reached_extension: str
    reached_trunk: str
    reached_number: str
    trunk: str
    failovers: int
    started: int
    rang: int | None
    answered: int | None
    ended: int
    cause: int
    incomplete: bool
    legs: tuple[Leg, ...]
    transfers: tuple[Transfer, ...] = ()
    forwards: tuple[str, ...] = ()
    from_site: str = ""
    reached_site: str = ""

    @property
    def talk_ms(self) -> int:
        """Milliseconds from the answer to the end; a clock set back in between counts as 0."""
        return max(0, self.ended - self.answered) if self.answered is not None else 0

    @property
    def ring_ms(self) -> int:
        """Milliseconds from the first leg called to the answer, or to the end."""
        if self.rang is None:
            return 0
        return max(0, (self.answered if self.answered is not None else self.ended) - self.rang)

    @property
    def loss_percent(self) -> float | None:
        """Highest share of packets lost on any leg in either direction, 0–100; None: not measured."""
        shares = []
        for quality in (leg.quality for leg in self.legs if leg.quality is not None):
            expected = quality.received + quality.lost_received
            shares.append(100 * quality.lost_received / expected if expected > 0 else 0.0)
            if quality.lost_sent is not None:
                shares.append(min(100.0, 100 * quality.lost_sent / quality.sent) if quality.sent > 0 else 0.0)
        return max(shares, default=None)

    @property
    def jitter_ms(self) -> float | None:
        """Highest jitter of any leg in either direction, milliseconds (RFC 3550); None: not measured."""
        measured = [leg.quality for leg in self.legs if leg.quality is not None]
        values = [value for quality in measured for value in (quality.jitter_received_ms, quality.jitter_sent_ms)]
        return max((value for value in values if value is not None), default=None)

    def parties(self) -> frozenset[str]:
        """Every number that this call can be found by."""
        numbers = {self.from_extension, self.from_number, self.dialled, self.reached_extension, self.reached_number}
        numbers |= {leg.extension for leg in self.legs} | {leg.number for leg in self.legs if leg.trunk}
        numbers |= {party for transfer in self.transfers for party in (transfer.by, transfer.of, transfer.to)}
        return frozenset(number for number in numbers if number)
