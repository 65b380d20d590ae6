"""Internal calls (pure). What a call to an extension meets, in this order:

1. *Unknown number* of the plan's ranges, or no device at all: 404, as for any number that nobody has.
2. *Forwarded* (``forward/<extension id>`` in the engine's database): sent on with the rights of the extension that
   forwards, outside only if its class may forward outside; the number is shown as diverted (reason unconditional).
   The caller keeps own name and number. Emergency numbers and services are no targets.
3. *Do not disturb* (``dnd/<extension id>``): busy (486).
4. *Own number*: busy.
5. *Busy policy*: with ``busy``, any channel of any of its devices, ringing ones included, makes it busy.
6. *Thin link* between the sites: beyond its number of calls 503; its codecs only, towards the called devices. (Towards the
   caller the codec was agreed when its INVITE came in, before anybody knew where it goes: devices at the site where the
   link stands are answered with its codecs first.)
7. All registered devices ring, first answer wins, the others are told that it was answered elsewhere (RFC 3326).
   Nobody answers: 480; all busy: 486; none registered: 480.
8. A phone that *redirects* (302) is followed once none of the others has answered, with the rights of the class of that
   device, like a transfer; what its class may not reach counts as busy.

The caller sees name and number of who was dialled as soon as it rings; the called see name and number of the caller.
Steps are counted: the straight path takes five on the caller's channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from appliance.core.asterisk import Section, dialplan, lookup
from appliance.history import legs
from appliance.pbx import carried
from appliance.pbx.extensions import links
from appliance.pbx.extensions.tables import (
    TO,
    TO_BUSY,
    TO_CALLER_NUMBER,
    TO_CLASS,
    TO_DEVICES,
    TO_FIRST,
    TO_FORWARD,
    TO_ID,
    TO_LINKED,
    TO_MANY,
    TO_RING,
    TO_SECOND,
    TO_SITE,
    WITHOUT_DEVICES,
)
from appliance.pbx.routing.destinations import hop

NAME_CALLER: Final = "Set(CALLERID(name)=${AST_CONFIG(tables/names.conf,${CALLERID(num):-2},${CALLERID(num)})})"
"""Give the call the name of the extension that it comes from."""
READ_EXTENSION: Final = f"Set({TO}={lookup('extensions', 'EXTEN')})"
"""Read all that is known about extension ``${EXTEN}``."""

REGISTERED: Final = "Gosub(registered,${EXTEN},1)"
"""Leave only those devices in ``TO`` that can be reached now, each by the door where it is registered: voice is bound to
that door's address."""

THROUGH_LINK: Final = f'"{TO_LINKED}" != "" & "{carried.PLACE}" != "" & "{TO_LINKED}" != "{carried.PLACE}"'
"""Condition: the extension in ``TO`` is at another site than the caller, and a thin link may lie between."""
_ELSEWHERE: Final = f'("{TO_LINKED}" != "" & ("{TO_LINKED}" != "{carried.SITE}" | "${{PLACE}}" != ""))'
_ABSENT: Final = " | ".join(f'"${{DEVICE_STATE({device}):0:2}}" = "UN"' for device in (TO_FIRST, TO_SECOND))
"""One of the first two devices seems not to be registered: its state is UNAVAILABLE or UNKNOWN. Seems: states follow
registrations a moment later, so they only decide whether the contacts themselves are looked at, which takes longer."""
_SPECIAL: Final = (
    f'$["${{DB(forward/{TO_ID})}}${{DB(dnd/{TO_ID})}}{TO_BUSY}{TO_MANY}" != "" | {_ELSEWHERE}'
    f' | "{carried.NUMBER}" = "${{EXTEN}}" | "{TO_FIRST}" = "" | {_ABSENT}]'
)
_DIAL: Final = f"Dial({TO_DEVICES},{TO_RING},Ii${{TO_OPTIONS}})"
"""I: name and number that the caller sees are those set before. i: Dial doesn't follow a phone's 302, for it takes the
user part of the Contact literally, and ``sip:PJSIP%2Fnumber%40trunk@…`` would call anything past every check (app_dial.c,
``do_forward``). We follow it ourselves: see :func:`_redirection`."""
_SHOWN_TO_DEVICE: Final = (
    f"Set(ARRAY({TO},CONNECTEDLINE(num,i))={lookup('extensions', 'EXTEN')},${{EXTEN}})",
    f"GotoIf({_SPECIAL}?decide)",
    f"ring: Set(CONNECTEDLINE(name,i)={lookup('names', 'EXTEN')})",
    _DIAL,
)
_SHOWN_TO_ANYBODY: Final = (
    READ_EXTENSION,
    f"GotoIf({_SPECIAL}?decide)",
    'ring: GotoIf($["${FROM_TRUNK}" != ""]?dial)',  # whom its caller reached is no business of a provider's
    "Set(CONNECTEDLINE(num,i)=${EXTEN})",
    f"Set(CONNECTEDLINE(name,i)={lookup('names', 'EXTEN')})",
    f"dial: {_DIAL}",
)
JOINED_WATCH: Final = "trunk-watch-joined"
"""The history leaves out what watches trunks, by this name."""
REDIRECT: Final = f"{legs.REDIRECTIONS}/${{CHANNEL(linkedid)}}"
"""Key in the engine's database by which the leg that was redirected tells the caller's, until that has read it. What a
caller who hung up in the meantime left unread goes with the next start of the engine."""


