"""From the rules that stand to others, without a packet lost that both let in (pure).

The kernel (measured with Linux 6.18) switches a table's rules at once, and its interval sets some 0.2 ms later. With a table that is deleted and made
anew, whoever is let in by a set is let in by nobody within that moment. So the table stays:

1. sets that are new are made and filled, and no rule looks at them yet;
2. in one transaction all rules are replaced, and sets that stay are emptied and filled: until the kernel switches those, they hold what they held.

What nobody needs any more is removed with the second. Counters count on, and sources that are being limited stay so.

A network that moves from one set that stays to another that stays may still lose a packet. Rules that can't be reached like that (made by hand, or
by a version of this software that had another kind of set) are replaced as a whole, by :class:`appliance.firewall.kernel.Kernel`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_BLOCK: Final = re.compile(r"^  (set|chain) (\S+) \{\n(.*?)^  \}\n", re.MULTILINE | re.DOTALL)
_COUNTER: Final = re.compile(r"^  counter (\S+) \{ \}$", re.MULTILINE)
_INTERVALS: Final = "flags interval;"
_KINDS: Final = ("chain", "set", "counter")
_OTHERS: Final = {"table", "rule", "metainfo"}


@dataclass(frozen=True, slots=True)
class Standing:
    """Names of what the kernel has in our table, by its kind."""

    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    strange: bool = False
    """There is something of a kind that our scripts have none of."""

    @classmethod
    def of(cls, listed: Iterable[Mapping[str, Any]]) -> Standing:
        """From what ``nft --json list table`` says."""
        found: dict[str, set[str]] = {kind: set() for kind in _KINDS}
        strange = False
        for item in listed:
            for kind, told in item.items():
                if kind in found:
                    found[kind].add(str(told["name"]))
                elif kind not in _OTHERS:
                    strange = True
        return cls({kind: frozenset(names) for kind, names in found.items()}, strange)


def transitions(script: str, table: str, standing: Standing) -> tuple[str, ...]:
    """Scripts, to be loaded one after the other; none: it has to be replaced as a whole.

    :param script: by :func:`appliance.firewall.rules.script`.
    """
    begins = f"table inet {table} {{\n"
    _head, there, body = script.partition(begins)
    if not there or standing.strange or not standing.names.get("chain"):
        return ()
    blocks = {(kind, name): text for kind, name, text in _BLOCK.findall(body)}
    sets = {name: text for (kind, name), text in blocks.items() if kind == "set"}
    wanted = {
        "chain": {name for kind, name in blocks if kind == "chain"}, "set": set(sets), "counter": set(_COUNTER.findall(body)),
    }  # fmt: skip
    new = {name: text for name, text in sets.items() if name not in standing.names["set"]}
    stay = [name for name, text in sets.items() if name not in new and _INTERVALS in text]
    gone = [
        f"delete {kind} inet {table} {name}" for kind in _KINDS for name in sorted(standing.names[kind] - wanted[kind])
    ]
    switch = "\n".join(
        [f"flush table inet {table}", *gone, *(f"flush set inet {table} {name}" for name in stay), begins + body]
    )
    if not new:
        return (switch,)
    made = "".join(f"  set {name} {{\n{text}  }}\n" for name, text in new.items())
    return f"{begins}{made}}}\n", switch
