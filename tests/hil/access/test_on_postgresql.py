"""Everything that tests/unit/access tests on SQLite, on a real PostgreSQL server (see conftest.py)."""

from __future__ import annotations

from tests.unit.access.test_audit import *  # noqa: F403
from tests.unit.access.test_factors import *  # noqa: F403
from tests.unit.access.test_sessions import *  # noqa: F403
from tests.unit.access.test_signin import *  # noqa: F403
