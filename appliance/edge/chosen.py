"""A line that somebody has chosen by hand, for a time: the others carry something only where it doesn't work.

Kept in memory: the agent's successor knows it, the machine's next start doesn't. What happens when the file is garbage, or its time is over:
nothing is chosen.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from appliance.clock import HOUR, SECOND, Clock, system_clock
from appliance.core.errors import Fault, InvalidError
from appliance.vpn.files import put

MAX: Final = 24 * HOUR
MIN: Final = 10 * SECOND


@dataclass(frozen=True, slots=True)
class Choice:
    """``left_s``: for how long."""

    line: int
    left_s: float

    def told(self) -> dict[str, Any]:
        """For whoever asks."""
        return {"line": self.line, "left_s": round(self.left_s)}


@dataclass(frozen=True, slots=True)
class Chosen:
    """``file``: where it is kept."""

    file: Path
    clock: Clock = system_clock

    def choose(self, line: int, seconds: float) -> None:
        """In place of what was chosen before.

        :raises InvalidError: ``seconds``: too short, or too long. :raises OSError: it can't be kept, and nothing is another.
        """
        if not MIN <= seconds * 1000 <= MAX:
            raise InvalidError(
                [
                    Fault(
                        "seconds",
                        f"is {seconds:g}",
                        f"from {MIN // 1000} to {MAX // 1000}: it ends by itself",
                        "seconds",
                    )
                ]
            )
        now = self.clock()
        plain = {"line": line, "until": now.uptime + int(seconds * 1000), "boot": now.boot}
        put(self.file, json.dumps(plain).encode())

    def end(self) -> None:
        """Now. :raises OSError: it can't be."""
        self.file.unlink(missing_ok=True)

    @property
    def now(self) -> Choice | None:
        """What is chosen."""
        now = self.clock()
        with contextlib.suppress(OSError, ValueError, RecursionError):
            match json.loads(self.file.read_bytes()):
                case {"line": int(line), "until": int(until), "boot": now.boot} if 0 < until - now.uptime <= MAX:
                    return Choice(line, (until - now.uptime) / 1000)
        return None
