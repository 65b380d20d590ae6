"""ring groups → engine configuration (pure).

What a member's own settings do to calls of the group:

- *Do not disturb*: the member is left out.
- *Forwarding*: not followed; the member's devices ring. A group is answered by its members, not by the mobile phone or
  the voice mail of one of them.
- *Busy policy* ``busy``: left out while any of its devices is in a call or rings. ``call_waiting``: rings.
- *Class of service*: plays no part: being rung isn't calling. An outside destination of the group (``no_answer``) is
  the administrator's decision.
- The caller's own extension, and members without a registered device, are left out. When nobody is left, the group's
  ``no_answer`` destination comes at once.
- *Thin links*: a member at another site is left out when the link is full, and rings with the link's codecs.
- A phone's own redirection (302) is ignored.

What is seen: the caller sees the group's name and number, whoever answers, and hears one ringing tone from beginning to
end; a member sees the caller's number, and the group's name before the caller's.

Strategies: *all* rings everybody at once, each after its own delay; *sequential* one after the other, in the order of
the document; *round robin* the same, beginning after the member where the last call began (``round-robin/<group id>``
in the engine's database). A member that was left out or is busy costs no time.

Many members that ring at once: the engine cuts a variable after 4,095 bytes and a step's argument after 8,191
(``VAR_BUF_SIZE`` and ``EXT_DATA_SIZE`` of its pbx.c). Devices by name fill the first variable, ``GROUP_DEVICES``; whoever
comes later gets a Local channel, whose short name goes into the second, ``GROUP_MORE``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.asterisk import Section, dialplan, lookup, table
from appliance.core.document import Document
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.extensions.internal import NAME_CALLER, READ_EXTENSION, REDIRECT, REGISTERED, THROUGH_LINK
from appliance.pbx.extensions.model import Extension
from appliance.pbx.extensions.tables import TO_BUSY, TO_DEVICES, TO_ID, TO_SITE
from appliance.pbx.feature import Contribution
from appliance.pbx.groups.model import RingGroup, Strategy
from appliance.pbx.routing.destinations import hop, steps

UNANSWERED: Final = "Goto(unanswered,${DIALSTATUS},1)"
_DIAL: Final = "Ii"
"""Options of Dial: the caller keeps seeing the group; a member's own redirection is ignored."""
_BY_NAME_BYTES: Final = 2900
"""Bytes in ``GROUP_DEVICES`` up to which members are rung by their devices' names: the next nine, of 106 bytes at most,
still fit."""


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """This feature's part of the engine's configuration."""
    groups = sorted(document.all(RingGroup).values(), key=lambda group: group.id)
    numbers = ((group.number, (*hop(), f"Goto(group.{group.id},s,1)")) for group in groups if group.number)
    contexts = [dialplan("groups", *numbers), *_common(), *(_group(document, group) for group in groups)]
    names = [(group.id, group.name) for group in groups]
    return Contribution(dialplan=tuple(contexts), files=(table("groups", names),))


def _group(document: Document, group: RingGroup) -> Section:
    members = [(document.get(Extension, member.extension).number, member.delay_seconds) for member in group.members]
    first = [
        f"Set(GROUP_ID={group.id})",
        f"Set(GROUP_SECONDS={group.ring_seconds})",
        f"Gosub(group-begin,s,1({group.number or ''}))",
    ]
    ring = _all(members) if group.strategy is Strategy.ALL else _in_turn(members, group)
    # Whoever is called next is no member.
    unnamed = ["Set(CALLERID(name)=${GROUP_CALLER})", "Set(GROUP_ID=)"]
    last = [*unnamed, *steps(group.no_answer, document)] if group.no_answer else [UNANSWERED]
    return dialplan(f"group.{group.id}", ("s", (*first, *ring, *last)))


def _all(members: list[tuple[str, int]]) -> Iterator[str]:
    yield from (f"Gosub(group-member,{number},1({delay}))" for number, delay in members)
    yield "Gosub(group-ring,s,1)"


def _in_turn(members: list[tuple[str, int]], group: RingGroup) -> Iterator[str]:
    """One after the other, twice the list for round robin: it begins anywhere and still visits everybody once."""
    numbers = [number for number, _ in members]
    if group.strategy is Strategy.ROUND_ROBIN:
        yield f"Set(GROUP_FIRST=$[(0${{DB(round-robin/{group.id})}}) % {len(numbers)}])"
        yield f"Set(DB(round-robin/{group.id})=$[(${{GROUP_FIRST}} + 1) % {len(numbers)}])"
        yield f"Set(GROUP_NUMBERS={'-'.join(numbers + numbers)})"
    else:
        yield "Set(GROUP_FIRST=0)"
        yield f"Set(GROUP_NUMBERS={'-'.join(numbers)})"
    yield "Set(GROUP_TURN=1)"
    yield "next: Set(GROUP_NUMBER=${CUT(GROUP_NUMBERS,-,$[${GROUP_FIRST} + ${GROUP_TURN}])})"
    yield "Gosub(group-member,${GROUP_NUMBER},1(0))"
    yield "Gosub(group-ring,s,1)"
    yield "Set(GROUP_TURN=$[${GROUP_TURN} + 1])"
    yield f"GotoIf($[${{GROUP_TURN}} <= {len(numbers)}]?next)"


