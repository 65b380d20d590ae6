"""Where everything of an edge lies. ``CENTRALINO_EDGE``: its top directory, ``/var/lib/centralino-edge`` without it.

``CENTRALINO_EDGE_RUN``: a directory in memory for what OpenVPN needs to be started again, so that a full disk keeps no branch out; ``/run/centralino-edge`` without either, else in the top directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT: Final = Path("/var/lib/centralino-edge")
DEFAULT_RUN: Final = Path("/run/centralino-edge")


@dataclass(frozen=True, slots=True)
class EdgePaths:
    """The directories of one edge. All of it is root's alone: it holds keys."""

    top: Path
    memory: Path | None = None
    """What :attr:`run` is; None: it lies below ``top``."""

    @classmethod
    def default(cls) -> EdgePaths:
        """By environment."""
        top, run = os.environ.get("CENTRALINO_EDGE"), os.environ.get("CENTRALINO_EDGE_RUN")
        memory = Path(run).absolute() if run else None
        return cls(Path(top).absolute(), memory) if top else cls(DEFAULT, memory or DEFAULT_RUN)

    @property
    def lock(self) -> Path:
        """Held by whoever changes anything below :attr:`states` and :attr:`pending`."""
        return self.top / "lock"

    @property
    def pending(self) -> Path:
        """Keys whose certificates haven't come yet."""
        return self.top / "pending"

    @property
    def states(self) -> Path:
        """Identities with their slices, one directory each, and the link to the one in force."""
        return self.top / "states"

    @property
    def current(self) -> Path:
        """Link to the state in force; swapped atomically."""
        return self.states / "current"

    @property
    def run(self) -> Path:
        """OpenVPN's configuration, its PID file and its management socket; mode 0710: who is of the edge's group comes to the sockets, and to nothing else."""
        return self.memory or self.top / "run"

    @property
    def relay(self) -> Path:
        """The relay's own directory (:mod:`appliance.failover.kept`)."""
        return self.top / "relay"

    @property
    def names(self) -> Path:
        """Addresses of the centre's names that were found last."""
        return self.top / "names.json"

    @property
    def network(self) -> Path:
        """Settings of interfaces that were made here (:mod:`appliance.edge.links.own`)."""
        return self.top / "network.json"

    @property
    def journal(self) -> Path:
        """Events that the centre hasn't yet, and the last that it has."""
        return self.top / "journal.db"

    @property
    def log(self) -> Path:
        return self.top / "log"

    @property
    def clock(self) -> Path:
        """The last time that was sure."""
        return self.top / "clock.json"

    @property
    def refused(self) -> Path:
        """Which slice this edge went back from."""
        return self.top / "refused.json"

    @property
    def socket(self) -> Path:
        """Where the agent tells how it stands."""
        return self.run / "edge.sock"

    @property
    def orders(self) -> Path:
        """Where it takes orders."""
        return self.run / "orders.sock"
