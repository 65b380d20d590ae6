"""An authority that is made once, copied for each test, as tests/unit/vpn has it."""

from __future__ import annotations

from tests.unit.vpn.conftest import ground, prepared

__all__ = ["ground", "prepared"]
