"""The hangup handler that reports how a leg went, as a line of the dialplan, and the reader of its report (pure).

Every PJSIP endpoint has ``set_var=CHANNEL(hangup_handler_push)=leg-ended,s,1``, so the handler runs on legs of callers
and of called devices alike. It sends one user event, ``<answer>|<RTCP>|<codec>|<kind>|<place>|<from>``:

answer
    what the leg's peer answered last, as ``SIP 486 Busy Here``; on the caller's own leg its state instead.
RTCP
    the engine's counts as ``name=value;…``; for a leg that never had media in both directions its state instead.
codec
    format in which the engine received the audio, ``alaw``.
kind
    the channel variable ``CALL_KIND``, which the emergency context sets to ``emergency``.
place, from
    the variables ``PLACE`` and ``FROM`` of :mod:`appliance.pbx.carried`, whole (they cost no function call): the site of
    the leg as it is at the time of the call.

Each function's name is picked *before* it is called: asking a leg without media for its RTCP counts, or a caller's leg
for the answer to a call it didn't get, would put a warning into the engine's log for every call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from appliance.core.asterisk import Section, dialplan
from appliance.history.line import LEG_EVENT, RUN_EVENT

_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
ROUND_TRIP_MAX_MS: Final = 10_000
"""Longer ones aren't real: the engine shows a clock difference of below zero as 65,536 seconds (seen)."""
CONTEXT: Final = "leg-ended"
"""Context of the hangup handler."""
REDIRECTED_CONTEXT: Final = "redirected"
"""Where the handler goes on with a leg that may have been redirected (302), or that ended by an attended transfer: the
extensions' dialplan has it."""
REDIRECTIONS: Final = "redirect"
"""Family of the engine's database by which a redirected leg tells its caller's, keyed by the call's linked id."""
RUN_CONTEXT: Final = "engine-run"
"""Context of the event at every start of the engine."""
STARTUP_COMMAND: Final = f"channel originate Local/started@{RUN_CONTEXT} application NoOp"
"""Command in cli.conf's ``[startup_commands]`` (value ``fully-booted``) that announces a new run of the engine."""

# We called this leg (a caller's leg that was answered has DIALEDPEERNAME too), and its peer answered something.
_CALLED: Final = "$[${LEN(${DIALEDPEERNUMBER})}&!${LEN(${DIALEDPEERNAME})}&${LEN(${HANGUPCAUSE_KEYS():0:1})}]"
_ANSWER: Final = f"${{${{IF({_CALLED}?HANGUPCAUSE(${{CHANNEL}},tech):CHANNEL(state))}}}}"
# A call that a fax tried to take over (T.38) may have left RTP behind, and the engine can't be asked whether it has.
# A leg that ended its call itself has its counts in RTPAUDIOQOS already: asking the engine again costs two round trips to
# the thread of the leg's SIP session.
_KNOWN: Final = "$[${LEN(${RTPAUDIOQOS})}]"
_T38: Final = f"${{${{IF({_KNOWN}?NOBODY_ASKS:CHANNEL(pjsip,t38state))}}}}"
_MEDIA: Final = f'$["${{CHANNEL(state)}}"="Up"&"{_T38}"="DISABLED"]'
_RTCP: Final = f"${{${{IF({_KNOWN}?RTPAUDIOQOS:CHANNEL(${{IF({_MEDIA}?rtcp,all:state)}}))}}}}"


def leg_ended() -> tuple[str, ...]:
    """Steps of extension ``s`` in context :data:`CONTEXT`."""
    return (
        f"CELGenUserEvent({LEG_EVENT},{_ANSWER}|{_RTCP}|${{CHANNEL(audioreadformat)}}|${{CALL_KIND}}|${{PLACE}}|${{FROM}})",
        # One step, not two: they count for every call.
        f"ExecIf($[${{LEN(${{REDIRECTING(to-num)}}${{ATTENDEDTRANSFER}})}}]?Goto({REDIRECTED_CONTEXT},s,1):Return())",
    )


def engine_started() -> tuple[str, ...]:
    """Steps of extension ``started`` in context :data:`RUN_CONTEXT`."""
    return (f"CELGenUserEvent({RUN_EVENT},1)",)


def contexts() -> tuple[Section, ...]:
    """The history's part of extensions.conf."""
    return (dialplan(CONTEXT, ("s", leg_ended())), dialplan(RUN_CONTEXT, ("started", engine_started())))


@dataclass(frozen=True, slots=True)
class Quality:
    """Media of one leg as the engine counted it, and as its peer reported it by RTCP (RFC 3550, section 6.4).

    ``received``, ``sent``: packets. ``lost_received``: packets that didn't reach the engine, counted by itself up to its
    last report (every 5 s); ``lost_sent``: packets that didn't reach the peer. Jitter and round trip in milliseconds.
    What the peer would have had to report is None when it reported nothing.
    """

    received: int
    sent: int
    lost_received: int
    lost_sent: int | None
    jitter_received_ms: float
    jitter_sent_ms: float | None
    round_trip_ms: float | None


@dataclass(frozen=True, slots=True)
class LegReport:
    """What the hangup handler said. ``sip`` is 0 when the leg wasn't called by us or nothing was answered.

    ``site``: what the leg carries as its site; ``owner``: the device that this was said of, empty once a call was sent on;
    ``place``: where the leg stands while it carries what belongs to somebody else.
    """

    sip: int = 0
    quality: Quality | None = None
    codec: str = ""
    kind: str = ""
    site: str = ""
    owner: str = ""
    place: str = ""


def read_report(text: str) -> LegReport:
    """The report in a LEG event; what can't be read is left out rather than guessed."""
    answer, rtcp, codec, kind, place, device, _number, _extension, site = [*text.split("|"), *[""] * 9][:9]
    words = answer.split(" ")
    sip = int(words[1]) if len(words) > 1 and words[0] == "SIP" and words[1].isdecimal() and len(words[1]) == 3 else 0
    codec = codec if codec.isascii() and len(codec) < 20 else ""
    return LegReport(sip, _quality(rtcp), codec, kind[:20], _id(site), _id(device), _id(place))


def _id(text: str) -> str:
    """An object's id, or nothing."""
    return text if _ID.fullmatch(text) else ""


def _quality(text: str) -> Quality | None:
    values = dict(part.partition("=")[::2] for part in text.split(";"))
    try:
        # The engine's names are crossed: "txjitter" is what it measured on what it received, "rxjitter" what the peer
        # reported about what we sent (res_rtp_asterisk.c, ast_rtp_get_stat).
        received, sent = int(values["rxcount"]), int(values["txcount"])
        lost_received, lost_sent = int(values["lp"]), int(values["rlp"])
        jitter, reported_jitter = float(values["txjitter"]) * 1000, float(values["rxjitter"]) * 1000
        round_trip = float(values["rtt"]) * 1000
    except (KeyError, ValueError):
        return None
    reported = bool(lost_sent or reported_jitter or round_trip)
    return Quality(
        received,
        sent,
        _count(lost_received),
        _count(lost_sent) if reported else None,
        round(jitter, 3),
        round(reported_jitter, 3) if reported else None,
        round(round_trip, 3) if 0 < round_trip < ROUND_TRIP_MAX_MS else None,
    )


def _count(lost: int) -> int:
    """Duplicated packets take the engine's unsigned counts below zero, that is to the top of their range."""
    return lost if lost < 1 << 23 else 0
