"""Attended transfers: a device asks somebody while the other party waits, and then joins the two. By the manager interface.

Each step is one order to the engine, after which it needs nobody (:mod:`appliance.pbx.extensions.consultation`): a hub, console or
program that dies in the middle leaves two people who talk, and a third who waits for as long as they do. The engine's own action
``Atxfer`` presses keys for a phone, and would need feature codes for everybody.

What happens when…

* whom one asks is busy, doesn't answer, or hangs up: one has the first party back by itself, and the call says why;
* the first party hangs up: the consultation goes on as a call of its own; there is nothing to complete or take back any more;
* whoever consults hangs up: the phone rings again for the first party; not lifted, that call ends;
* the order to join comes at the very moment when one of the three hangs up: who is left waiting comes back likewise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from appliance.core.errors import RefusedError
from appliance.engine.ami import AmiError
from appliance.hub import views
from appliance.hub.channels import UP, Channel, age
from appliance.hub.control import Control, check_number, no_party, plain, talks_to_nobody
from appliance.pbx.extensions.consultation import (
    BACK,
    BEGIN,
    CONSULTATION_FROM,
    CONSULTED,
    CONSULTED_BY,
    HANDED_ON,
    JOIN,
    TAKEN_BACK,
    WAIT,
)

SEEN_S: Final = 3.0
"""Seconds within which the engine tells that an order was carried out; it takes some hundredths of one."""


class AttendedControl(Control):
    """Control with attended transfers. Everything raises UnavailableError (``engine_unreachable``) without an engine."""

    async def consult(self, party: str, number: str) -> None:
        """Let whom a party talks to wait with music, and have the party's device call a number, as if it dialled it.

        :raises NotFoundError: there is no such party.
        :raises RefusedError: ``no_device``; ``not_talking``: to nobody, or to several; ``consulting``: it does so already;
            ``emergency_call``; ``transfer_refused``: an emergency number.
        """
        check_number(number)
        channel = self._device_channel(party)
        if self._waiting_for(channel) is not None:
            raise RefusedError(
                "this party consults somebody already", "complete that, or take the first back", error_id="consulting"
            )
        other = self._other(channel)
        self._no_emergency(channel)
        asked = {"Variable": f"DIALPLAN_EXISTS(emergency,{number},1)"}
        if (await self._link.session.action("Getvar", asked))[0].get("Value") == "1":
            raise RefusedError(
                "nobody can be let wait for an emergency call", "dial it at the phone", error_id="transfer_refused"
            )
        await self._set(other, CONSULTED_BY, channel.name)
        await self._set(channel, CONSULTED, other.name)
        await self._set(channel, f"_{CONSULTATION_FROM}", self._class(channel).context)
        begin = {"Context": BEGIN, "Exten": number, "Priority": "1"}
        wait = {"ExtraChannel": other.name, "ExtraContext": WAIT, "ExtraExten": "s", "ExtraPriority": "1"}
        before = channel.bridge
        await self._do("Redirect", channel, begin | wait)
        # Another bridge: it is over already, or was answered at once.
        await self._seen(lambda: self._waiting_for(channel) is not None or channel.bridge not in ("", before))

    async def take_back(self, party: str) -> None:
        """End the consultation: the party talks to the first one again.

        :raises NotFoundError: there is no such party.
        :raises RefusedError: ``no_device``; ``not_consulting``.
        """
        channel = self._device_channel(party)
        other = self._held_by(channel)
        await self._do("Redirect", channel, {"Context": BACK, "Exten": TAKEN_BACK, "Priority": "1"})
        await self._seen(lambda: other in self._link.live.channels.others_in_bridge(channel))

    async def complete(self, party: str, second: str = "") -> None:
        """Join the two whom a party talks to and lets wait, or, with ``second``, those of two calls of its phone. Its own part ends.

        :param second: the same extension's party in another call.
        :raises NotFoundError: there is no such party.
        :raises RefusedError: ``no_device``; ``not_consulting``; ``not_talking``; ``emergency_call``; ``transfer_refused``: two outside
            parties, and its class may not leave such behind.
        """
        channels, channel = self._link.live.channels, self._device_channel(party)
        if second:
            other, channel = self._other(channel), self._second(channel, second)
            self._no_emergency(other)
        else:
            other = self._held_by(channel)
        self._no_emergency(channel)
        self._other(channel)
        first, target = self._phones(other) - {party, second}, self._phones(channel) - {party, second}
        if not first or not target:
            raise talks_to_nobody()
        both = [self._oldest(first), self._oldest(target)]
        if all(each.trunk for each in both) and not self._class(channel).transfer.startswith("transfer-outside"):
            raise RefusedError(
                "two outside parties can't be joined by this phone",
                "its class of service would have to allow transfers outside",
                error_id="transfer_refused",
            )
        await self._set(other, CONSULTED_BY, channel.name)
        await self._set(other, HANDED_ON, f"{party}|{both[1].id}")
        await self._do("Redirect", other, {"Context": JOIN, "Exten": "s", "Priority": "1"})
        if not await self._seen(lambda: other.bridge == both[1].bridge or channel.id not in channels.all):
            raise RefusedError(
                "nothing has come of it", "somebody hung up meanwhile; see the call", error_id="not_talking"
            )
        await self._introduce(both)

    def _second(self, channel: Channel, second: str) -> Channel:
        """The channel of the same extension in another call, which talks to somebody."""
        found, extension_of = self._device_channel(second), self._link.live.directory.extension_of
        if found is channel or extension_of.get(found.device) != extension_of.get(channel.device):
            raise RefusedError(
                "these aren't two calls of one extension", "name its parties in both", error_id="not_one_extension"
            )
        return found

    async def _introduce(self, both: list[Channel]) -> None:
        """Show each of the two on the other's phone. No more than that: they talk, whatever comes of it."""
        directory, session = self._link.live.directory, self._link.session
        for one, other in (both, reversed(both)):
            if one.trunk:
                continue  # whom its caller reached is no business of a provider's
            entry = directory.extensions.get(directory.extension_of.get(other.device, ""))
            name = entry.name if entry else other.caller_name
            for what, value in (("num,i", views.number(directory, other)), ("name", name)):
                fields = {"Channel": one.name, "Variable": f"CONNECTEDLINE({what})", "Value": plain(value)}
                try:
                    await session.action("Setvar", fields)
                except AmiError:
                    return  # one has hung up by now

    async def _seen(self, so: Callable[[], bool]) -> bool:
        """Whether something is so within :data:`SEEN_S`: whoever asks how the call is from then on is told the new state."""
        until = time.monotonic() + SEEN_S
        while not so():
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.02)
        return True

    # What is found

    def _phones(self, channel: Channel) -> set[str]:
        """Who hears what a channel hears: it may be a Local channel."""
        channels = self._link.live.channels
        return {id for id in channels.joined(channel.id) if not channels.all[id].local}

    def _oldest(self, ids: Iterable[str]) -> Channel:
        return self._link.live.channels.all[min(ids, key=age)]

    def _other(self, channel: Channel) -> Channel:
        """The only one in a channel's bridge."""
        found = list(self._link.live.channels.others_in_bridge(channel))
        if channel.state != UP or not found:
            raise talks_to_nobody()
        if len(found) > 1:
            raise RefusedError(
                "this party talks to several at once",
                "only a call between two can be handed on",
                error_id="not_talking",
            )
        return found[0]

    def _waiting_for(self, channel: Channel) -> Channel | None:
        channels = self._link.live.channels
        waiting = channels.waiting(channels.together(channel.id))
        return next((each for each in waiting if each.waits_for == channel.name), None)

    def _held_by(self, channel: Channel) -> Channel:
        found = self._waiting_for(channel)
        if found is None:
            raise RefusedError(
                "nobody waits for this party",
                "the first party may have hung up; see the call",
                error_id="not_consulting",
            )
        return found

    def _no_emergency(self, channel: Channel) -> None:
        channels = self._link.live.channels
        if any(channels.all[id].emergency for id in channels.together(channel.id)):
            raise RefusedError(
                "this is an emergency call", "it stays as it is until it is hung up", error_id="emergency_call"
            )

    async def _set(self, channel: Channel, variable: str, value: str) -> None:
        try:
            fields = {"Channel": channel.name, "Variable": variable, "Value": value}
            await self._link.session.action("Setvar", fields)
        except AmiError:
            raise no_party(channel.id) from None
