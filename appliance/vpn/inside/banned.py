"""Who is kept out at the centre, for edges: what the judge of bans shares, asked for once however many edges ask."""

from __future__ import annotations

import threading
import time
from typing import Final

from appliance.core.errors import CentralinoError
from appliance.firewall.bans import asking
from appliance.paths import Paths

GOOD_S: Final = 5.0
"""Seconds that an answer is good for."""


class SharedBans:
    """What :class:`~appliance.vpn.inside.service.Inside` gives edges. Thread-safe."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._text: bytes | None = None
        self._until = 0.0

    def __call__(self, _site: str) -> bytes | None:
        """The list; None: nobody judges here, or the judge doesn't answer now."""
        with self._lock:
            if time.monotonic() >= self._until:
                try:
                    self._text = asking.shared(self._paths)
                except CentralinoError:
                    self._text = None
                self._until = time.monotonic() + GOOD_S
            return self._text