def ring(begin: tuple[str, ...]) -> tuple[str, ...]:
    """Ring extension ``${EXTEN}``; ``begin``: the steps up to Dial."""
    first, stop = hop()
    sent_on_by = carried.packed("", "${EXTEN}", TO_ID, TO_SITE, TO_CLASS, TO_CALLER_NUMBER)
    return (
        *begin,
        f"Set(REDIRECT=${{DB_DELETE({REDIRECT})}})",
        'GotoIf($["${REDIRECT}" != ""]?redirect)',
        "Goto(unanswered,${DIALSTATUS},1)",
        f'decide: GotoIf($["{TO_ID}" = ""]?unknown)',
        f'GotoIf($["${{DB(forward/{TO_ID})}}" != ""]?forward)',
        f'GotoIf($["{TO_DEVICES}" = ""]?unknown)',
        f'GotoIf($["${{DB(dnd/{TO_ID})}}" != "" | "{carried.NUMBER}" = "${{EXTEN}}"]?busy)',
        f'GotoIf($["{TO_BUSY}" != "" & ${{GROUP_COUNT({TO_ID}@extension)}} > 0]?busy)',
        REGISTERED,
        f'GotoIf($["{TO_DEVICES}" = ""]?absent)',
        f"GotoIf($[!({THROUGH_LINK})]?ring)",
        f"Gosub(link,s,1({TO_SITE}))",
        'GotoIf($["${GOSUB_RETVAL}" = ""]?ring)',
        "Hangup(34)",
        "busy: Hangup(17)",
        "absent: Hangup(20)",
        "unknown: Hangup(1)",
        # What the class allowed when the phone set it, or the number plan had, may be no more.
        f"forward: GotoIf($[!${{DIALPLAN_EXISTS(sent-on-{TO_FORWARD},${{DB(forward/{TO_ID})}},1)}}]?busy)",
        first,
        stop,
        links.SENT_ON,
        "Set(REDIRECTING(from-num,i)=${EXTEN})",
        "Set(REDIRECTING(reason,i)=cfu)",
        "Set(REDIRECTING(count,i)=$[0${REDIRECTING(count)} + 1])",
        f"Set(__DIVERTED={TO_CALLER_NUMBER})",
        f"Set({carried.FROM}={sent_on_by})",
        f"Goto(sent-on-{TO_FORWARD},${{DB(forward/{TO_ID})}},1)",
        "redirect: Set(ARRAY(FORWARDERNAME,REDIRECT_TO,REDIRECT_NUMBER)=${REPLACE(REDIRECT,|,\\,)})",
        "GotoIf($[!${DIALPLAN_EXISTS(${REDIRECT_TO},${REDIRECT_NUMBER},1)}]?busy)",
        "Gosub(link,free,1)",
        "Set(REDIRECTING(from-num,i)=${EXTEN})",
        "Set(REDIRECTING(reason,i)=deflection)",
        "Set(REDIRECTING(count,i)=$[0${REDIRECTING(count)} + 1])",
        f"Set(__DIVERTED={TO_CALLER_NUMBER})",
        "Goto(${REDIRECT_TO},${REDIRECT_NUMBER},1)",
    )


