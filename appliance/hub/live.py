"""The engine's events → live state of extensions, calls, trunks and links (pure: time comes in, changes go out).

Begun from a :class:`Snapshot`, kept by events, and begun anew from another snapshot whenever events may have been
missed. Both give the same state; what a snapshot can't tell, when a call was answered and since when a device has been
registered, is remembered over it (:meth:`Live.memory`) and otherwise unknown, never guessed.

A snapshot may be taken while events flow: what happened before it may be told again after it. Each event says how its
channel is, so that doesn't hurt: the last one is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.engine.ami_messages import Message
from appliance.hub import views
from appliance.hub.changes import Change, Dirty, Said
from appliance.hub.channels import RING, UP, Channel, Channels, clean
from appliance.hub.directory import Directory
from appliance.pbx.extensions.consultation import CONSULTATION, CONSULTED_BY

EVENTS: Final = (
    "Newchannel", "Newstate", "NewCallerid", "Hangup", "Rename", "DialBegin", "BridgeEnter", "BridgeLeave", "Hold",
    "Unhold", "BlindTransfer", "AttendedTransfer", "Pickup", "ContactStatus", "Registry", "UserEvent", "Reload",
)  # fmt: skip
"""Events of the engine's manager interface that are looked at."""
PLACED: Final = "PLACED"
"""Variable of a channel of which the hub itself was the origin (:mod:`appliance.hub.control`): the number to be called."""
VARIABLES: Final = f"CHANNEL(onhold),CALLER,{PLACED},{CONSULTED_BY},{CONSULTATION}"
"""What is asked of each channel besides what the engine tells by itself."""
SETTING_EVENT: Final = "Setting"
"""User event by which the dialplan, or whoever writes the engine's database, tells a value that a phone has set."""
SETTINGS: Final = ("dnd", "forward", "lock")
"""Families of the engine's database that are looked at, keyed by extension id."""
_RECENT: Final = 4096

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Answers of the engine: ``Status`` with :data:`VARIABLES`, ``PJSIPShowContacts``, ``PJSIPShowRegistrationsOutbound``,
    and ``DBGetTree`` for each of :data:`SETTINGS`."""

    channels: Sequence[Message] = ()
    contacts: Sequence[Message] = ()
    registrations: Sequence[Message] = ()
    settings: Sequence[Message] = ()


@dataclass(slots=True)
class Contact:
    """Where a device is registered, or a trunk's other end. ``since`` in ms since 1970, 0: unknown. ``endpoint``: the engine's
    name of the device at the listener where it is registered."""

    uri: str
    status: str
    since: int
    endpoint: str = ""


class Live:
    """The state. Feed it events, then take :meth:`changes`; :meth:`state` is all of it."""

    def __init__(self, directory: Directory | None = None) -> None:
        self.directory = directory or Directory()
        self.channels = Channels()
        self.contacts: dict[str, dict[str, Contact]] = {}
        self.registrations: dict[str, str] = {}
        self.settings: dict[str, dict[str, str]] = {name: {} for name in SETTINGS}
        self.questions: set[str] = set()
        """Names of channels to ask ``Status`` of, the answer for :meth:`learn`."""
        self.happened: list[tuple[str, dict[str, Any]]] = []
        """What has happened and is no state: transfers, pickups, emergency calls; whoever reads it empties it."""
        self._said = Said(self)
        self._recent: dict[str, None] = {}
        self._memory: dict[str, int] = {}
        self._dirty = Dirty(everything=True)

    # Beginning

    def load(self, snapshot: Snapshot) -> None:
        """Forget what was known and begin with what the engine says now."""
        self._memory |= self.memory()
        for id in list(self.channels.all):
            self.channels.remove(id)
        self._recent.clear()
        self.questions.clear()
        for message in snapshot.channels:
            self._add_from_status(message.as_dict(), message)
        self.contacts = {}
        for message in snapshot.contacts:
            name, uri, endpoint = (message.get(key) for key in ("ObjectName", "Uri", "Endpoint"))
            self._contact(name, Contact(uri, message.get("Status"), 0, endpoint))
        self.registrations = {
            message.get("ClientUri"): message.get("Status").lower()
            for message in snapshot.registrations
            if message.event == "OutboundRegistrationDetail"
        }
        self.settings = {name: {} for name in SETTINGS}
        for message in snapshot.settings:
            _, family, key = [*message.get("Key").split("/"), "", ""][:3]
            if family in self.settings:
                self.settings[family][key] = message.get("Val")
        self._memory = self.memory()
        self._dirty.everything = True

    def use(self, directory: Directory) -> None:
        """Another revision of the document."""
        self.directory = directory
        for channel in self.channels.all.values():
            self.channels.touch(channel)
        self._dirty.everything = True

    def memory(self) -> dict[str, int]:
        """What no snapshot can tell, for :meth:`recall` by the next hub: answers by channel, registrations by contact."""
        found = {channel.id: channel.up for channel in self.channels.all.values() if channel.up}
        contacts = (contact for of_device in self.contacts.values() for contact in of_device.values())
        found |= {contact.uri: contact.since for contact in contacts if contact.since}
        return found

    def recall(self, memory: Mapping[str, int]) -> None:
        """What an earlier hub remembered; before :meth:`load`, which forgets of it what isn't there any more."""
        self._memory = {**memory, **self._memory}

    # Events

    def feed(self, message: Message, now: int) -> None:
        """Take one event. ``now``: ms since 1970, for events that don't say when they were."""
        fields = message.as_dict()
        handler = _HANDLERS.get(fields.get("Event", ""))
        if handler is not None:
            handler(self, fields, _time(fields, now))

    def learn(self, message: Message) -> None:
        """The answer to one of :attr:`questions`: what a caller from outside dialled, and its number."""
        channel = self.channels.all.get(message.get("Uniqueid"))
        if channel is not None:
            _learn(channel, message.as_dict(), message)
            self.channels.touch(channel)

    def _known(self, fields: Fields, prefix: str = "") -> Channel | None:
        """The channel that an event is about, as the event says that it is."""
        channel = self.channels.all.get(fields.get(f"{prefix}Uniqueid", ""))
        if channel is None:
            return None
        link = fields.get(f"{prefix}Linkedid", channel.link)
        if link != channel.link:
            self.channels.move(channel, link=link)
        told = (
            int(fields.get(f"{prefix}ChannelState", channel.state)),
            clean(fields.get(f"{prefix}CallerIDNum")),
            clean(fields.get(f"{prefix}CallerIDName")),
            clean(fields.get(f"{prefix}Context")),
        )
        if told != (channel.state, channel.number, channel.caller_name, channel.context):
            channel.state, channel.number, channel.caller_name, channel.context = told
            self._touch(channel)
        return channel

    def _touch(self, channel: Channel) -> None:
        self.channels.touch(channel)
        self._mark(channel)

    def _mark(self, channel: Channel) -> None:
        if channel.device:
            self._dirty.extensions.add(self.directory.extension_of.get(channel.device, ""))
        elif channel.trunk:
            self._dirty.trunks.add(channel.trunk)

    def _new_channel(self, fields: Fields, _: int) -> None:
        id = fields.get("Uniqueid", "")
        if id in self._recent or id in self.channels.all or not id:
            return
        state = int(fields.get("ChannelState", 0))
        channel = Channel(id, fields.get("Channel", ""), fields.get("Linkedid", id), state)
        channel.number, channel.context = clean(fields.get("CallerIDNum")), clean(fields.get("Context"))
        channel.caller = (state == RING or channel.placed) and not channel.local
        if channel.placed:
            self._ask(channel)
        elif channel.caller and not channel.trunk:
            channel.dialled = clean(fields.get("Exten"))
        self.channels.add(channel)
        self._mark(channel)

    def _new_state(self, fields: Fields, time: int) -> None:
        channel = self._known(fields)
        if channel is not None:
            if channel.state == UP and not channel.up:
                channel.up = time
                self._touch(channel)
            self._ask(channel)

    def _changed(self, fields: Fields, _: int) -> None:
        self._known(fields)

    def _dial_begin(self, fields: Fields, _: int) -> None:
        self._known(fields, "Dest")
        channel = self._known(fields)
        if channel is not None:
            self._ask(channel)

    def _ask(self, channel: Channel) -> None:
        """By now the dialplan has told what a caller from outside dialled: its numbers have another form at first."""
        if channel.caller and (channel.trunk or channel.placed) and not channel.asked:
            channel.asked = True
            self.questions.add(channel.name)

    def _hung_up(self, fields: Fields, _: int) -> None:
        id = fields.get("Uniqueid", "")
        channel = self.channels.remove(id)
        self._recent[id] = None
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        if channel is not None:
            self._mark(channel)

    def _renamed(self, fields: Fields, _: int) -> None:
        channel = self.channels.all.get(fields.get("Uniqueid", ""))
        if channel is not None:
            self._mark(channel)
            self.channels.rename(channel, fields.get("Newname", channel.name))
            self._mark(channel)

    def _entered(self, fields: Fields, _: int) -> None:
        channel = self._known(fields)
        if channel is not None:
            self.channels.move(channel, bridge=fields.get("BridgeUniqueid", ""))
            self._mark_bridge(channel)

    def _left(self, fields: Fields, _: int) -> None:
        channel = self._known(fields)
        if channel is not None and channel.bridge == fields.get("BridgeUniqueid"):
            self._mark_bridge(channel)
            channel.held = False  # the engine takes a channel off hold that leaves a bridge
            self.channels.move(channel, bridge="")

    def _mark_bridge(self, channel: Channel) -> None:
        self._mark(channel)
        for other in self.channels.others_in_bridge(channel):
            self._mark(other)

    def _held(self, fields: Fields, _: int) -> None:
        channel = self._known(fields)
        if channel is not None:
            for other in self.channels.others_in_bridge(channel):
                other.held = fields["Event"] == "Hold"
            self.channels.touch(channel)
            self._mark_bridge(channel)

    def _transferred(self, fields: Fields, time: int) -> None:
        if fields.get("Result") != "Success":
            return
        blind = fields["Event"] == "BlindTransfer"
        by = "Transferer" if blind else "OrigTransferer"
        target = fields.get("Extension", "") if blind else fields.get("TransferTargetUniqueid", "")
        self.happened.append(("transfer", {
            "kind": "blind" if blind else "attended",
            "time": time,
            "by": self._party(fields.get(f"{by}Uniqueid", "")) or clean(fields.get(f"{by}CallerIDNum")),
            "of": self._party(fields.get("TransfereeUniqueid", "")) or clean(fields.get("TransfereeCallerIDNum")),
            "to": target if blind else self._party(target) or clean(fields.get("SecondTransfererConnectedLineNum")),
            "call": self._said.call_of(fields.get(f"{by}Uniqueid", "")),
        }))  # fmt: skip

    def _picked_up(self, fields: Fields, time: int) -> None:
        self.happened.append(("pickup", {
            "time": time,
            "by": self._party(fields.get("Uniqueid", "")) or clean(fields.get("CallerIDNum")),
            "of": self._party(fields.get("TargetUniqueid", "")) or clean(fields.get("TargetCallerIDNum")),
            "call": self._said.call_of(fields.get("TargetUniqueid", "")),
        }))  # fmt: skip

    def _party(self, id: str) -> str:
        channel = self.channels.all.get(id)
        return views.number(self.directory, channel) if channel is not None else ""

    # Registrations and settings

    def _contact_status(self, fields: Fields, time: int) -> None:
        contact = Contact(
            fields.get("URI", ""), fields.get("ContactStatus", ""), time, clean(fields.get("EndpointName"))
        )
        self._contact(fields.get("AOR", ""), contact)

    def _contact(self, name: str, told: Contact) -> None:
        """``name``: of the address of record, ``reception-1``, or of a contact, ``reception-1;@hash``."""
        owner = name.partition(";@")[0].partition("@@")[0]
        known = self.contacts.setdefault(owner, {})
        if told.status == "Removed":
            known.pop(told.uri, None)
        elif told.uri in known:
            known[told.uri].status = told.status
            known[told.uri].endpoint = told.endpoint or known[told.uri].endpoint
        else:
            told.since = told.since or self._memory.get(told.uri, 0)
            known[told.uri] = told
        if owner.startswith("trunk-"):
            self._dirty.trunks.add(owner.removeprefix("trunk-"))
        else:
            self._dirty.extensions.add(self.directory.extension_of.get(owner, ""))

    def _registry(self, fields: Fields, _: int) -> None:
        account = fields.get("Username", "")
        self.registrations[account] = fields.get("Status", "").lower()
        self._dirty.trunks |= {trunk.id for trunk in self.directory.trunks.values() if trunk.account == account}

    def _user_event(self, fields: Fields, time: int) -> None:
        channel = self._known(fields)
        name = fields.get("UserEvent")
        if name == SETTING_EVENT and fields.get("Family") in self.settings:
            of_family, key, value = self.settings[fields["Family"]], fields.get("Key", ""), fields.get("Value", "")
            if value:
                of_family[key] = value
            else:
                of_family.pop(key, None)
            self._dirty.extensions.add(key)
        elif name == "Emergency":
            told = {key.lower(): fields.get(key, "") for key in ("Number", "Site", "Device")}
            self.happened.append(("emergency", {"time": time, **told}))
        elif channel is not None and name == "Consultation":
            channel.waits_for = fields.get("By", channel.waits_for)
            channel.consulted = clean(fields.get("Result", channel.consulted))
            self.channels.touch(channel)
        elif channel is not None and name == "HandedOn":
            by, _, to = fields.get("Ids", "").partition("|")
            self.happened.append(("transfer", {
                "kind": "attended", "time": time, "by": self._party(by), "of": self._party(channel.id), "to": self._party(to),
                "call": self._said.call_of(channel.id),
            }))  # fmt: skip

    # What comes out

    def changes(self) -> list[Change]:
        """What is different from what was said last."""
        dirty, self._dirty = self._dirty, Dirty()
        return self._said.changes(dirty)

    def state(self) -> dict[str, dict[str, Mapping[str, Any]]]:
        """All that was said last: room → id → object."""
        return self._said.all()

    def _add_from_status(self, fields: Fields, message: Message) -> None:
        id = fields.get("Uniqueid", "")
        channel = Channel(id, fields.get("Channel", ""), fields.get("Linkedid", id), int(fields.get("ChannelState", 0)))
        channel.bridge = clean(fields.get("BridgeID"))
        channel.number, channel.caller_name = clean(fields.get("CallerIDNum")), clean(fields.get("CallerIDName"))
        channel.context = clean(fields.get("Context"))
        channel.caller = (bool(clean(fields.get("DNID"))) or channel.placed) and not channel.local
        channel.held = _variable(message, "CHANNEL(onhold)") == "1"
        channel.waits_for, channel.consulted = _variable(message, CONSULTED_BY), _variable(message, CONSULTATION)
        channel.up = self._memory.get(id, 0)
        if channel.caller:
            _learn(channel, fields, message)
        self.channels.add(channel)


