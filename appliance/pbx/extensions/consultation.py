"""Attended transfers for whoever asks the hub for them: a device consults somebody while the other party waits (pure).

The engine does it all; the hub begins each step by one order (:mod:`appliance.hub.control`) and may be dead from then on.
Of three channels, *A* is the device's that consults, *B* whom it talked to, *C* whom it asks:

``consultation``, ``consultation-wait``
    By one order A goes to the one, dialling C's number, and B to the other: music, in a bridge of its own. C is called through a
    Local channel, with the rights of A's device and as if it had dialled by hand, but for emergency numbers: nobody waits for
    the end of such a call.
``consultation-back``
    A has C no more (busy, no answer, it has hung up, or the hub ordered so): A and B talk again. When B has hung up, A's call ends.
``consultation-join``
    B, by order: to whomever A talks to now, who is taken away from A, whose call ends. When there is nobody, B waits on.
``consultation-left``, ``consultation-recall``
    A has hung up while B waits: A's device rings for B, :data:`RECALL_S` long; then B's call ends. Should nobody have told B, it
    looks by itself every :data:`LOOK_S` seconds whether A is still there.

Variables: ``CONSULTED_BY`` on B (name of A), ``CONSULTED`` on A (name of B; empty: nobody waits), ``CONSULTATION`` on A (how the last
one ended), ``CONSULTATION_FROM`` on A (context in which its device's calls begin), ``HANDED_ON`` on B (ids of A and C, for the history).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.asterisk import Section, dialplan, lookup
from appliance.history.line import HANDED_EVENT
from appliance.pbx import carried

WAIT: Final = "consultation-wait"
"""Context of a channel that waits, unless it is bridged with another one."""
BEGIN: Final = "consultation"
BACK: Final = "consultation-back"
JOIN: Final = "consultation-join"
TAKEN_BACK: Final = "TAKEN_BACK"
"""Extension of :data:`BACK` for A that is ordered back; otherwise the status of its Dial."""
CONSULTED, CONSULTED_BY, CONSULTATION = "CONSULTED", "CONSULTED_BY", "CONSULTATION"
CONSULTATION_FROM, HANDED_ON = "CONSULTATION_FROM", "HANDED_ON"
RECALL_S: Final = 30
"""Seconds that the device rings which has left somebody waiting."""
LOOK_S: Final = 60
"""Seconds after which who waits looks whether there still is somebody to wait for."""
_ANY: Final = "_[+*#0-9]!"
_FORGOTTEN: Final = (
    "__CLI", "__CLIR", "__DIVERTED", "__DID", "__CALLED", "__CALLER", "__FROM_TRUNK", "__HOPS", "__PLACE", "__LINK_CODECS",
    "__LINK_LEGS", "__SIPREFERREDBYHDR", "_OUT",
)  # fmt: skip
"""What A may carry of the call that it was called by: C is called by A's device, and by nobody else."""


def contexts() -> Iterator[Section]:
    """All of it."""
    yield _begin()
    yield _call()
    yield _back()
    yield _wait()
    yield _left()
    yield _recall()
    yield _join()
    yield dialplan("consultation-done", ("s", ("Hangup(16)",)))


def _begin() -> Section:
    return dialplan(
        BEGIN,
        (
            _ANY,
            (
                f"Set({CONSULTATION}=)",
                "UserEvent(Consultation,Result: )",
                'ExecIf($["${CONSULTS}" = ""]?Set(CHANNEL(hangup_handler_push)=consultation-left,s,1))',
                "Set(CONSULTS=1)",
                "Set(_CONSULTANT=${CHANNEL(name)})",
                # /n: a place on a thin link that is counted on the Local channel stays taken. g: go on when C has gone.
                "Dial(Local/${EXTEN}@consultation-call/n,,gi)",
                f"Goto({BACK},${{DIALSTATUS}},1)",
            ),
        ),
    )


