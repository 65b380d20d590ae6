"""The seam at which tests kill the applier between two steps. Without ``CENTRALINO_CRASH_AT`` it does nothing."""

from __future__ import annotations

import os
import signal

_CRASH_AT = os.environ.get("CENTRALINO_CRASH_AT", "")


def checkpoint(name: str) -> None:
    """A moment between two steps, by the name that :func:`appliance.applier.plan.checkpoints` gives it."""
    if _CRASH_AT and name == _CRASH_AT:
        os.kill(os.getpid(), signal.SIGKILL)
