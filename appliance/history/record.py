"""A call in progress, when it ends → its record (pure)."""

from __future__ import annotations

from typing import Final

from appliance.history.legs import LegReport, read_report
from appliance.history.model import Call, Direction, Leg, LegResult, Outcome, Transfer
from appliance.history.openstate import EMERGENCY_CONTEXT, OUTSIDE_CONTEXT, Channel, OpenCall

# Causes of ITU-T Q.850, and the engine's own 127 for a call that its caller gave up.
_BUSY, _NO_RESPONSE, _NO_ANSWER, _ELSEWHERE, _INTERWORKING = 17, 18, 19, 26, 127
_RINGING_SIP: Final = frozenset({180, 181, 182, 183})


def record(call: OpenCall, run: str, *, engine_failure: bool = False) -> Call:
    """The record of a call that has ended; with ``engine_failure`` it ends at the last event that is known of it."""
    reports = {id: read_report(channel.report) for id, channel in call.channels.items()}
    legs = [channel for channel in call.channels.values() if channel.endpoint]
    first = call.channels.get(call.first) or next(iter(call.channels.values()))
    called = [channel for channel in legs if not channel.caller and channel is not first]
    reached = next((channel for channel in called if channel.answered and channel.cause != _ELSEWHERE), None)
    outcome = Outcome.ENGINE_FAILURE if engine_failure else _outcome(first, called, reached, reports)
    answered = reached.answered if reached else first.answered if outcome is Outcome.ANSWERED else 0
    trunks = [channel for channel in called if channel.trunk]
    trunk = next((channel for channel in trunks if channel.answered), trunks[-1] if trunks else None)
    return Call(
        linked_id=call.key,
        run=run,
        direction=_direction(call, first, trunks, reports),
        outcome=outcome,
        from_device=first.device,
        from_extension=first.extension,
        from_trunk=first.trunk,
        # A caller from outside: in E.164, and nothing at all when withheld, whatever the provider let slip.
        from_number=first.origin if first.trunk else first.number or first.first_number,
        from_name="" if first.trunk and not first.origin else first.caller_name,
        dialled=first.exten,
        reached_device=reached.device if reached else "",
        reached_extension=reached.extension if reached else "",
        reached_trunk=reached.trunk if reached else "",
        reached_number=(reached.number if reached.trunk else reached.extension) if reached else "",
        trunk=trunk.trunk if trunk else "",
        failovers=max(0, len({channel.trunk for channel in trunks}) - 1),
        started=first.started // 1000,
        rang=called[0].started // 1000 if called else None,
        answered=_ms(answered),
        ended=(call.last if call.live else max(channel.ended for channel in call.channels.values())) // 1000,
        cause=first.cause,
        incomplete=call.incomplete,
        legs=tuple(_leg(channel, reports[channel.id], outcome, engine_failure) for channel in legs),
        transfers=tuple(_resolved(call, transfer) for transfer in call.transfers),
        forwards=tuple(call.forwards),
        from_site=_site(first, reports[first.id]),
        reached_site=_site(reached, reports[reached.id]) if reached else "",
    )


def _site(channel: Channel, report: LegReport) -> str:
    """Where a leg stands. A trunk that we called has none: what it carries is its caller's."""
    if channel.device and report.owner == channel.device:
        return report.site
    # Once the call was sent on, a caller carries who sent it on; a called leg inherits both, and knows nothing of itself.
    return (report.place or ("" if channel.device else report.site)) if channel.caller else ""


def _ms(micros: int) -> int | None:
    return micros // 1000 if micros else None


def _outcome(
    first: Channel, called: list[Channel], reached: Channel | None, reports: dict[str, LegReport]
) -> Outcome:  # fmt: skip
    if reached is not None or (first.answered and not first.dial_status):
        return Outcome.ANSWERED
    # The engine keeps the *first* failed dial's status, so what the caller was told comes before it.
    if first.dial_status == "CANCEL" or (first.cause == _INTERWORKING and first.source == first.name):
        return Outcome.CANCELLED
    if first.cause == _BUSY:
        return Outcome.BUSY
    if first.dial_status == "NOANSWER" or first.cause in (_NO_RESPONSE, _NO_ANSWER):
        return Outcome.NO_ANSWER
    if any(reports[channel.id].sip in _RINGING_SIP for channel in called):
        return Outcome.NO_ANSWER
    if first.dial_status == "BUSY":
        return Outcome.BUSY
    return Outcome.FAILED


def _direction(
    call: OpenCall, first: Channel, trunks: list[Channel], reports: dict[str, LegReport]
) -> Direction:  # fmt: skip
    if first.trunk:
        return Direction.INBOUND
    if EMERGENCY_CONTEXT in call.contexts or any(report.kind == "emergency" for report in reports.values()):
        return Direction.EMERGENCY
    if trunks or OUTSIDE_CONTEXT in call.contexts:
        return Direction.OUTBOUND
    return Direction.INTERNAL


_CALLER_RESULT: Final = {
    Outcome.ANSWERED: LegResult.ANSWERED,
    Outcome.BUSY: LegResult.BUSY,
    Outcome.NO_ANSWER: LegResult.NO_ANSWER,
    Outcome.CANCELLED: LegResult.CANCELLED,
    Outcome.FAILED: LegResult.FAILED,
    Outcome.ENGINE_FAILURE: LegResult.OPEN,
}


def _leg(channel: Channel, report: LegReport, outcome: Outcome, engine_failure: bool) -> Leg:
    if engine_failure and not channel.ended:
        result = LegResult.OPEN
    elif channel.cause == _ELSEWHERE:
        result = LegResult.ELSEWHERE
    elif channel.answered:
        result = LegResult.ANSWERED
    else:
        result = _CALLER_RESULT[outcome] if channel.caller else _called_result(channel, report, outcome)
    return Leg(
        caller=channel.caller,
        device=channel.device,
        trunk=channel.trunk,
        extension=channel.extension,
        number=channel.exten if channel.caller else channel.number,
        started=channel.started // 1000,
        answered=_ms(channel.answered),
        ended=_ms(channel.ended),
        result=result,
        cause=channel.cause,
        sip=report.sip,
        codec=report.codec,
        redirected_by=channel.redirected_by,
        quality=report.quality,
        site=_site(channel, report),
    )


def _called_result(channel: Channel, report: LegReport, outcome: Outcome) -> LegResult:
    if channel.cause == _BUSY:
        return LegResult.BUSY
    if report.sip >= 300:
        return LegResult.FAILED
    if outcome is Outcome.CANCELLED:
        return LegResult.CANCELLED
    return LegResult.NO_ANSWER


def _resolved(call: OpenCall, transfer: Transfer) -> Transfer:
    """A transfer whose target was another call's channel when it happened: by now the two are one call."""
    if not transfer.to.startswith("="):
        return transfer
    channel = call.channels.get(transfer.to[1:])
    to = (channel.extension or channel.number or channel.exten) if channel else ""
    return Transfer(transfer.kind, transfer.time, transfer.by, transfer.of, to)
