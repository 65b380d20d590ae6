"""Where the fault of a line is, in words for who stands before it (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.edge.reach.ping import Pinged


class Where(StrEnum):
    """From here to far away."""

    NO_DEVICE = "no_device"
    OFF = "off"
    NO_CABLE = "no_cable"
    NO_ADDRESS = "no_address"
    NO_GATEWAY = "no_gateway"
    GATEWAY_SILENT = "gateway_silent"
    NO_NAME = "no_name"
    """The line is well as far as its gateway; the target's name isn't known."""
    NEIGHBOUR_SILENT = "neighbour_silent"
    """The target is in the line's own network."""
    DISTANT = "distant"
    WELL = "well"


@dataclass(frozen=True, slots=True)
class Link:
    """A device. ``carrier``: whether something is at the cable's other end, None: it doesn't tell; ``speed``: Mbit/s; ``addresses``: with their networks."""

    device: str
    there: bool = False
    on: bool = False
    carrier: bool | None = None
    speed: int | None = None
    state: str = ""
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """``gateway`` empty: the line has none, or needs none; ``gateway_answers`` None: it wasn't asked; ``pinged``: the target, None: it wasn't asked."""

    where: Where
    link: Link
    target: str = ""
    gateway: str = ""
    gateway_answers: bool | None = None
    pinged: Pinged | None = None

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return self.where is Where.WELL

    @property
    def message(self) -> str:
        """Where the fault is."""
        return _told(self)

    @property
    def hint(self) -> str:
        """What to do; empty: nothing."""
        return _hint(self)


def _told(verdict: Verdict) -> str:
    device, target, gateway, where = verdict.link.device, verdict.target, verdict.gateway, verdict.where
    message = ""
    if where is Where.NO_DEVICE:
        message = f"there is no interface {device!r}"
    elif where is Where.OFF:
        message = f"the interface {device} is off"
    elif where is Where.NO_CABLE:
        message = f"nothing is at the other end of the cable of {device}"
    elif where is Where.NO_ADDRESS:
        message = (
            f"{device} has no address that {target} could be reached from" if target else f"{device} has no address"
        )
    elif where is Where.NO_GATEWAY:
        message = f"{device} has no gateway, and no other way to {target}" if target else f"{device} has no gateway"
    elif where is Where.GATEWAY_SILENT:
        message = f"the gateway {gateway} at {device} doesn't answer: the fault is here, or its"
    elif where is Where.NO_NAME:
        message = f"{device} is well as far as its gateway, but the name {target} can't be looked up"
    else:
        message = _of_target(verdict)
    return message


def _of_target(verdict: Verdict) -> str:
    device, target, gateway, where = verdict.link.device, verdict.target, verdict.gateway, verdict.where
    if where is Where.NEIGHBOUR_SILENT:
        message = f"{target} is in the network of {device} itself, and doesn't answer"
    elif where is Where.DISTANT and gateway:
        message = f"the gateway {gateway} at {device} answers, {target} doesn't: the fault is farther away"
    elif where is Where.DISTANT:
        message = f"{target} doesn't answer; {device} has no gateway that could be asked"
    elif target:
        message = f"{target} answers by {device}"
    elif gateway:
        message = f"the gateway {gateway} answers by {device}"
    else:
        message = f"{device} has an address and a route"
    return message


def _hint(verdict: Verdict) -> str:
    device = verdict.link.device
    hint = ""
    match verdict.where:
        case Where.NO_DEVICE:
            hint = "which there are: ip link; a modem or an adapter may have come loose"
        case Where.OFF:
            hint = f"switch it on: ip link set {device} up"
        case Where.NO_CABLE:
            hint = "is the cable in at both ends, and the provider's router on? Try another cable"
        case Where.NO_ADDRESS:
            hint = "does the provider's router give addresses (DHCP)? Else the address is to be set by hand"
        case Where.NO_GATEWAY:
            hint = "the provider's router names none: start it anew, or set the gateway by hand"
        case Where.GATEWAY_SILENT:
            hint = "is the provider's router on? Start it anew; is it the right cable?"
        case Where.NO_NAME:
            hint = f"what each name server says: centralino edge dns {verdict.target} --device {device}"
        case Where.NEIGHBOUR_SILENT:
            hint = "is it on, and its cable in?"
        case Where.DISTANT:
            hint = f"how far it goes: centralino edge trace {verdict.target} --device {device}; then tell the provider"
    return hint
