"""The application over a small company, and people who ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.console.app import create_app
from appliance.console.services import Services
from appliance.paths import Paths
from tests.unit.access.company import filled
from tests.unit.console.asking import Askers


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Askers]:
    paths = Paths(tmp_path, tmp_path)
    for place in (paths.store, paths.console):
        place.mkdir()
    filled(paths.store).close()
    services = Services.open(paths)
    yield Askers(create_app(services))
    services.close()
