"""What is known of a call that hasn't ended (pure): kept in the database between two batches of events, as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.history.model import Transfer

EMERGENCY_CONTEXT: Final = "emergency"
OUTSIDE_CONTEXT: Final = "outside"
"""Contexts of the dialplan that tell where a call goes."""


@dataclass(slots=True)
class Channel:
    """One channel so far. ``caller``: it came to the engine. Times in microseconds, 0: not yet."""

    id: str
    name: str
    caller: bool = False
    started: int = 0
    answered: int = 0
    ended: int = 0
    exten: str = ""
    first_number: str = ""
    account: str = ""
    number: str = ""
    caller_name: str = ""
    origin: str = ""
    redirected_by: str = ""
    cause: int = 0
    source: str = ""
    dial_status: str = ""
    report: str = ""
    bridge: str = ""

    @property
    def endpoint(self) -> str:
        """The endpoint's id: ``reception-1`` of ``PJSIP/reception-1@tls.x7k2-0000002a``; empty for other technologies."""
        technology, _, rest = self.name.partition("/")
        return rest.rpartition("-")[0].partition("@")[0] if technology == "PJSIP" else ""

    @property
    def trunk(self) -> str:
        """Id of the trunk, or empty."""
        endpoint = self.endpoint
        return endpoint.removeprefix("trunk-") if endpoint.startswith("trunk-") else ""

    @property
    def device(self) -> str:
        """Id of the device, or empty."""
        return "" if self.trunk else self.endpoint

    @property
    def extension(self) -> str:
        """The device's extension: its endpoint's account code; without one, its first number."""
        return (self.account or self.first_number) if self.device else ""


@dataclass(slots=True)
class OpenCall:
    """A call in progress; ``serial`` orders calls by their first event. ``told``: types of the notices that were given of it."""

    key: str
    serial: int
    first: str
    channels: dict[str, Channel] = field(default_factory=dict)
    transfers: list[Transfer] = field(default_factory=list)
    forwards: list[str] = field(default_factory=list)
    contexts: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)
    last: int = 0
    incomplete: bool = False
    told: list[str] = field(default_factory=list)

    @property
    def live(self) -> bool:
        """Some channel hasn't ended."""
        return any(not channel.ended for channel in self.channels.values())

    @property
    def called(self) -> list[Channel]:
        """The legs to those who are called."""
        return [each for each in self.channels.values() if not each.caller and each.id != self.first and each.endpoint]

    @property
    def bridges(self) -> set[str]:
        """The bridges that its channels are in, or were last."""
        return {channel.bridge for channel in self.channels.values() if channel.bridge}

    def run_mark(self, number: int) -> bool:
        """Every channel's running number is below ``number``."""
        return all(id.rpartition(".")[2].isdecimal() and int(id.rpartition(".")[2]) < number for id in self.channels)

    @property
    def started(self) -> int:
        """Microseconds since the epoch."""
        return self.channels[self.first].started if self.first in self.channels else self.last


def dump(call: OpenCall) -> str:
    """The call as JSON text."""
    return json.dumps(
        {
            "serial": call.serial,
            "first": call.first,
            "channels": [[getattr(channel, name) for name in _CHANNEL] for channel in call.channels.values()],
            "transfers": [[t.kind, t.time, t.by, t.of, t.to] for t in call.transfers],
            "forwards": call.forwards,
            "contexts": call.contexts,
            "aliases": call.aliases,
            "last": call.last,
            "incomplete": call.incomplete,
            "told": call.told,
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def load(key: str, text: str) -> OpenCall:
    """The call that :func:`dump` wrote. Raises ValueError, KeyError or TypeError on anything else."""
    value: dict[str, Any] = json.loads(text)
    channels = [Channel(*fields) for fields in value["channels"]]
    return OpenCall(
        key,
        value["serial"],
        value["first"],
        {channel.id: channel for channel in channels},
        [Transfer(*fields) for fields in value["transfers"]],
        value["forwards"],
        value["contexts"],
        value["aliases"],
        value["last"],
        value["incomplete"],
        value.get("told", []),  # releases before gave no notices
    )


_CHANNEL = tuple(Channel.__dataclass_fields__)