def _common() -> Iterator[Section]:
    """Subroutines of all groups."""
    yield _begin()
    yield _member()
    yield from _late()
    yield _ring()


def _begin() -> Section:
    """``group-begin`` (number): name the caller, tell him where he is, and let him hear ringing."""
    return dialplan(
        "group-begin",
        (
            "s",
            (
                f'GotoIf($["{carried.NUMBER}" = "" | ${{LEN(${{CALLERID(name)}})}} > 0 | ${{LEN(${{CALLERID(num)}})}} = 0]?named)',
                NAME_CALLER,
                "named: Set(GROUP_CALLER=${CALLERID(name)})",
                f"Set(GROUP_NAME={lookup('groups', 'GROUP_ID')})",
                "Set(CALLERID(name)=${GROUP_NAME})",
                "GotoIf($[${LEN(${GROUP_CALLER})} = 0]?shown)",
                "Set(CALLERID(name)=${GROUP_NAME} / ${GROUP_CALLER})",
                'shown: GotoIf($["${FROM_TRUNK}" != ""]?begin)',  # a provider needn't know
                "Set(CONNECTEDLINE(num,i)=${ARG1})",
                "Set(CONNECTEDLINE(name,i)=${GROUP_NAME})",
                "begin: Set(ARRAY(GROUP_DEVICES,GROUP_MORE)=)",
                "Set(DIALSTATUS=CHANUNAVAIL)",
                "Ringing()",
                "Return()",
            ),
        ),
    )


def _member() -> Section:
    """``group-member`` (delay): add the devices of ``${EXTEN}`` to those to ring, or a Local channel that rings them."""
    left_out = (
        f'$["{TO_DEVICES}" = "" | "{carried.NUMBER}" = "${{EXTEN}}" | "${{DB(dnd/{TO_ID})}}" != ""'
        f' | ("{TO_BUSY}" != "" & ${{GROUP_COUNT({TO_ID}@extension)}} > 0)]'
    )
    late = f"${{ARG1}} > 0 | ({THROUGH_LINK}) | ${{LEN(${{GROUP_DEVICES}})}} > {_BY_NAME_BYTES}"
    return dialplan(
        "group-member",
        (
            "_[0-9]!",
            (
                READ_EXTENSION,
                f"GotoIf({left_out}?out)",
                REGISTERED,
                f'GotoIf($["{TO_DEVICES}" = ""]?out)',
                f"GotoIf($[{late}]?late)",
                f"Set(GROUP_DEVICES=${{GROUP_DEVICES}}&{TO_DEVICES})",
                "out: Return()",
                "late: Set(GROUP_MORE=${GROUP_MORE}&Local/${EXTEN}~${ARG1}@group-late)",
                "Return()",
            ),
        ),
    )


def _late() -> Iterator[Section]:
    """Members that ring later, or through a thin link: each by a Local channel of its own."""
    yield dialplan(
        "group-late",
        (
            "_[0-9]!",
            (
                "Set(LATE_SECONDS=${CUT(EXTEN,~,2)})",
                "Wait(${LATE_SECONDS})",
                "Goto(group-late-ring,${CUT(EXTEN,~,1)},1)",
            ),
        ),
    )
    yield dialplan(
        "group-late-ring",
        (
            "_[0-9]!",
            (
                READ_EXTENSION,
                REGISTERED,
                f'GotoIf($["{TO_DEVICES}" = ""]?out)',
                f"GotoIf($[!({THROUGH_LINK})]?ring)",
                f"Gosub(link,s,1({TO_SITE},legs))",
                'GotoIf($["${GOSUB_RETVAL}" != ""]?full)',
                f"ring: Dial({TO_DEVICES},,{_DIAL}${{TO_OPTIONS}})",
                UNANSWERED,
                "out: Hangup(20)",
                "full: Hangup(34)",
            ),
        ),
    )


def _ring() -> Section:
    """``group-ring``: ring them; returns when nobody answered."""
    return dialplan(
        "group-ring",
        (
            "s",
            (
                'GotoIf($["${GROUP_DEVICES:0:1}${GROUP_MORE:0:1}" = ""]?out)',
                f"Dial(${{GROUP_DEVICES}}${{GROUP_MORE}},${{GROUP_SECONDS}},{_DIAL})",
                f"Set(IGNORED=${{DB_DELETE({REDIRECT})}})",  # a member's 302
                "out: Set(ARRAY(GROUP_DEVICES,GROUP_MORE)=)",
                "Return()",
            ),
        ),
    )