def _call() -> Section:
    return dialplan(
        "consultation-call",
        (
            _ANY,
            (
                f"Set(ARRAY({','.join(_FORGOTTEN)})=)",
                "Set(SENT_ON_BY=${CONSULTANT:6:-9})",
                "Set(SENT_ON_BY=${CUT(SENT_ON_BY,@,1)})",
                f"Set({carried.FROM}={lookup('devices', 'SENT_ON_BY')})",
                f"Set(CALLERID(all)=<{carried.NUMBER}>)",
                f"Set(CALLERID(ani)={carried.NUMBER})",
                "Set(CALLERID(pres)=allowed_not_screened)",
                "Set(REDIRECTING(count,i)=0)",
                "GotoIf(${DIALPLAN_EXISTS(emergency,${EXTEN},1)}?no)",
                f"Goto(${{{CONSULTATION_FROM}}},${{EXTEN}},1)",
                "no: Hangup(21)",
            ),
        ),
    )


def _back() -> Section:
    return dialplan(
        BACK,
        (
            "_[A-Z].",
            (
                f"Set({CONSULTATION}=${{EXTEN}})",
                "UserEvent(Consultation,Result: ${EXTEN})",
                "StopPlayTones()",  # Dial leaves the ringing tone on, which would go on below the voice
                f'GotoIf($["${{{CONSULTED}}}" = ""]?gone)',
                f'GotoIf($["${{IMPORT(${{{CONSULTED}}},CONTEXT)}}" != "{WAIT}"]?gone)',
                f"Set(TAKES_BACK=${{{CONSULTED}}})",
                f"Set({CONSULTED}=)",  # from here on the end of A is the end of the call
                "Set(CONNECTEDLINE(num,i)=${IMPORT(${TAKES_BACK},CALLERID(num))})",
                "Set(CONNECTEDLINE(name)=${IMPORT(${TAKES_BACK},CALLERID(name))})",
                # F: B would go on waiting once A has hung up.
                "Bridge(${TAKES_BACK},F(consultation-done^s^1))",
                "gone: Hangup(16)",
            ),
        ),
    )


def _wait() -> Section:
    return dialplan(
        WAIT,
        (
            "s",
            (
                f"UserEvent(Consultation,By: ${{{CONSULTED_BY}}})",
                f'more: GotoIf($["${{IMPORT(${{{CONSULTED_BY}}},CHANNEL)}}" = ""]?consultation-recall,s,1)',
                f"BridgeWait(${{UNIQUEID}},,S({LOOK_S}))",
                "Goto(more)",
            ),
        ),
    )


def _left() -> Section:
    """Hangup handler of A."""
    return dialplan(
        "consultation-left",
        (
            "s",
            (
                f'GotoIf($["${{{CONSULTED}}}" = ""]?end)',
                f'GotoIf($["${{IMPORT(${{{CONSULTED}}},CONTEXT)}}" != "{WAIT}"]?end)',
                f"ChannelRedirect(${{{CONSULTED}}},consultation-recall,s,1)",
                "end: Return()",
            ),
        ),
    )


def _recall() -> Section:
    device = f"${{{CONSULTED_BY}:6:-9}}"
    return dialplan(
        "consultation-recall",
        (
            "s",
            (
                f'GotoIf($["${{PJSIP_DIAL_CONTACTS({device})}}" = ""]?gone)',
                f"Dial(PJSIP/{device},{RECALL_S},im)",
                "gone: Hangup(19)",
            ),
        ),
    )


def _join() -> Section:
    nobody = '"${JOINED}" = "" | "${JOINED}" = "${CHANNEL(name)}"'  # the variable outlives its bridge
    return dialplan(
        JOIN,
        (
            "s",
            (
                f"Set(JOINED=${{IMPORT(${{{CONSULTED_BY}}},BRIDGEPEER)}})",
                f"GotoIf($[{nobody}]?{WAIT},s,1)",
                f'GotoIf($["${{IMPORT(${{JOINED}},CHANNEL)}}" = ""]?{WAIT},s,1)',
                f"CELGenUserEvent({HANDED_EVENT},${{{HANDED_ON}}})",
                f"UserEvent(HandedOn,Ids: ${{{HANDED_ON}}})",
                "Bridge(${JOINED},x)",
                "Hangup(16)",
            ),
        ),
    )
