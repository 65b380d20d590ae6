"""The seam at which tests kill the applier between two steps. Without ``CENTRALINO_CRASH_AT`` it does nothing."""

from __future__ import annotations

import os
import signal


def checkpoint(name: str) -> None:
    """A moment between two steps, by the name that :func:`appliance.applier.plan.checkpoints` gives it."""
    if name == os.environ.get("CENTRALINO_CRASH_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