def _redirection() -> Section:
    """What the end of a leg may lead to besides.

    A called phone answered 302: the end of its leg says where to, once nobody else has answered.

    Runs in the leg's hangup handler, inside the caller's Dial. Nothing but digits and a plus is taken for a target, and
    it is looked up in ``forwarded-…`` of the phone's own class, like the target of a transfer. A provider's 302 is no way.
    """
    target = "${REDIRECTING(to-num)}"
    number = f"${{FILTER(+0-9,{target})}}"
    unlawful = '"${ATTENDEDTRANSFER:0:12}" = "PJSIP/trunk-" & "${TRANSFER_CONTEXT:0:16}" != "transfer-outside"'
    watch = "v(JOINED=${ATTENDEDTRANSFER}^BY=${CHANNEL(name)})"
    return dialplan(
        legs.REDIRECTED_CONTEXT,
        (
            "s",
            (
                f"GotoIf($[{unlawful}]?joined)",
                # Who calls may have told of a diversion as well (Diversion, RFC 5806): that isn't what is meant here.
                f'GotoIf($[${{LEN({target})}} = 0 | "${{HANGUPCAUSE_KEYS():0:1}}" = ""]?end)',
                'GotoIf($["${CHANNEL(name):0:12}" = "PJSIP/trunk-"]?end)',
                'GotoIf($["${HANGUPCAUSE(${CHANNEL},tech):0:7}" != "SIP 302"]?end)',
                f"GotoIf($[${{LEN({target})}} != ${{LEN({number})}}]?end)",
                f"Set(DB({REDIRECT})=${{CHANNEL(name)}}|${{FORWARD_CONTEXT}}|{number})",
                "end: Return()",
                f"joined: Originate(Local/s@{JOINED_WATCH}/n,app,Wait,1,,10,a{watch})",
                "Return()",
            ),
        ),
    )


def _joined_watch() -> Section:
    """An outside party was handed on by an attended transfer of a phone that may not transfer outside: if it now talks to
    another outside party, or is about to, both are hung up. See docs/decisions/0013-attended-transfers.md.
    """
    peer = "${IMPORT(${JOINED},BRIDGEPEER)}"
    about_to = "${IMPORT(${JOINED},DIALEDPEERNAME):0:12}"
    return dialplan(
        JOINED_WATCH,
        (
            "s",
            (
                "Set(TRIES=0)",
                "more: Wait(0.2)",
                f"Set(PEER={peer})",
                f'GotoIf($["${{PEER:0:12}}" = "PJSIP/trunk-" | "{about_to}" = "PJSIP/trunk-"]?both)',
                'GotoIf($["${PEER}" != "" & "${PEER}" != "${BY}"]?done)',
                "Set(TRIES=$[${TRIES} + 1])",
                'GotoIf($["${IMPORT(${JOINED},CHANNEL)}" != "" & ${TRIES} < 900]?more)',
                "done: Hangup()",
                "both: SoftHangup(${JOINED})",
                "Hangup()",
            ),
        ),
    )


def contexts(patterns: Sequence[str]) -> Iterator[Section]:
    """The contexts of internal calls, for the patterns of the number plan's ranges."""
    hint = ("hint", f"{lookup('hints', 'EXTEN')}")
    yield _context("internal", patterns, ring(_SHOWN_TO_ANYBODY))
    # The same once more with the caller's name before it: a jump between the two would be a step more.
    yield _context("internal-from-device", patterns, (NAME_CALLER, *ring(_SHOWN_TO_DEVICE)), hint)
    yield _redirection()
    yield _joined_watch()
    yield dialplan(
        "registered",  # Dial would put two errors into the log for a device that isn't
        (
            "_[0-9]!",
            (
                f"Set(LOCAL(left)={TO_DEVICES})",
                f"Set(LOCAL(all)={lookup('hints', 'EXTEN')})",
                "Set(LOCAL(found)=)",
                "more: Set(LOCAL(one)=${SHIFT(left,&)})",
                'GotoIf($["${one}" = ""]?done)',
                'GotoIf($["${PJSIP_DIAL_CONTACTS(${one:6})}" = ""]?more)',
                "Set(LOCAL(at)=PJSIP/${PJSIP_CONTACT(${PJSIP_AOR(${CUT(one,@,1):6},contact)},endpoint)})",
                # A door that was taken away since isn't known any more.
                "Set(LOCAL(found)=${found}&${IF($[${FIELDNUM(all,&,${at})} > 0]?${at}:${one})})",
                "Goto(more)",
                f"done: Set({TO}={WITHOUT_DEVICES}|${{found:1}})",
                "Return()",
            ),
        ),
    )
    yield links.context()
    yield dialplan(
        "unanswered",
        ("BUSY", ("Hangup(17)",)),
        ("CHANUNAVAIL", ("Hangup(20)",)),
        ("CONGESTION", ("Hangup(34)",)),
        ("_[A-Z].", ("Hangup(19)",)),
    )


def _context(name: str, patterns: Sequence[str], steps: Sequence[str], hint: tuple[str, str] | None = None) -> Section:
    section = dialplan(name, *((pattern, steps) for pattern in patterns))
    if hint is None:
        return section
    hints = tuple(("exten", f"{pattern},{hint[0]},{hint[1]}") for pattern in patterns)
    return Section(name, hints + section.options)
