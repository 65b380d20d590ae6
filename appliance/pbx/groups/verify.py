"""What must hold between the objects of this feature and others, beyond what each model checks of itself."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.document import Document
from appliance.core.errors import Fault
from appliance.pbx.groups.model import AT_ONCE_MAX, RingGroup, Strategy


def verify(document: Document) -> Iterator[Fault]:
    """Every fault found, each with its path and how to mend it."""
    for group in document.all(RingGroup).values():
        yield from _members(group)


def _members(group: RingGroup) -> Iterator[Fault]:
    if group.strategy is Strategy.ALL and len(group.members) > AT_ONCE_MAX:
        yield Fault(
            group.path("members"),
            f"are {len(group.members)}, and at most {AT_ONCE_MAX} can ring at once",
            "choose sequential or round_robin, or make two groups of it",
            "too_many_at_once",
        )
    seen: dict[str, int] = {}
    for index, member in enumerate(group.members):
        first = seen.setdefault(member.extension, index)
        if first != index:
            yield Fault(
                group.path(f"members[{index}].extension"),
                f"{member.extension} is a member already, in place {first + 1}",
                "leave it in one of the two places",
                "member_twice",
            )
        if group.strategy is Strategy.ALL and member.delay_seconds >= group.ring_seconds:
            yield Fault(
                group.path(f"members[{index}].delay_seconds"),
                f"{member.extension} would begin to ring after {member.delay_seconds} s,"
                f" but the group rings for {group.ring_seconds} s only",
                f"choose a shorter delay, or a longer {group.path('ring_seconds')}",
                "delay_too_long",
            )
