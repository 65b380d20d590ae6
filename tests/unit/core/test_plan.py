"""A plan is as bad as its worst step."""

import pytest

from appliance.core.plan import CollectState, Effect, Plan, ReadBack, ReloadModule, RestartEngine, Step, WriteFile

LIVE: tuple[Step, ...] = (
    WriteFile("pjsip.conf", ""),
    ReloadModule("res_pjsip"),
    ReadBack("pjsip.conf", "a", "endpoint", None, None),
    CollectState("extension", "a"),
)
DROPS = ReloadModule("res_pjsip", Effect.DROPS_CONNECTIONS)
RESTART = RestartEngine("other modules")


@pytest.mark.parametrize(
    ("steps", "effect"),
    [
        ((), Effect.LIVE),
        (LIVE, Effect.LIVE),
        ((DROPS, *LIVE), Effect.DROPS_CONNECTIONS),
        ((*LIVE, RESTART, DROPS), Effect.NEEDS_RESTART),
    ],
)
def test_effect_of_a_plan(steps: tuple[Step, ...], effect: Effect) -> None:
    assert Plan((), steps).effect is effect


def test_steps_are_values() -> None:
    assert WriteFile("a", "b") == WriteFile("a", "b")
    with pytest.raises(AttributeError):
        RESTART.reason = "another"  # type: ignore[misc]
