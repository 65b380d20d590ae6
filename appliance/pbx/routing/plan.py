"""routing → engine configuration (pure).

Contexts for other features:

``outside``
    A number without its outside prefix. Normalised, its category checked against the caller's class, then routed by site. A number
    of ours stays inside. A phone that withholds its number (``Privacy``, or ``From: <sip:anonymous@anonymous.invalid>``:
    RFC 3323) calls with CLIR. Causes to the phone: 484 not a number, 403 denied, 503 no line, else what the network said.
``route.<site id>``
    A normalised number (E.164 or short), already allowed, over the trunks that the site has for it.
``dids``
    A number of ours, E.164: inbound routes by order, then the DID's own destination; 404 when there is neither.
    ``FROM_TRUNK``, ``CALLER`` as set by the trunk.
``did``
    Exactly our numbers: ``DIALPLAN_EXISTS(did,${number},1)`` tells whether one is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section, dialplan
from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.feature import Contribution
from appliance.pbx.numbers.dialling import class_check, classify, normalise
from appliance.pbx.numbers.model import NumberPlan
from appliance.pbx.routing.destinations import steps
from appliance.pbx.routing.model import Did, InboundRoute, OutboundRoute
from appliance.pbx.trunks.order import flattened

NUMBER: Final = "_[+0-9]!"
_WITHHELD: Final = (("Privacy", "id|user|header"), ("From", "sips?:[Aa]nonymous@|@[Aa]nonymous[.]invalid"))
"""What a phone's headers hold when it doesn't want its number to be shown."""
NO_ROUTE, REJECTED, INVALID, NO_LINE = 1, 21, 28, 34
"""Q.850 causes; the phone gets 404, 403, 484, 503."""


def contribute(document: Document, installation: Installation) -> Contribution:  # noqa: ARG001
    """Ways out and ways in."""
    plan = next(iter(document.all(NumberPlan).values()), None)
    contexts = [_outside(plan.country if plan else "IT"), _no_line()]
    routes = sorted(document.all(OutboundRoute).values(), key=lambda route: (route.order, route.id))
    for site in document.all(Site).values():
        applicable = tuple(
            (route.prefixes, flattened(document, route.trunks))
            for route in routes
            if site.id in (route.sites or (site.id,))
        )
        contexts.append(_site(site.id, applicable, flattened(document, site.trunks)))
    contexts += _inbound(document)
    return Contribution(dialplan=tuple(contexts))


@lru_cache(maxsize=8)
def _outside(country: str) -> Section:
    withheld = " | ".join(f'${{REGEX("{pattern}" ${{PJSIP_HEADER(read,{header})}})}}' for header, pattern in _WITHHELD)
    return dialplan(
        "outside",
        (
            NUMBER,
            (
                f"Set(__CLI={carried.CALLER_NUMBER})",
                normalise("${EXTEN}", country),
                "Set(__CALLED=${GOSUB_RETVAL})",
                'GotoIf($["${CALLED}" = ""]?invalid)',
                classify("${CALLED}"),
                class_check(carried.CLASS, "${CALLED}", "${GOSUB_RETVAL}"),
                'GotoIf($["${GOSUB_RETVAL}" != "1"]?denied)',
                "GotoIf(${DIALPLAN_EXISTS(did,${CALLED},1)}?dids,${CALLED},1)",
                'GotoIf($["${CHANNEL(channeltype)}" != "PJSIP"]?open)',
                f"ExecIf($[{withheld}]?Set(__CLIR=1))",
                f"open: GotoIf(${{DIALPLAN_EXISTS(route.{carried.SITE},${{CALLED}},1)}}?route.{carried.SITE},${{CALLED}},1)",
                f"Hangup({NO_LINE})",
                f"invalid: Hangup({INVALID})",
                f"denied: Hangup({REJECTED})",
            ),
        ),
    )


def _no_line() -> Section:
    return dialplan("no-line", ("s", (f"Hangup({NO_LINE})",)))


@lru_cache(maxsize=4096)
def _site(site: str, routes: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...], trunks: tuple[str, ...]) -> Section:
    """A site's ways out: one pattern per prefix. ``routes`` in order: (prefixes, trunks).

    The engine takes the longest pattern. Which route a prefix leads to is settled here: of all routes that fit a
    number with that prefix, the first in order. Of a number's fitting prefixes each is the beginning of the longest,
    so looking at the longest decides for all.
    """
    prefixes = sorted({prefix for route, _ in routes for prefix in route} - {"+"})
    anything = next((carriers for route, carriers in routes if "+" in route), trunks)
    extensions = [(NUMBER, _carry(anything))]
    for prefix in prefixes:
        carriers = next(carriers for route, carriers in routes if any(prefix.startswith(short) for short in route))
        extensions.append((f"_{prefix}!", _carry(carriers)))
    return dialplan(f"route.{site}", *extensions)


def _carry(trunks: Sequence[str]) -> list[str]:
    return [*(f"Gosub(carry.{trunk},${{EXTEN}},1)" for trunk in trunks), "Goto(no-line,s,1)"]


def _inbound(document: Document) -> list[Section]:
    routes = sorted(document.all(InboundRoute).values(), key=lambda route: (route.order, route.id))
    choose = [condition for route in routes for condition in _conditions(route)]
    contexts = [
        dialplan(
            "dids",
            (
                NUMBER,
                (
                    "Set(__DID=${EXTEN})",
                    *choose,
                    "GotoIf(${DIALPLAN_EXISTS(did,${EXTEN},1)}?did,${EXTEN},1)",
                    f"Hangup({NO_ROUTE})",
                ),
            ),
        ),
        dialplan("did", *((did.number, steps(did.destination, document)) for did in document.all(Did).values())),
    ]
    contexts += [dialplan(f"inbound.{route.id}", ("s", steps(route.destination, document))) for route in routes]
    return contexts


def _conditions(route: InboundRoute) -> list[str]:
    """Steps that leave for a route's destination when it applies, one per trunk."""
    tests = []
    if route.called != "+":
        tests.append(f'"${{EXTEN:0:{len(route.called)}}}" = "{route.called}"')
    if route.caller is not None:
        tests.append(f'"${{CALLER:0:{len(route.caller)}}}" = "{route.caller}"')
    per_trunk = [[f'"${{FROM_TRUNK}}" = "{trunk}"', *tests] for trunk in route.trunks] or [tests]
    return [f"GotoIf($[{' & '.join(tests) or '1'}]?inbound.{route.id},s,1)" for tests in per_trunk]