def _learn(channel: Channel, fields: Fields, message: Message) -> None:
    channel.dialled = _variable(message, PLACED) if channel.placed else clean(fields.get("DNID"))
    channel.asked = bool(channel.trunk) or bool(channel.dialled)
    if channel.trunk:
        channel.origin = _variable(message, "CALLER")


def _variable(message: Message, name: str) -> str:
    values = (value.partition("=")[::2] for value in message.all("Variable"))
    return next((clean(value) for key, value in values if key == name), "")


def _time(fields: Fields, now: int) -> int:
    try:
        return int(float(fields["Timestamp"]) * 1000)
    except (KeyError, ValueError):
        return now


_Handler = Callable[[Live, Fields, int], None]
_HANDLERS: Final[dict[str, _Handler]] = {
    "Newchannel": Live._new_channel,
    "Newstate": Live._new_state,
    "NewCallerid": Live._changed,
    "Hangup": Live._hung_up,
    "Rename": Live._renamed,
    "DialBegin": Live._dial_begin,
    "BridgeEnter": Live._entered,
    "BridgeLeave": Live._left,
    "Hold": Live._held,
    "Unhold": Live._held,
    "BlindTransfer": Live._transferred,
    "AttendedTransfer": Live._transferred,
    "Pickup": Live._picked_up,
    "ContactStatus": Live._contact_status,
    "Registry": Live._registry,
    "UserEvent": Live._user_event,
}
