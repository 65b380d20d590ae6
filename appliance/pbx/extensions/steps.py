"""Steps of the dialplan for calls that a device sends on (pure)."""

from __future__ import annotations

from appliance.core.asterisk import Section, dialplan, lookup
from appliance.pbx import carried
from appliance.pbx.routing.destinations import hop


def sent_on(context: str, channel_variable: str, reach: str, targets: tuple[str, ...]) -> Section:
    """A context for calls that a device sends on to one of ``targets``: from here on the device's class counts.

    ``channel_variable`` holds the name of the device's channel, ``PJSIP/<device>@<door>.<token>-<8 digits>``: the engine
    sets it, so it tells who it was, unlike Referred-By, which the phone writes.
    """
    steps = (
        *hop(),
        f"Set(SENT_ON_BY=${{{channel_variable}:6:-9}})",
        "Set(SENT_ON_BY=${CUT(SENT_ON_BY,@,1)})",
        f"Set({carried.FROM}={lookup('devices', 'SENT_ON_BY')})",
        f"Goto(sent-on-{reach},${{EXTEN}},1)",
    )
    return dialplan(f"{context}-{reach}", *((target, steps) for target in targets))
