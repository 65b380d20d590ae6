"""Interfaces of an edge's lines: as the document has them, or as somebody has set them up here (:mod:`.own`), in the kernel (:mod:`.keeping`)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from appliance.clock import Clock, system_clock
from appliance.core.errors import NotFoundError, RefusedError
from appliance.edge.links.keeping import Links
from appliance.edge.links.own import TRIAL, Own
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State
from appliance.failover.model import LINES
from appliance.failover.plan import line_of
from appliance.vpn.slices.model import Link

_log = logging.getLogger("centralino.edge")


class Network:
    """Of one edge. ``trial_s``: how long what is set up here has to prove itself."""

    def __init__(self, paths: EdgePaths, clock: Clock = system_clock, *, trial_s: float | None = None) -> None:
        self.links = Links(paths, clock)
        self._own = Own(paths.network, clock, TRIAL if trial_s is None else int(1000 * trial_s))
        self._state: State | None = None

    def tend(self, state: State | None, lines: Callable[[], list[dict[str, Any]]]) -> None:
        """One round. ``lines``: how they stand (:meth:`appliance.edge.relay.EdgeRelay.told`). :raises CentralinoError: and :raises OSError: something isn't as it should be; all else is."""
        self._state, trouble = state, None
        try:
            over = self._own.look(lambda device: any(each["device"] == device and each["up"] for each in lines()))
        except OSError as error:
            over, trouble = None, error
        if over is not None:
            _log.warning("settings that were made here: %s", over)
        self.links.tend(self._own.links(self._given()))
        if trouble is not None:
            raise trouble

    def set_up(self, device: str, access: Any) -> None:
        """An interface, from here; None: as the document says. On trial, but at an edge that is no branch yet: it has nothing to lose.

        :raises NotFoundError: ``no_device``: no line of this branch is there. :raises InvalidError: it can't be so.
        :raises RefusedError: ``too_many_lines``. :raises OSError: it can't be kept.
        """
        known = {each.device: line_of(each.number) for each in self._state.slice.paths} if self._state else {}
        if known and device not in known:
            raise NotFoundError(
                f"no line of this branch is at {device!r}", f"one of {', '.join(known)}: centralino edge network", error_id="no_device"
            )  # fmt: skip
        taken = {each.number for each in self._own.links(self._given()) if each.device != device}
        free = next((each for each in range(1, LINES + 1) if each not in taken), 0)
        if not known.get(device, free):
            raise RefusedError(
                f"{LINES} interfaces are set up already", "take one of them back first: centralino edge network", error_id="too_many_lines"
            )  # fmt: skip
        self._own.change(known.get(device, free), device, access, self._given(), on_trial=self._state is not None)

    def keep(self) -> None:
        """What is on trial is right. :raises NotFoundError: ``no_trial``."""
        self._own.keep()

    def told(self) -> dict[str, Any]:
        """``links``: how each stands; ``network``: what was set up here."""
        return {"links": self.links.told(), "network": self._own.told()}

    def _given(self) -> tuple[Link, ...]:
        """Those that the document sets up."""
        return () if self._state is None else self._state.slice.links
