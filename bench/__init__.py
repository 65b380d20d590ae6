"""Benchmarks: speed and memory as ratios against a baseline measured in the same run.

Contract: a benchmark is a module of this package with ``run(smoke: bool, say: Callable[[str], None]) -> Result``. It
says its progress through ``say`` (standard error). ``python -m bench NAME`` prints one JSON object as the last line of
standard output: name, commit, machine, figures, baseline, targets, met. ``--smoke`` runs ten seconds of it, for tests.
"""

from __future__ import annotations

import operator
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

BENCHMARKS: Final = (
    "api",
    "bans",
    "call_setup",
    "commit",
    "edge_footprint",
    "failover",
    "firewall",
    "footprint",
    "history",
    "hub",
    "relay",
    "switch",
    "vpn",
)

Say = Callable[[str], None]

_COMPARE: Final = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Result:
    """What one benchmark found. ``targets``: figure → bound such as ``">= 0.85"``; a name without figure isn't met."""

    name: str
    figures: Mapping[str, Any]
    baseline: Mapping[str, Any]
    targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        return all(self.meets(figure) for figure in self.targets)

    def meets(self, figure: str) -> bool:
        """Whether one target is met."""
        relation, bound = self.targets[figure].split()
        value = self.figures.get(figure)
        return value is not None and bool(_COMPARE[relation](float(value), float(bound)))

    def as_json(self) -> dict[str, Any]:
        """The object of the contract."""
        return {
            "name": self.name,
            "commit": commit_id(),
            "machine": machine(),
            "figures": dict(self.figures),
            "baseline": dict(self.baseline),
            "targets": dict(self.targets),
            "met": self.met,
        }


def commit_id() -> str:
    """The commit that was measured, with ``+`` when files differ from it."""
    top = Path(__file__).parents[1]
    git = ["git", "-C", str(top)]
    head = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    dirty = subprocess.run([*git, "status", "--porcelain"], capture_output=True, text=True, check=False)
    return (head.stdout.strip() or "unknown") + ("+" if dirty.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """What it was measured on."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory.split()[1]) / 1e6, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
