"""How the tests are shared out, where pytest is asked for workers (``-n``); and no test speaks another's language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from appliance.i18n import speaking
from tests.distribution import pytest_xdist_make_scheduler

__all__ = ["pytest_xdist_make_scheduler"]

# A unit test judges no time: what others do beside it is not its fault.
settings.register_profile("centralino", parent=settings.default, deadline=None)
settings.load_profile("centralino")


@pytest.fixture(autouse=True)
def language_of_the_environment() -> Iterator[None]:
    """Whatever a test has spoken, the next one begins with the process's language."""
    yield
    speaking("")
