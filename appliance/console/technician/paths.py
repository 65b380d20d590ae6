"""Where the console's own files are. ``CENTRALINO_EDGE_CONSOLE``: that directory, ``/var/lib/centralino-edge-console`` without it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT: Final = Path("/var/lib/centralino-edge-console")


@dataclass(frozen=True, slots=True)
class ConsolePaths:
    """Its user's alone."""

    top: Path

    @classmethod
    def default(cls) -> ConsolePaths:
        """By environment."""
        return cls(Path(os.environ.get("CENTRALINO_EDGE_CONSOLE") or DEFAULT).absolute())

    @property
    def code(self) -> Path:
        """What is kept of the technician's code."""
        return self.top / "code.json"

    @property
    def certificate(self) -> Path:
        """Of the console's own TLS."""
        return self.top / "console.crt"

    @property
    def key(self) -> Path:
        """Of that certificate."""
        return self.top / "console.key"
