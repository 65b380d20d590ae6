"""How the command begins: whoever asks for one thing doesn't wait for what the others need."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("aiohttp", "cryptography", "flask", "scapy", "sqlalchemy", "webauthn")
"""Libraries that take a tenth of a second and more; a verb that needs one brings it in itself."""


def test_no_verb_makes_the_others_wait_for_its_libraries() -> None:
    told = f"import appliance.cli, sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
