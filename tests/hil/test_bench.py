"""Every benchmark runs in its smoke mode and keeps the contract; whether targets are met is for quiet machines to say."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import BENCHMARKS, Result

TOP = Path(__file__).parents[2]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_smoke(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", name, "--smoke"],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"name", "commit", "machine", "figures", "baseline", "targets", "met"}
    assert found["name"] == name
    assert isinstance(found["met"], bool)
    assert found["baseline"], "a figure without a baseline of the same run says nothing"
    assert set(found["targets"]) <= set(found["figures"])
    assert found["figures"].get("failed", 0) == 0
    assert done.stderr.strip(), "progress belongs on standard error"


def test_targets() -> None:
    targets = {"ratio": ">= 0.85", "seconds": "<= 2"}
    assert Result("x", {"ratio": 0.85, "seconds": 2}, {}, targets).met
    assert not Result("x", {"ratio": 0.84, "seconds": 1}, {}, targets).met
    assert not Result("x", {"ratio": 0.9, "seconds": 2.1}, {}, targets).met
    assert not Result("x", {"ratio": 0.9}, {}, targets).met
