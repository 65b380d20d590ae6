"""Steps of the dialplan for numbers that devices dial, and for calls that they send on (pure).

A pattern with an open end (``_0X!``) takes any text behind its first digits, and so does what is read from a request: in
the arguments of an application a comma would end one, in an expression a quote. So such text is looked at first, and
handed on as digits alone.
"""

from __future__ import annotations

from typing import Final

from appliance.core.asterisk import Section, dialplan, lookup
from appliance.pbx import carried
from appliance.pbx.extensions.links import SENT_ON
from appliance.pbx.routing.destinations import hop

NO_NUMBER: Final = 28
"""Q.850 cause for what is no number; the phone gets 484."""


def digits(skipped: int = 0) -> str:
    """The expression for what was dialled, without its first ``skipped`` characters: digits, ``+``, ``*``, ``#`` and no others."""
    return f"${{FILTER(+*#0-9,${{EXTEN:{skipped}}})}}" if skipped else "${FILTER(+*#0-9,${EXTEN})}"


def numbers_only(otherwise: str) -> str:
    """The step that jumps to a label when more than a number was dialled; separators that people write may be in it."""
    return f'GotoIf($[${{REGEX("^[+*#0-9 ()./-]+$" ${{EXTEN}})}} = 0]?{otherwise})'


def transferred(reach: str, targets: tuple[str, ...]) -> Section:
    """``transfer-<reach>``: where the engine looks up the target of a REFER (``TRANSFER_CONTEXT``).

    Whoever diverted the call before has no part in where it goes now, and what the phone wrote into Referred-By (a name and
    a number of ours) isn't sent to anybody.
    """
    forget = (
        "Set(__SIPREFERREDBYHDR=)",
        "Set(__DIVERTED=)",
        "Set(REDIRECTING(count,i)=0)",
        'GotoIf($["${GROUP_ID}" = ""]?named)',
        "Set(CALLERID(name)=${GROUP_CALLER})",  # not the group's any more
        "Set(GROUP_ID=)",
    )
    return _sent_on(f"transfer-{reach}", "BLINDTRANSFER", reach, targets, forget)


def forwarded(reach: str, targets: tuple[str, ...]) -> Section:
    """``forwarded-<reach>``: where the target of a 302 is looked up (``FORWARD_CONTEXT``)."""
    return _sent_on(f"forwarded-{reach}", "FORWARDERNAME", reach, targets)


def _sent_on(
    context: str, channel_variable: str, reach: str, targets: tuple[str, ...], forget: tuple[str, ...] = ()
) -> Section:
    """A context for calls that a device sends on to one of ``targets``: from here on the device's class counts.

    ``channel_variable`` holds the name of the device's channel, ``PJSIP/<device>@<door>.<token>-<8 digits>``: the engine
    sets it, so it tells who it was, unlike Referred-By, which the phone writes.
    """
    steps = (
        numbers_only("invalid"),
        *hop(),
        SENT_ON,
        *forget,
        f"{'named: ' if forget else ''}Set(SENT_ON_BY=${{{channel_variable}:6:-9}})",
        "Set(SENT_ON_BY=${CUT(SENT_ON_BY,@,1)})",
        f"Set({carried.FROM}={lookup('devices', 'SENT_ON_BY')})",
        f"Goto(sent-on-{reach},{digits()},1)",
        f"invalid: Hangup({NO_NUMBER})",
    )
    return dialplan(context, *((target, steps) for target in targets))
