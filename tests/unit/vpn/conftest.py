"""An authority for each test: a copy of one that is made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.vpn.ground import Ground


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Ground(tmp_path_factory.mktemp("prepared")).paths.top


@pytest.fixture
def ground(prepared: Path, tmp_path: Path) -> Ground:
    shutil.copytree(prepared, tmp_path / "vpn")
    return Ground(tmp_path, made=False)
