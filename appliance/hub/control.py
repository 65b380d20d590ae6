"""What is done to calls: placed from somebody's phone, transferred, redirected, picked up, ended. By the manager interface.
Transfers with a word before (attended) are in :mod:`appliance.hub.attended`.

A call is placed like by hand: the phone rings, and whoever lifts it is a caller with all rights and all limits of that device, in
the same dialplan. From there on nobody of us is needed (law 1). What a device may transfer or redirect a call to is looked up
where its own transfers are.

What happens when…

* the phone that is to call isn't lifted: it stops after :data:`LIFT_S`, nobody else was called;
* the engine is away: refused at once; whatever it had begun it goes on with;
* the hub dies between request and answer: the engine does it or not; the caller asks what calls there are before it tries again,
  or sends the same idempotency key (:mod:`appliance.console.api.idempotency`).
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Mapping
from typing import Final

from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.engine.ami import AmiError
from appliance.hub.channels import PLACED_FROM, RINGING, UP, Channel
from appliance.hub.directory import DeviceClass
from appliance.hub.engine_link import EngineLink
from appliance.hub.live import PLACED, Contact

LIFT_S: Final = 30
"""Seconds that the own phone rings."""
NUMBER: Final = re.compile(r"\+?[0-9*#]{1,32}")
VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,31}")
VARIABLES_MAX: Final = 16
VALUE_MAX: Final = 128
PREFIX: Final = "API_"
"""Before the names of variables that programs give to a call: none of the dialplan's own begins with it."""
OBEY_S: Final = 4.0
"""Seconds within which a phone does what it is told: longer than its SIP stack takes to repeat a lost message thrice."""
TALKS: Final = ("snom", "Yealink", "Polycom", "PolyEdge", "Poly", "Fanvil", "Grandstream")
"""Beginnings of the User-Agent of phones that answer and hold at the word of their server (NOTIFY, events ``talk`` and ``hold``:
by their vendors' guides)."""
NOTIFIED: Final = {"answer": "talk", "hold": "hold", "resume": "talk"}
"""What a phone is told to do → the event that tells it: to a phone that holds a call, ``talk`` means that."""


