"""What tests of a line have shown, in words: for the command and for the technician's console."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from appliance.i18n import _, translated

if TYPE_CHECKING:
    from appliance.edge.reach.names import Said
    from appliance.edge.reach.ping import Echo, Pinged
    from appliance.edge.reach.trace import Hop, Traced
    from appliance.edge.reach.verdicts import Verdict

Told = tuple[str, bool]
"""A line, and whether what it says is well."""


def of_echo(echo: Echo) -> Told:
    """One echo."""
    if echo.rtt_ms is not None:
        return _("{number}: {ms} ms").format(number=echo.number, ms=ms(echo.rtt_ms)), True
    why = translated(echo.said) or _("no answer")
    return _("{number}: {why}").format(number=echo.number, why=why), False


def of_pinged(found: Pinged) -> Iterator[Told]:
    """All echoes together."""
    if not found.received:
        yield _("No answer to {sent} echoes.").format(sent=found.sent), False
        return
    yield _("{received} of {sent} answered; {percent} % lost.").format(
        received=found.received, sent=found.sent, percent=f"{100 * found.loss:.0f}"
    ), not found.loss  # fmt: skip
    yield _("There and back {low} / {mean} / {high} ms (least, mean, most); jitter {jitter} ms.").format(
        low=ms(found.min_ms), mean=ms(found.mean_ms), high=ms(found.max_ms), jitter=ms(found.jitter_ms)
    ), True  # fmt: skip


def of_hop(hop: Hop) -> Told:
    """One router on the way."""
    text = f"{hop.number:>3}  {', '.join(hop.addresses) or _('silent')}"
    if hop.rtt_ms is not None:
        text += f"  {ms(hop.rtt_ms)} ms"
    if hop.mtu is not None:
        text += "  " + _("packets up to {mtu} octets").format(mtu=hop.mtu)
    return text, True


def of_traced(found: Traced) -> Iterator[Told]:
    """The way as a whole."""
    if found.said:
        yield translated(found.said), False
    if not found.reached:
        last = next((hop.addresses[0] for hop in reversed(found.hops) if hop.addresses), "")
        yield _("The host wasn't reached. The last to answer: {address}").format(address=last or _("nobody")), False
    if found.mtu is not None:
        yield _("The largest packet that goes through has {mtu} octets.").format(mtu=found.mtu), True


def of_said(said: Said) -> Told:
    """What a name server said."""
    parts = [", ".join(said.addresses)] if said.addresses else []
    parts += [translated(said.fault)] if said.fault else []
    return f"{said.server}: {'; '.join(parts)} ({said.ms:.0f} ms)", not said.fault


def of_verdict(title: str, verdict: Verdict) -> Told:
    """Where the fault of a line is."""
    text = f"{title}: {translated(verdict.message)}"
    trip = verdict.pinged.mean_ms if verdict.well and verdict.pinged is not None else None
    return text + (f" ({ms(trip)} ms)" if trip is not None else ""), verdict.well


def of_link(verdict: Verdict) -> str:
    """What is known of a line's interface; empty: it isn't there."""
    link = verdict.link
    if not link.there:
        return ""
    facts = [*link.addresses] or [_("no address")]
    facts += [_("gateway {address}").format(address=verdict.gateway)] if verdict.gateway else []
    facts += [f"{link.speed} Mbit/s"] if link.speed is not None else []
    return ", ".join(facts)


def ms(value: float | None) -> str:
    """Such as ``12.3``."""
    return "–" if value is None else f"{value:.1f}"
