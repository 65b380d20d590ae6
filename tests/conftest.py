"""How the tests are shared out, where pytest is asked for workers (``-n``)."""

from __future__ import annotations

from tests.distribution import pytest_xdist_make_scheduler

__all__ = ["pytest_xdist_make_scheduler"]
