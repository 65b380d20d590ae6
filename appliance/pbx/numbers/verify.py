"""What must hold between all that can be dialled, beyond what each model checks of itself.

Everything is told at once. Cost grows with the number of objects, not of pairs: numbers are looked up in dictionaries,
ranges in sorted lists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.organisation.model import Site
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.groups.model import RingGroup
from appliance.pbx.numbers.intervals import Interval, Intervals, overlaps
from appliance.pbx.numbers.model import ClassOfService, EmergencyPlan, NumberPlan, Service, ServiceCode
from appliance.pbx.numbers.tables import country, supported
from appliance.pbx.routing.loops import loops
from appliance.pbx.routing.model import Did
from appliance.pbx.trunks.model import Provider

_warning: Final = partial(Fault, severity="warning")


@dataclass(frozen=True, slots=True)
class _Owner:
    """Whose a number is: path of the field that says so, and what to call it."""

    path: str
    label: str


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    plans = list(document.all(NumberPlan).values())
    yield from _one_plan(document, plans)
    yield from _countries(document, plans)
    space = Intervals([interval for plan in plans for interval in _intervals(plan)])
    for plan in plans:
        yield from _ranges(plan)
        yield from _prefixes(plan)
    yield from _overlapping(space)
    yield from _numbers(document, plans, space)
    yield from _emergencies(document, plans, space)
    yield from _codes(document)
    yield from _unique(document)
    yield from _classes(document)
    yield from loops(document)


def _one_plan(document: Document, plans: list[NumberPlan]) -> Iterator[Fault]:
    if not plans and any(document.all(kind) for kind in (Extension, RingGroup, ServiceCode)):
        yield Fault("number_plan", "is missing: nothing can be dialled", "add one number_plan", "number_plan_missing")
    for plan in plans[1:]:
        yield Fault(
            plan.path(),
            f"is a second number plan beside {plans[0].path()}",
            "keep one: put all ranges and site prefixes into it",
            "number_plan_twice",
        )


def _countries(document: Document, plans: list[NumberPlan]) -> Iterator[Fault]:
    items: list[NumberPlan | Provider] = [*plans, *document.all(Provider).values()]
    for item in items:
        if country(item.country) is None:
            yield Fault(
                item.path("country"),
                f"the numbering rules of {item.country} are not known",
                f"choose one of {', '.join(supported())}",
                "country_unknown",
            )


# Ranges and prefixes


def _intervals(plan: NumberPlan) -> Iterator[Interval]:
    sound = [item for item in enumerate(plan.ranges) if len(item[1].first) == len(item[1].last)]
    for index, item in sound:
        if item.first <= item.last:
            yield Interval(
                item.first, item.last, plan.path(f"ranges[{index}]"), f"the numbers {item.first}-{item.last}"
            )
    for place, site in enumerate(plan.site_prefixes):
        for _, item in sound:
            if item.first <= item.last:
                first, last = site.prefix + item.first, site.prefix + item.last
                label = f"the numbers {first}-{last} (prefix {site.prefix} of site {site.site})"
                yield Interval(first, last, plan.path(f"site_prefixes[{place}].prefix"), label)


def _ranges(plan: NumberPlan) -> Iterator[Fault]:
    for index, item in enumerate(plan.ranges):
        path = plan.path(f"ranges[{index}]")
        if len(item.first) != len(item.last):
            yield Fault(
                f"{path}.last",
                f"{item.last} has another number of digits than {item.first}",
                "make a range for each length",
                "range_length",
            )
        elif item.first > item.last:
            yield Fault(f"{path}.last", f"{item.last} comes before {item.first}", "swap first and last", "range_order")
        prefix = plan.outside_prefix
        if prefix and Interval(item.first, item.last, "", "").may_begin_with(prefix):
            yield Fault(
                path,
                f"holds numbers that begin with the outside prefix {prefix}",
                "choose another range, or another outside_prefix",
                "outside_prefix_overlap",
            )


def _prefixes(plan: NumberPlan) -> Iterator[Fault]:
    outside = plan.outside_prefix
    prefixes: dict[str, str] = {}
    sites: dict[str, str] = {}
    for index, item in enumerate(plan.site_prefixes):
        path = plan.path(f"site_prefixes[{index}]")
        if outside and (item.prefix.startswith(outside) or outside.startswith(item.prefix)):
            yield Fault(
                f"{path}.prefix",
                f"{item.prefix} can't be told from the outside prefix {outside}",
                "choose a prefix that begins otherwise",
                "outside_prefix_overlap",
            )
        if item.prefix in prefixes:
            yield Fault(
                f"{path}.prefix",
                f"{item.prefix} is the prefix of site {prefixes[item.prefix]} too",
                "give each site a prefix of its own",
                "duplicate_prefix",
            )
        if item.site in sites:
            yield Fault(
                f"{path}.site", f"site {item.site} has the prefix {sites[item.site]} already", "remove one",
                "duplicate_prefix",
            )  # fmt: skip
        prefixes.setdefault(item.prefix, item.site)
        sites.setdefault(item.site, item.prefix)


def _overlapping(space: Intervals) -> Iterator[Fault]:
    told = set()
    for one, other in overlaps(space):
        if one.path == other.path:
            continue  # one prefix before two ranges that overlap themselves: those are told
        if (one.path, other.path) not in told:
            told.add((one.path, other.path))
            yield Fault(
                other.path,
                f"{other.label} overlap with {one.label}",
                f"make them apart, here or in {one.path}",
                "range_overlap",
            )


# Single numbers


def _owned(document: Document, plans: list[NumberPlan]) -> Iterator[tuple[str, _Owner]]:
    """Every number with its owner, emergency numbers first: they win over all."""
    emergency: set[str] = set()  # plans may share a number
    for plan in document.all(EmergencyPlan).values():
        for index, number in enumerate(plan.numbers):
            if number in emergency:
                continue
            emergency.add(number)
            owner = _Owner(plan.path(f"numbers[{index}]"), f"the emergency number {number}")
            for prefix in dict.fromkeys(["", *(plan.outside_prefix for plan in plans)]):
                yield prefix + number, owner
    for code in document.all(ServiceCode).values():
        yield code.code, _Owner(code.path("code"), f"the service code {code.code}")
    for extension in document.all(Extension).values():
        yield extension.number, _Owner(extension.path("number"), f"extension {extension.id}")
    for group in document.all(RingGroup).values():
        if group.number is not None:
            yield group.number, _Owner(group.path("number"), f"ring group {group.id}")


def _numbers(document: Document, plans: list[NumberPlan], space: Intervals) -> Iterator[Fault]:
    taken: dict[str, _Owner] = {}
    for number, owner in _owned(document, plans):
        first = taken.setdefault(number, owner)
        if first.path != owner.path:
            yield Fault(
                owner.path,
                f"{number} is the number of {first.label} already",
                f"choose another, here or in {first.path}",
                "duplicate_number",
            )
    if not plans:
        return
    outside = plans[0].outside_prefix
    for extension in document.all(Extension).values():
        if not space.find(extension.number, "ranges["):
            yield Fault(
                extension.path("number"),
                f"{extension.number} is in no range of the number plan",
                f"choose a number of {', '.join(f'{r.first}-{r.last}' for r in plans[0].ranges)}, or widen a range",
                "number_outside_ranges",
            )
    for number, path in _exact(document):
        if outside and number.startswith(outside):
            yield Fault(
                path,
                f"{number} begins with the outside prefix {outside}",
                "choose another number",
                "outside_prefix_overlap",
            )
        hidden_by = space.find(number, "site_prefixes[")
        if hidden_by:
            yield Fault(
                path, f"{number} is one of {hidden_by.label}", f"choose another, here or in {hidden_by.path}",
                "range_overlap",
            )  # fmt: skip
    for code in document.all(ServiceCode).values():
        hidden_by = space.find(code.code, "ranges[")
        if hidden_by:
            yield Fault(
                code.path("code"),
                f"{code.code} lies in {hidden_by.label}",
                "begin it with * or #, or make the range smaller",
                "range_overlap",
            )


def _exact(document: Document) -> Iterator[tuple[str, str]]:
    for group in document.all(RingGroup).values():
        if group.number is not None:
            yield group.number, group.path("number")
    for code in document.all(ServiceCode).values():
        yield code.code, code.path("code")


def _emergencies(document: Document, plans: list[NumberPlan], space: Intervals) -> Iterator[Fault]:
    for emergency in document.all(EmergencyPlan).values():
        for index, number in enumerate(emergency.numbers):
            path = emergency.path(f"numbers[{index}]")
            forms = dict.fromkeys([number, *(plan.outside_prefix + number for plan in plans)])
            for interval in space.holding(forms):
                yield Fault(
                    interval.path,
                    f"{interval.label} hold the emergency number {number}: nobody could be reached by it",
                    f"leave {number} out of it",
                    "emergency_overlap",
                )
            for plan in plans:
                if plan.outside_prefix and number.startswith(plan.outside_prefix):
                    yield Fault(
                        plan.path("outside_prefix"),
                        f"the emergency number {number} begins with it",
                        "choose another outside prefix, such as 0",
                        "emergency_overlap",
                    )
            longer = space.beginning_with(number)
            if longer:
                yield _warning(
                    path,
                    f"{longer.label} begin with {number}: phones that dial while one types would call for help",
                    "choose another range",
                    "emergency_prefix",
                )


def _codes(document: Document) -> Iterator[Fault]:
    """Codes that begin with another code: a phone waits for more digits, or takes the shorter one."""
    by_code: dict[str, ServiceCode] = {}
    for code in document.all(ServiceCode).values():
        by_code.setdefault(code.code, code)
    for code in by_code.values():
        for length in range(1, len(code.code)):
            shorter = by_code.get(code.code[:length])
            if shorter is None:
                continue
            takes_number = shorter.service is Service.FORWARD_SET and code.code[length:].isdigit()
            yield Fault(
                code.path("code"),
                f"{code.code} begins with the code {shorter.code} ({shorter.path()})",
                "choose codes of which none begins with another",
                "code_prefix",
                "error" if takes_number else "warning",
            )


# Other things that must be unique


def _unique(document: Document) -> Iterator[Fault]:
    dids: dict[str, Did] = {}
    for did in document.all(Did).values():
        other = dids.setdefault(did.number, did)
        if other is not did:
            yield Fault(
                did.path("number"),
                f"{did.number} is the number of {other.path()} already",
                "remove one of the two, or correct the number",
                "duplicate_number",
            )
    taken: dict[tuple[str, int], Device] = {}
    for device in document.all(Device).values():
        first = taken.setdefault((device.extension, device.slot), device)
        if first is not device:
            yield Fault(
                device.path("slot"),
                f"slot {device.slot} of extension {device.extension} is taken by {first.path()}",
                "choose a free slot from 1 to 9",
                "duplicate_slot",
            )


def _classes(document: Document) -> Iterator[Fault]:
    for item in document.all(ClassOfService).values():
        for prefix in sorted(set(item.allow_prefixes) & set(item.deny_prefixes)):
            yield Fault(
                item.path(f"deny_prefixes[{item.deny_prefixes.index(prefix)}]"),
                f"{prefix} is in allow_prefixes too",
                "leave it in one of the two",
                "prefix_allowed_and_denied",
            )
    yield from _without_class(document)


def _without_class(document: Document) -> Iterator[Fault]:
    sites = document.all(Site)
    told: set[str] = set()
    for extension in document.all(Extension).values():
        site = sites.get(extension.site)
        if site is None:
            continue
        if extension.class_of_service is None and site.class_of_service is None and site.id not in told:
            told.add(site.id)
            yield _warning(
                site.path("class_of_service"),
                f"is not set, nor is that of extension {extension.id}: it may call fixed, mobile and free numbers only",
                "name a class_of_service in the site, or in each of its extensions",
                "class_of_service_missing",
            )
