"""The kernel's settings by their files below /proc/sys, in one network namespace. Needs root to set them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.engine.netns import inside
from appliance.firewall.tuning import Setting

TOP: Final = Path("/proc/sys")
_SHARED: Final = frozenset({"net.netfilter.nf_conntrack_buckets", "net.netfilter.nf_conntrack_max"})
"""The kernel has one for all network namespaces, and lets the first one alone set it: elsewhere these aren't ours to judge."""


@dataclass(frozen=True, slots=True)
class Differing:
    """A setting that isn't as it should be. ``found``: what it is; None: the kernel doesn't have it."""

    key: str
    wanted: str
    found: str | None


def differing(settings: Iterable[Setting], namespace: str | None = None) -> tuple[Differing, ...]:
    """Those that aren't as they should be. :raises UnavailableError: there is no such namespace."""
    return inside(namespace, lambda: tuple(_differing(settings)))


def put(settings: Iterable[Setting], namespace: str | None = None) -> tuple[Differing, ...]:
    """Set those that aren't as they should be; those that couldn't be set. Idempotent.

    Not all or nothing: each is a guard by itself, and one that this kernel doesn't have keeps no other from being set.

    :raises UnavailableError: there is no such namespace.
    """

    wanted = tuple(settings)

    def do() -> tuple[Differing, ...]:
        for each in _differing(wanted):
            try:
                _place(each.key).write_text(each.wanted)
            except OSError:
                continue  # it is told below
        return tuple(_differing(wanted))

    return inside(namespace, do)


def _differing(settings: Iterable[Setting]) -> Iterator[Differing]:
    for setting in settings:
        for key in _keys(setting.key):
            try:
                found = _place(key).read_text().strip()
            except OSError:
                yield Differing(key, setting.value, None)
                continue
            if key in _SHARED and not os.access(_place(key), os.W_OK):
                continue
            if found != setting.value and setting.instead_of in (None, found):
                yield Differing(key, setting.value, found)


def _keys(key: str) -> Iterator[str]:
    """Every key that a pattern means; interfaces' names may hold dots, so they stand as slashes do in sysctl(8)."""
    before, star, after = key.partition("*")
    if not star:
        yield key
        return
    place = _place(before.rstrip("."))
    for each in sorted(path.name for path in place.iterdir()) if place.is_dir() else ():
        yield f"{before}{each.replace('.', '/')}{after}"


def _place(key: str) -> Path:
    return TOP / key.translate(str.maketrans("./", "/."))
