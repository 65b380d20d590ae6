"""States, whatever is done with them: killed before any change of a file, or out of room from any on, what is in force is whole and one of both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from appliance.core.errors import CentralinoError
from appliance.edge.paths import EdgePaths
from appliance.edge.states import Material, States, Trial
from appliance.vpn.slices import signed
from tests.unit.edge.slices import a_slice, enrolled
from tests.unit.vpn.ground import Ground, Killed
from tests.unit.vpn.trap import TRAP

STEPS = st.sampled_from(("put", "try", "confirm", "back", "note"))
ENDS = st.one_of(st.none(), st.tuples(st.integers(1, 14), st.booleans()))
"""How a step ends: well; or at which change of a file, and whether by a kill or by a full disk."""


@pytest.fixture(scope="module")
def begun(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Material]]:
    """An enrolled edge to copy, and what may come after."""
    place = tmp_path_factory.mktemp("begun")
    shutil.copytree(prepared, place / "vpn")
    ground = Ground(place, made=False)
    identity = enrolled(place, ground)
    first = identity.current
    assert first is not None
    signer = ground.authority.signer()
    slices = (a_slice(revision=n, networks=[f"10.{n}.0.0/24"]) for n in (8, 9, 10))
    return identity.states.paths.top, [replace(first.material, slice=signed(each, signer)) for each in slices]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(STEPS, ENDS, st.integers(0, 2)), max_size=3), STEPS)
@example([], "put")
@example([("try", None, 0)], "back")
@example([("try", None, 0)], "put")
def test_what_is_in_force_is_always_whole(
    begun: tuple[Path, list[Material]],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    former: list[tuple[str, tuple[int, bool] | None, int]],
    last: str,
) -> None:
    """Some steps, well or badly ended; then one more that ends at each change in turn."""
    monkeypatch.setattr("appliance.applier.files.os.fsync", lambda _handle: None)  # nothing here cuts the power
    place = tmp_path_factory.mktemp("edge")
    shutil.copytree(begun[0], place / "edge", symlinks=True)
    for step, end, chosen in former:
        tried(States(EdgePaths(place / "edge")), step, end, begun[1][chosen])
    for full in (False, True):
        for at in range(1, 40):
            shutil.copytree(place / "edge", place / f"{at}-{full}", symlinks=True)
            states = States(EdgePaths(place / f"{at}-{full}"))
            if tried(states, last, (at, full), begun[1][0]) and TRAP.seen < at:
                break
        assert at < 39
        with states.lock():  # the next one that goes well leaves nothing behind
            name = states.put(begun[1][0])
            states.confirm(name)
        assert {path.name for path in states.paths.states.iterdir()} == {"current", name}


def tried(states: States, step: str, end: tuple[int, bool] | None, material: Material) -> bool:
    """One step; whether it came to its end. In force is what was, or what was to be; and so is what it would go back to."""
    before, name = _material(states), states.name
    assert name is not None
    trial = states.trial(name)
    back = states.read(trial.previous).material if trial is not None else before
    wanted = {"put": material, "try": material, "back": back}.get(step, before)
    done = stopped(states, end, _action(states, step, name, material))
    after, now = _material(states), states.name
    assert after in ((wanted,) if done else (before, wanted)), (step, end)
    again = states.trial(now) if now is not None else None
    if again is not None:
        states.read(again.previous)
    return done


def _action(states: States, step: str, name: str, material: Material) -> Callable[[], object]:
    trial = states.trial(name)
    made = Trial(trial.previous if trial is not None else name, "boot", 60_000, 1)
    return {
        "put": lambda: states.put(material),
        "try": lambda: states.put(material, made),
        "confirm": lambda: states.confirm(name),
        "back": lambda: states.roll_back(trial) if trial is not None else None,
        "note": lambda: states.note_trial(name, replace(trial, tries=2)) if trial is not None else None,
    }[step]


def stopped(states: States, end: tuple[int, bool] | None, action: Callable[[], object]) -> bool:
    """Whether it came to its end. The lock is let go by whoever dies."""
    with states.lock():
        try:
            if end is None:
                action()
                return True
            with TRAP.set(states.paths.top, end[0], full=end[1]):
                action()
        except (Killed, CentralinoError):
            return False
    return True


def _material(states: States) -> Material:
    found = states.current()
    assert found is not None
    return found.material
