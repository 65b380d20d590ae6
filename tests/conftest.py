"""How the tests are shared out, where pytest is asked for workers (``-n``); and no test speaks another's language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.i18n import speaking
from tests.distribution import pytest_xdist_make_scheduler

__all__ = ["pytest_xdist_make_scheduler"]


@pytest.fixture(autouse=True)
def language_of_the_environment() -> Iterator[None]:
    """Whatever a test has spoken, the next one begins with the process's language."""
    yield
    speaking("")
