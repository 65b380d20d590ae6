"""What a commit must pass before anything is changed: its effects were asked for, the engine answers, its ports can be opened."""

from __future__ import annotations

from appliance.applier import plan as plans
from appliance.applier import sockets
from appliance.applier.link import EngineLink
from appliance.applier.options import Options
from appliance.applier.plan import Files
from appliance.core.errors import Fault, InvalidError, RefusedError, UnavailableError
from appliance.core.plan import Effect, Plan


def permit(plan: Plan, options: Options) -> None:
    """:raises RefusedError: it does more than was asked for: drops connections, needs a restart."""
    allowed = {Effect.LIVE.value, *options.allow}
    if Effect.NEEDS_RESTART.value in allowed:
        allowed.add(Effect.DROPS_CONNECTIONS.value)
    wrong = [step for step in plan.steps if step.effect.value not in allowed]
    if wrong:
        shown = "; ".join(plans.sentence(step) for step in wrong[:3])
        ask = "--allow-restart" if plan.effect is Effect.NEEDS_RESTART else "--allow-drops"
        raise RefusedError(
            f"this {plans.LABELS[plan.effect]}: {shown}",
            f"ask for it with {ask}, or have it done at a quiet time: --at 22:30",
            error_id=plan.effect.value,
        )


def openable(link: EngineLink, old: Files, new: Files) -> None:
    """:raises InvalidError: a port that a listener is to move to is taken. Found out before the engine tries: it
    would close the old one first, and not open it again when the files go back."""
    places = sockets.wanted(new)
    hindrances = link.hindrances(places.keys() - sockets.wanted(old).keys())
    hint = "choose another port or address, or stop the program that holds it"
    faults = [
        Fault(f"listener/{places[place]}/port", f"{place} can't be opened: {reason}", hint, "port_taken")
        for place, reason in sorted(hindrances.items())
    ]
    if faults:
        raise InvalidError(faults)


def engine_answers(link: EngineLink, options: Options) -> bool:
    """Whether to tell the engine. :raises UnavailableError: it doesn't answer, and that wasn't expected."""
    try:
        link.ping()
    except UnavailableError as error:
        if options.offline:
            return False
        raise UnavailableError(
            f"nothing was changed: {error.message}",
            "start the engine, or have the files written for its next start: --offline",
            error_id=error.error_id,
        ) from error
    return True