class Control:
    """Does things to the calls of one engine. Everything raises UnavailableError (``engine_unreachable``) without one."""

    def __init__(self, link: EngineLink) -> None:
        self._link = link
        self._counter = itertools.count(PLACED_FROM + secrets.randbelow(900_000_000))

    async def place(self, device: str, number: str, variables: Mapping[str, str] | None = None) -> str:
        """Have a device call a number; id of the call.

        :raises InvalidError: ``number`` or ``variables``.
        :raises NotFoundError: there is no such device.
        :raises RefusedError: ``device_absent``: it isn't registered now.
        """
        check_number(number)
        given = _checked(variables or {})
        directory = self._link.live.directory
        shown = next((entry.name for entry in directory.extensions.values() if entry.number == number), number)
        told = [
            # What the own phone shows while it rings: whom it is about to call. (CallerID would change who calls.)
            f"CONNECTEDLINE(num,i)={number}",
            f"CONNECTEDLINE(name,i)={plain(shown)}",
            f"{PLACED}={number}",
            *(f"__{PREFIX}{key}={value}" for key, value in given.items()),
        ]
        return await self._begin(device, directory.classes.get(device, DeviceClass()).context, number, told)

    async def _begin(self, device: str, context: str, number: str, variables: list[str]) -> str:
        """Have a device ring, and go on there in the dialplan once it is lifted; id of its channel."""
        contact = self._contact(device)
        id = f"centralino-{int(time.time())}.{next(self._counter)}"
        await self._link.session.action(
            "Originate",
            {
                "Channel": f"PJSIP/{contact.endpoint}",
                "Context": context,
                "Exten": number,
                "Priority": "1",
                "Timeout": str(LIFT_S * 1000),
                "ChannelId": id,
                "Async": "true",
                "Variable": variables,
            },
        )
        return id

    async def pick_up(self, party: str, device: str) -> str:
        """Have a device take a call that rings at a party: the device rings, and whoever lifts it talks to the caller. Id of the
        device's channel.

        :raises NotFoundError: there is no such party or device.
        :raises RefusedError: ``no_device``; ``not_ringing``; ``device_absent``.
        """
        channel = self._device_channel(party)
        caller = self._caller_of(channel)
        if channel.state == UP or channel.caller or caller is None:
            raise RefusedError("this party isn't called", "only a call that rings can be taken", error_id="not_ringing")
        number = caller.origin if caller.trunk else caller.number
        shown = [f"CONNECTEDLINE(num,i)={plain(number)}", f"CONNECTEDLINE(name,i)={plain(caller.caller_name)}"]
        return await self._begin(device, "pick-up", "s", [*shown, f"PICKED={channel.name}"])

    async def hang_up(self, party: str) -> None:
        """End one party's part in its call. Raises NotFoundError."""
        await self._do("Hangup", self._channel(party), {"Cause": "16"})

    async def transfer(self, party: str, number: str) -> None:
        """Hand on whom a party talks to, as a phone does by REFER. The party's own part ends.

        :raises NotFoundError: there is no such party.
        :raises RefusedError: ``no_device``; ``not_talking``; ``transfer_refused``: its class may not, or nobody has the number.
        """
        check_number(number)
        channel = self._device_channel(party)
        if channel.state != UP or not any(True for _ in self._link.live.channels.others_in_bridge(channel)):
            raise talks_to_nobody()
        context = self._class(channel).transfer
        await self._must_exist(context, number, "transfer_refused")
        await self._do("BlindTransfer", channel, {"Context": context, "Exten": number}, refused="transfer_refused")

    async def redirect(self, party: str, number: str) -> None:
        """Send a call that rings at a party to another number, with the rights of the device that rings.

        :raises NotFoundError: there is no such party.
        :raises RefusedError: ``no_device``; ``not_ringing``; ``redirect_refused``.
        """
        check_number(number)
        channel = self._device_channel(party)
        caller = self._caller_of(channel)
        if channel.state == UP or channel.caller or caller is None:
            raise RefusedError(
                "this party isn't called", "only a call that rings can be redirected", error_id="not_ringing"
            )
        await self._must_exist(self._class(channel).forward, number, "redirect_refused")
        session = self._link.session
        await session.action("Setvar", {"Channel": caller.name, "Variable": "FORWARDERNAME", "Value": channel.name})
        where = {"Context": self._class(channel).forward, "Exten": number, "Priority": "1"}
        await self._do("Redirect", caller, where, refused="redirect_refused")

    async def tell(self, party: str, act: str) -> None:
        """Have a phone ``answer``, ``hold``, or ``resume``; comes back once it has. What is so already needs nobody to be told.

        :raises RefusedError: ``no_device``; ``not_ringing`` (to answer), ``not_talking`` (the others); ``unsupported_by_device``;
            ``device_silent``: the phone was told, and didn't do it within :data:`OBEY_S`.
        """
        channel = self._device_channel(party)
        await self._must_listen(channel)
        if act == "answer" and channel.state not in (RINGING, UP):
            raise RefusedError(
                "this party isn't called", "only a call that rings can be answered", error_id="not_ringing"
            )
        if act != "answer" and self._holds(channel) is None:
            raise talks_to_nobody()
        if self._obeyed(channel, act):
            return
        told = {"Variable": [f"Event={NOTIFIED[act]}"]}
        await self._do("PJSIPNotify", channel, told, refused="unsupported_by_device")
        until = time.monotonic() + OBEY_S
        while not self._obeyed(channel, act):
            if channel.id not in self._link.live.channels.all:
                raise no_party(party)
            if time.monotonic() > until:
                raise RefusedError(
                    f"the phone was told and has not done it within {OBEY_S:g} seconds",
                    "do it at the phone; some models have to be allowed to listen, by their own settings",
                    error_id="device_silent",
                )
            await asyncio.sleep(0.05)

    def _obeyed(self, channel: Channel, act: str) -> bool:
        return channel.state == UP if act == "answer" else self._holds(channel) is (act == "hold")

    def _holds(self, channel: Channel) -> bool | None:
        """Whether a phone has put on hold whom it talks to; None: it talks to nobody."""
        others = list(self._link.live.channels.others_in_bridge(channel))
        return any(other.held for other in others) if others else None

    async def _must_listen(self, channel: Channel) -> None:
        endpoint = channel.name.partition("/")[2].rpartition("-")[0]
        details = await self._link.session.list("PJSIPShowEndpoint", {"Endpoint": endpoint})
        agents = [row.get("UserAgent") for row in details if row.event == "ContactStatusDetail"]
        if not any(agent.lower().startswith(tuple(each.lower() for each in TALKS)) for agent in agents):
            raise RefusedError(
                "this phone can't be told to answer or to hold", "do it at the phone", error_id="unsupported_by_device"
            )

    async def _must_exist(self, context: str, number: str, refused: str) -> None:
        """The engine would hang up on whoever is sent to a number that isn't there."""
        asked = {"Variable": f"DIALPLAN_EXISTS({context},{number},1)"}
        if (await self._link.session.action("Getvar", asked))[0].get("Value") != "1":
            raise RefusedError(
                f"{number} can't be reached from this phone",
                "a number that its class of service may transfer to",
                error_id=refused,
            )

    # What is found

    async def _do(
        self, action: str, channel: Channel, fields: Mapping[str, str | list[str]], refused: str = "call_refused"
    ) -> None:
        try:
            await self._link.session.action(action, {"Channel": channel.name, **fields})
        except AmiError as error:
            said = error.response.get("Message")
            if "no such channel" in said.lower():
                raise no_party(channel.id) from None
            raise RefusedError(f"the engine refused: {said}", "look at the call again", error_id=refused) from None

    def _channel(self, party: str) -> Channel:
        channel = self._link.live.channels.all.get(party)
        if channel is None or channel.local:
            raise no_party(party)
        return channel

    def _device_channel(self, party: str) -> Channel:
        channel = self._channel(party)
        if not channel.device:
            raise RefusedError("this party isn't a device of ours", "choose the other party", error_id="no_device")
        return channel

    def _class(self, channel: Channel) -> DeviceClass:
        return self._link.live.directory.classes.get(channel.device, DeviceClass())

    def _caller_of(self, channel: Channel) -> Channel | None:
        """The channel that waits for this one to be answered."""
        channels = self._link.live.channels
        found = [channels.all[id] for id in channels.together(channel.id) if channels.all[id].caller]
        return found[0] if len(found) == 1 else None

    def _contact(self, device: str) -> Contact:
        if device not in self._link.live.directory.extension_of:
            raise NotFoundError(f"there is no device {device}", "the devices of the document")
        contacts = self._link.live.contacts.get(device, {}).values()
        found = next((contact for contact in contacts if contact.endpoint and contact.status != "Unreachable"), None)
        if found is None:
            raise RefusedError(
                f"device {device} isn't registered now", "switch it on, or choose another", error_id="device_absent"
            )
        return found


