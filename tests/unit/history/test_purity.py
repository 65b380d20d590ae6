"""The way from a line to a record is pure: no file, no clock, no database."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.test_pure_core import impurities

HISTORY = Path(__file__).parents[3] / "appliance" / "history"


@pytest.mark.parametrize(
    "name",
    [
        "line",
        "legs",
        "model",
        "openstate",
        "assemble",
        "record",
        "labels",
        "hours",
        "filter",
        "periods",
        "plain",
        "notice",
    ],
)
def test_pure_code_does_no_io(name: str) -> None:
    assert impurities((HISTORY / f"{name}.py").read_text()) == []
