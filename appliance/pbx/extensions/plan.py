"""extensions → engine configuration (pure): devices, internal calls, and where a device's calls begin.

What other features may rely on (contexts; a call enters with its channel variables as DECISIONS of the dialplan say):

``from-device``
    First context of every call from a device. Looks at ``emergency``, ``services``, ``groups``,
    ``internal-from-device`` (whose patterns cover the groups' numbers as well), ``site-prefixes``, ``outward``, and at
    last ``nobody``: 404, by a call that the history has, for numbers that aren't anywhere.
``from-device-outside-only``
    The same for devices whose class of service doesn't have the category ``internal``: 403 for extensions and groups. By the
    endpoint's context, and not a step of each call.
``internal``
    Rings ``${EXTEN}`` for a call from anywhere: ``Goto(internal,<number>,1)``. Never returns.
``sent-on-inside``, ``sent-on-outside``, ``sent-on-outside-only``, ``sent-on-nowhere``
    Where a forwarded or transferred number is looked up: extensions (also behind a site's prefix) and groups; these and
    outside numbers; outside numbers alone; nothing. Services and emergency numbers aren't there: nobody can be sent to
    them.
``transfer-inside``, ``forwarded-inside``…
    Targets of REFER (``TRANSFER_CONTEXT``) and of 302 (``FORWARD_CONTEXT``), as the device's class has it; a transfer to
    a target that isn't there is refused, and the call stays with the device; a 302 to it counts as busy. They take over ``FROM`` of the
    device that sends the call on.
``outward``
    Numbers with the outside prefix, and with ``+``: to ``outside`` without the prefix. Refused (403) to a locked phone.
``pick-up``
    Takes the call that rings at channel ``PICKED``: the hub has a phone begin here (:mod:`appliance.hub.control`).
``consultation``…
    Attended transfers by order of the hub: :mod:`appliance.pbx.extensions.consultation`.
``unanswered``
    ``Goto(unanswered,${DIALSTATUS},1)`` after a Dial that wasn't answered: ends the call with the cause for the phone.

Values that phones set, in the engine's database: ``dnd/<extension id>`` (1), ``forward/<extension id>`` (number as
dialled), ``lock/<extension id>`` (1). A locked phone may dial emergency numbers, services, extensions and groups; and
what its extension forwards or its devices transfer doesn't get outside either.

On every leg of every device: ``FROM`` (see :mod:`appliance.pbx.carried`), and ``GROUP(extension)``, the extension's id,
which busy logic counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from appliance.core.asterisk import Section, dialplan
from appliance.core.document import Document
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.extensions import consultation, internal
from appliance.pbx.extensions.endpoints import sections
from appliance.pbx.extensions.patterns import patterns
from appliance.pbx.extensions.steps import NO_NUMBER, digits, forwarded, numbers_only, transferred
from appliance.pbx.extensions.tables import tables
from appliance.pbx.feature import Contribution
from appliance.pbx.groups.model import RingGroup
from appliance.pbx.numbers.model import NumberPlan, SitePrefix

Ranges = tuple[str, ...]


def contribute(document: Document, installation: Installation) -> Contribution:
    """This feature's part of the engine's configuration."""
    plan = next(iter(document.all(NumberPlan).values()), None)
    groups = tuple(sorted(group.number for group in document.all(RingGroup).values() if group.number))
    return Contribution(
        pjsip=tuple(sections(document, installation)),
        dialplan=_dialplan(plan, groups),
        files=tables(document, installation),
    )


@lru_cache(maxsize=2)
def _dialplan(plan: NumberPlan | None, groups: tuple[str, ...]) -> tuple[Section, ...]:
    ranges = patterns(plan.ranges) if plan else ()
    prefix = plan.outside_prefix if plan else ""
    prefixed = tuple(_site_prefixes(plan.site_prefixes if plan else (), ranges, "internal"))
    inside = (*ranges, *groups, *(pattern for pattern, _ in prefixed))
    outside = (f"_{prefix}X.", "_+X.")
    ours, theirs = ("groups", "internal", "prefixed"), ("outward",)
    reaches = {
        "inside": (inside, ours),
        "outside": ((*inside, *outside), ours + theirs),
        "outside-only": (outside, theirs),
        "nowhere": ((), ()),
    }
    return (
        Section("globals", (("TRANSFER_CONTEXT", "transfer-inside"), ("FORWARD_CONTEXT", "forwarded-inside"))),
        dialplan(
            "from-device",
            includes=("emergency", "services", "groups", "internal-from-device", "site-prefixes", "outward", "nobody"),
        ),
        dialplan("from-device-outside-only", includes=("emergency", "services", "not-inside", "outward", "nobody")),
        dialplan("not-inside", *((pattern, ("Hangup(21)",)) for pattern in inside)),
        dialplan("nobody", ("_[+*#0-9]!", ("Hangup(1)",))),
        dialplan("refused"),
        dialplan("pick-up", ("s", ("PickupChan(${PICKED})", "Hangup(16)"))),
        *consultation.contexts(),
        *internal.contexts(ranges),
        dialplan("site-prefixes", *_site_prefixes(plan.site_prefixes if plan else (), ranges, "internal-from-device")),
        dialplan("prefixed", *prefixed),
        *(dialplan(f"sent-on-{reach}", includes=includes) for reach, (_, includes) in reaches.items()),
        *(transferred(reach, targets) for reach, (targets, _) in reaches.items()),
        *(forwarded(reach, targets) for reach, (targets, _) in reaches.items()),
        _outward(prefix),
    )


def _outward(prefix: str) -> Section:
    locked = f'GotoIf($["${{DB(lock/{carried.EXTENSION})}}" != ""]?locked)'

    def steps(skipped: int) -> tuple[str, ...]:
        out = f"Goto(outside,{digits(skipped)},1)"
        return locked, numbers_only("invalid"), out, "locked: Hangup(21)", f"invalid: Hangup({NO_NUMBER})"

    return dialplan("outward", (f"_{prefix}X!", steps(len(prefix))), ("_+X.", steps(0)))


def _site_prefixes(
    prefixes: tuple[SitePrefix, ...], ranges: Ranges, context: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """A site's prefix and then a number: the call goes to the number, numbers being unique in all of the appliance."""
    for item in prefixes:
        for pattern in ranges:
            yield f"_{item.prefix}{pattern[1:]}", (f"Goto({context},${{EXTEN:{len(item.prefix)}}},1)",)