def check_number(number: str) -> None:
    """:raises InvalidError: it isn't what a phone could dial."""
    if not NUMBER.fullmatch(number):
        raise InvalidError(
            [
                Fault(
                    "call/number",
                    "is no number that can be dialled",
                    "digits, * and #, a + before them; 32 at most",
                    "number",
                )
            ]
        )


def _checked(variables: Mapping[str, str]) -> dict[str, str]:
    faults = []
    if len(variables) > VARIABLES_MAX:
        faults.append(Fault("call/variables", "are too many", f"{VARIABLES_MAX} at most", "variables"))
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name):
            faults.append(
                Fault(f"call/variables/{name}", "is no name", "capitals, digits and _, 32 at most", "variables")
            )
        elif len(value) > VALUE_MAX or not value.isprintable() or set(value) & set("${}\\\"',"):
            hint = f"at most {VALUE_MAX} printable characters, none of $ {{ }} \\ \" ' ,"
            faults.append(
                Fault(f"call/variables/{name}", "has a value that can't be given to a call", hint, "variables")
            )
    if faults:
        raise InvalidError(faults)
    return dict(variables)


def plain(name: str) -> str:
    """Without what the engine reads as more than a name."""
    return "".join(each for each in name if each.isprintable() and each not in "\"\\<>,(){}$'=")


def talks_to_nobody() -> RefusedError:
    """The refusal of what only somebody who talks can do."""
    return RefusedError("this party talks to nobody", "it must be in a call that is up", error_id="not_talking")


def no_party(id: str) -> NotFoundError:
    """The refusal of what somebody is to do who isn't there."""
    return NotFoundError(f"there is no party {id} in any call", "it may have hung up; see what calls there are")
