"""Two people's changes of one object, made one (pure): a three-way merge, field by field.

A field that one side alone changed is as that side made it; one that both made the same is so; one that both made different
is a *clash*: somebody must say whose holds. Lists are one field each: of a list that both changed, no order would be right by
itself. Parts are told apart field by field, destinations only while they are of one type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

Plain = Mapping[str, Any]
WHOLE: Final = ""
"""Path of the object itself: one side took it out and the other changed it."""
ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Merge:
    """What became of both sides.

    :param data: the object; None: it goes. Where sides clash it is as mine.
    :param clashes: paths of fields (``destination.site``) that both changed, each otherwise.
    :param theirs: paths of fields that only the other side changed.
    """

    data: dict[str, Any] | None
    clashes: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()


def three_way(
    base: Plain | None, mine: Plain | None, theirs: Plain | None, taken: Mapping[str, bool] | None = None
) -> Merge:
    """Merge two sides that began at ``base``; None: no object.

    :param taken: path of a clash → whether the other side's is taken; those clashes are settled.
    """
    taken = taken or {}
    if mine is None or theirs is None:
        return _whole(base, mine, theirs, taken)
    work = _Work(taken, [], [])
    data = work.group("", base or {}, mine, theirs)
    return Merge(data, tuple(work.clashes), tuple(work.theirs))


def _whole(base: Plain | None, mine: Plain | None, theirs: Plain | None, taken: Mapping[str, bool]) -> Merge:
    if theirs in (mine, base):
        return Merge(None if mine is None else dict(mine))
    if mine == base:
        return Merge(None if theirs is None else dict(theirs), theirs=(WHOLE,))
    won = theirs if taken.get(WHOLE) else mine
    return Merge(None if won is None else dict(won), () if WHOLE in taken else (WHOLE,))


@dataclass(frozen=True, slots=True)
class _Work:
    taken: Mapping[str, bool]
    clashes: list[str]
    theirs: list[str]

    def group(self, path: str, base: Plain, mine: Plain, theirs: Plain) -> dict[str, Any]:
        """Fields in the order that mine has them in, then those that only the other side has."""
        made = {
            name: self.field(
                f"{path}.{name}" if path else name, *(side.get(name, ABSENT) for side in (base, mine, theirs))
            )
            for name in dict.fromkeys((*mine, *theirs))
        }
        return {name: value for name, value in made.items() if value is not ABSENT}

    def field(self, path: str, base: Any, mine: Any, theirs: Any) -> Any:
        if theirs in (mine, base):
            return mine
        if _alike(base, mine, theirs):
            return self.group(path, base, mine, theirs)
        if mine == base:
            self.theirs.append(path)
            return theirs
        if path not in self.taken:
            self.clashes.append(path)
        return theirs if self.taken.get(path) else mine


def _alike(*sides: Any) -> bool:
    """Whether they are parts that can be told apart field by field."""
    return all(isinstance(side, dict) for side in sides) and len({side.get("type") for side in sides}) == 1


def value_at(data: Plain | None, path: str) -> Any:
    """The value that a path leads to; ABSENT: there is none. The object itself for the path of the whole."""
    found: Any = ABSENT if data is None else data
    for name in path.split(".") if path else ():
        found = found.get(name, ABSENT) if isinstance(found, Mapping) else ABSENT
    return found


Step = TypeVar("Step")


def last_change(steps: Sequence[tuple[Step, Plain | None, Plain | None]], path: str) -> Step | None:
    """Of steps (which, before, after) in their order the last one that changed what is at a path."""
    found = (which for which, before, after in reversed(steps) if value_at(before, path) != value_at(after, path))
    return next(found, None)
