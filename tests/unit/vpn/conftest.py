"""An authority for each test: a copy of one that is made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.vpn.enrolment import codes, front
from tests.unit.vpn.ground import Ground
from tests.unit.vpn.our_centre import REFUSED_S, OurCentre


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Ground(tmp_path_factory.mktemp("prepared")).paths.top


@pytest.fixture
def ground(prepared: Path, tmp_path: Path) -> Ground:
    shutil.copytree(prepared, tmp_path / "vpn")
    return Ground(tmp_path, made=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes that are stretched little, and refusals that take little."""
    monkeypatch.setattr(codes, "_SCRYPT", {**codes._SCRYPT, "n": 2})
    monkeypatch.setattr(front, "REFUSED_S", REFUSED_S)


@pytest.fixture
def centre(ground: Ground, quick: None) -> Iterator[OurCentre]:
    with OurCentre(ground).open() as made:
        yield made
