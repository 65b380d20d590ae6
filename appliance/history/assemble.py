"""Events in the order of the spool → finished calls (pure).

A call is what the engine links: every channel has the id of its first channel, and when calls are joined (an attended
transfer) the older id wins, so two calls become one here as well. The engine tells the new id with a channel's *next*
event, which may be its last, after the older call has ended: so what joins calls is the shared bridge, or the transfer
itself. A call ends when its last channel has ended. Nothing relies on the clock: order is the spool's, and a clock set
back only shows in the times.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from appliance.history import notice
from appliance.history.legs import RUN_CONTEXT
from appliance.history.line import HANDED_EVENT, LEG_EVENT, RUN_EVENT, Event
from appliance.history.model import Call, Transfer
from appliance.history.notice import Notice
from appliance.history.openstate import Channel, OpenCall
from appliance.history.record import record

_RECENT: Final = 4096
"""Ended channels remembered, so that an event that comes late doesn't open a call of its own."""
_WATCHERS: Final = "Local/s@trunk-watch-"
"""Channels that watch whether a trunk answers (``appliance/pbx/trunks``): nobody's call."""
_JOINED_CHANNELS: Final = ("channel2_uniqueid", "transfer_target_channel_uniqueid")
_BOOT_WINDOW: Final = 5_000_000
"""Microseconds before the engine's start event in which a call may have begun in the new run."""


class Assembler:
    """Calls in progress, and the rules by which an event changes them.

    ``changed`` and ``gone`` collect keys of open calls that must be stored or forgotten, ``notices`` what is to be told of
    calls, in order; the caller clears them.
    """

    def __init__(self, run: str = "", calls: Iterable[OpenCall] = ()) -> None:
        self.run = run
        self.calls: dict[str, OpenCall] = {}
        self.changed: set[str] = set()
        self.gone: set[str] = set()
        self.notices: list[Notice] = []
        self.late = 0
        self._of_channel: dict[str, str] = {}
        self._of_link: dict[str, str] = {}
        self._of_bridge: dict[str, str] = {}
        self._recent: dict[str, None] = {}
        self._serial = 0
        for call in calls:
            self.calls[call.key] = call
            self._serial = max(self._serial, call.serial)
            self._of_link.update(dict.fromkeys((call.key, *call.aliases), call.key))
            self._of_channel.update(dict.fromkeys(call.channels, call.key))
            self._of_bridge.update(dict.fromkeys(call.bridges, call.key))

    def feed(self, event: Event) -> list[Call]:
        """Take one event; the calls that it ended."""
        if event.context == RUN_CONTEXT or event.channel.startswith("Local/started@"):
            return self._new_run(event) if event.type == RUN_EVENT else []
        if event.channel.startswith(_WATCHERS):
            return []
        if event.id in self._recent:
            self.late += 1
            return []
        call = self._call(event)
        channel = call.channels.get(event.id)
        if channel is None:
            channel = self._new_channel(call, event)
        call = self._joined(call, channel, event)
        call.last = max(call.last, event.time)
        _note(call, channel, event)
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(call, channel, event)
        self.changed.add(call.key)
        if event.type == "HANGUP" and not call.live:
            return self._finish([call])
        self._tell(call, channel, event)
        return []

    def _tell(self, call: OpenCall, channel: Channel, event: Event) -> None:
        """Notices of a call that goes on: that it began, that it was answered."""
        if notice.STARTED not in call.told:
            first = call.channels.get(call.first)
            if (first is not None and first.answered and first.endpoint) or (len(call.channels) > 1 and call.called):
                self._note_told(call, notice.started(call.key, notice.so_far(call)))
        if event.type == "ANSWER" and notice.STARTED in call.told and notice.ANSWERED not in call.told:
            # The caller's own leg is answered after the called one's, or by a service that calls nobody.
            called = call.called
            if channel in called or not called:
                reached = channel if called else None
                self._note_told(call, notice.answered(call.key, notice.so_far(call, reached), event.time // 1000))

    def _note_told(self, call: OpenCall, told: Notice) -> None:
        call.told.append(told.type)
        self.notices.append(told)

    def _tell_end(self, call: OpenCall, ended: Call) -> None:
        """Notices of a call that has ended, and those before that it hasn't had yet."""
        if notice.STARTED not in call.told:
            self._note_told(call, notice.started(call.key, notice.facts_of(ended)))
        if ended.answered is not None and notice.ANSWERED not in call.told:
            self._note_told(call, notice.answered(call.key, notice.facts_of(ended), ended.answered))
        self.notices += notice.ended(ended)

    def close_all(self, keep: Collection[str] = ()) -> list[Call]:
        """The engine is dead: end every call (but those in ``keep``) as ``engine_failure``."""
        return self._finish([call for call in self.calls.values() if call.key not in keep], engine_failure=True)

    def reconcile(self, live_channels: Collection[str], started_before: int) -> list[Call]:
        """End calls whose channels the engine doesn't have any more: the events that ended them were lost.

        :param live_channels: ids of all channels that the engine has.
        :param started_before: microseconds; younger calls are left alone, their events may still be on the way.
        """
        gone = [
            call
            for call in self.calls.values()
            if call.last < started_before and not any(channel in live_channels for channel in call.channels)
        ]
        for call in gone:
            call.incomplete = True
        return self._finish(gone)

    def _new_run(self, event: Event) -> list[Call]:
        # The event is the run's first but for calls that slipped in during the same instant: those have a smaller
        # channel number than the event's own channel, which is among the first of its run.
        number = _counter(event.id)
        keep = {
            key
            for key, call in self.calls.items()
            if call.run_mark(number) and abs(event.time - call.started) < _BOOT_WINDOW
        }
        ended = self.close_all(keep)
        self.run = event.id
        self._recent.clear()  # ids may come again
        return ended

    def _call(self, event: Event) -> OpenCall:
        by_channel, by_link = self._of_channel.get(event.id), self._of_link.get(event.call)
        if by_channel is None and by_link is None:
            return self._new_call(event)
        if by_channel is None or by_link is None or by_channel == by_link:
            call = self.calls[by_channel or by_link or ""]
            if by_link is None:
                call.aliases.append(event.call)
                self._of_link[event.call] = call.key
            return call
        return self._merge(self.calls[by_link], self.calls[by_channel])

    def _joined(self, call: OpenCall, channel: Channel, event: Event) -> OpenCall:
        """The call, merged with those that the event joins it to."""
        extra = event.extra or {}
        others: list[str] = []
        if event.type == "BRIDGE_ENTER" and (bridge := str(extra.get("bridge_id") or "")):
            left, channel.bridge = channel.bridge, bridge
            if left not in call.bridges:
                self._of_bridge.pop(left, None)
            others = [self._of_bridge.setdefault(bridge, call.key)]
        elif event.type == "ATTENDEDTRANSFER":  # to a call that may be in no bridge: it rings, or talks to a service
            ids = (str(extra.get(name, "")) for name in _JOINED_CHANNELS)
            others = [self._of_channel[id] for id in ids if id in self._of_channel]
        for key in others:
            if key != call.key and key in self.calls:
                older, younger = sorted((call, self.calls[key]), key=lambda item: item.serial)
                call = self._merge(older, younger)
        return call

    def _new_call(self, event: Event) -> OpenCall:
        self._serial += 1
        call = OpenCall(event.call, self._serial, event.id)
        self.calls[call.key] = call
        self._of_link[call.key] = call.key
        self.gone.discard(call.key)
        return call

    def _new_channel(self, call: OpenCall, event: Event) -> Channel:
        channel = Channel(event.id, event.channel, caller=event.id == event.call)
        if event.type != "CHAN_START":
            call.incomplete = True
        channel.started = event.time
        channel.exten, channel.first_number, channel.account = event.exten, event.number, event.account
        call.channels[event.id] = channel
        self._of_channel[event.id] = call.key
        return channel

    def _merge(self, into: OpenCall, other: OpenCall) -> OpenCall:
        if other.serial < into.serial:
            into.first = other.first
            into.serial = other.serial
        into.channels = dict(
            sorted({**into.channels, **other.channels}.items(), key=lambda item: _counter(item[0]))
        )  # fmt: skip
        into.transfers.extend(other.transfers)
        into.forwards.extend(other.forwards)
        into.contexts.extend(name for name in other.contexts if name not in into.contexts)
        into.aliases.extend((other.key, *other.aliases))
        into.last = max(into.last, other.last)
        into.incomplete = into.incomplete or other.incomplete
        self._of_link.update(dict.fromkeys((other.key, *other.aliases), into.key))
        self._of_channel.update(dict.fromkeys(other.channels, into.key))
        self._of_bridge.update(dict.fromkeys(other.bridges, into.key))
        del self.calls[other.key]
        self._forget(other.key)
        if notice.STARTED in other.told:
            self.notices.append(notice.joined(other.key, into.key, other.last // 1000))
        return into

    def _finish(self, calls: list[OpenCall], *, engine_failure: bool = False) -> list[Call]:
        """Forget these calls; their records, but for the engine's own affairs: calls without any device or trunk."""
        for call in calls:
            for link in (call.key, *call.aliases):
                self._of_link.pop(link, None)
            for channel in call.channels:
                self._of_channel.pop(channel, None)
                self._recent[channel] = None
            for bridge in call.bridges:
                self._of_bridge.pop(bridge, None)
            del self.calls[call.key]
            self._forget(call.key)
        while len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        real = [call for call in calls if any(channel.endpoint for channel in call.channels.values())]
        real.sort(key=lambda call: call.serial)
        records = [record(call, self.run, engine_failure=engine_failure) for call in real]
        for call, ended in zip(real, records, strict=True):
            self._tell_end(call, ended)
        return records

    def _forget(self, key: str) -> None:
        self.changed.discard(key)
        self.gone.add(key)


def _counter(id: str) -> int:
    """The engine's running number in a channel's id, ``centralino-1795405632.17`` → 17."""
    tail = id.rpartition(".")[2]
    return int(tail) if tail.isdecimal() else 0


def _note(call: OpenCall, channel: Channel, event: Event) -> None:
    """What every event says: the names and numbers as they are now, and where in the dialplan the channel is."""
    if event.number:
        channel.number = event.number
    if event.name:
        channel.caller_name = event.name
    channel.origin = event.origin
    if event.redirected_by:
        channel.redirected_by = event.redirected_by
    if event.context and event.type != LEG_EVENT and event.context not in call.contexts:
        call.contexts.append(event.context)


def _answered(_: OpenCall, channel: Channel, event: Event) -> None:
    channel.answered = channel.answered or event.time


def _hung_up(_: OpenCall, channel: Channel, event: Event) -> None:
    extra = event.extra or {}
    cause = extra.get("hangupcause", 0)
    channel.ended = event.time or 1
    channel.cause = cause if isinstance(cause, int) else 0
    channel.source = str(extra.get("hangupsource", ""))
    channel.dial_status = str(extra.get("dialstatus", ""))


def _reported(_: OpenCall, channel: Channel, event: Event) -> None:
    channel.report = event.user


def _blind(call: OpenCall, channel: Channel, event: Event) -> None:
    extra = event.extra or {}
    of = call.channels.get(str(extra.get("transferee_channel_uniqueid", "")))
    to = str(extra.get("extension", ""))
    call.transfers.append(Transfer("blind", event.time // 1000, party(channel), party(of), to))


def _attended(call: OpenCall, channel: Channel, event: Event) -> None:
    extra = event.extra or {}
    of = call.channels.get(str(extra.get("transferee_channel_uniqueid", "")))
    target = str(extra.get("transfer_target_channel_uniqueid", ""))
    # The target's channel may not be linked to this call yet; the record looks it up at the end.
    to = party(call.channels[target]) if target in call.channels else f"={target}"
    call.transfers.append(Transfer("attended", event.time // 1000, party(channel), party(of), to))


def _handed_on(call: OpenCall, channel: Channel, event: Event) -> None:
    """An attended transfer that the engine didn't make by itself (:mod:`appliance.pbx.extensions.consultation`)."""
    by, _, target = event.user.partition("|")
    to = party(call.channels[target]) if target in call.channels else f"={target}"
    call.transfers.append(Transfer("attended", event.time // 1000, party(call.channels.get(by)), party(channel), to))


def _picked_up(call: OpenCall, channel: Channel, event: Event) -> None:
    by = call.channels.get(str((event.extra or {}).get("pickup_channel_uniqueid", "")))
    called = call.channels.get(call.first)
    call.transfers.append(
        Transfer("pickup", event.time // 1000, party(by), party(channel), called.exten if called else "")
    )


def _forwarded(call: OpenCall, _: Channel, event: Event) -> None:
    to = str((event.extra or {}).get("forward", ""))
    if to:
        call.forwards.append(to.rpartition("/")[2].partition("@")[0])


def party(channel: Channel | None) -> str:
    """How people call a channel's other end: extension, or number."""
    if channel is None:
        return ""
    return channel.extension or channel.number or channel.exten


_HANDLERS: Final[dict[str, Callable[[OpenCall, Channel, Event], None]]] = {
    "ANSWER": _answered,
    "HANGUP": _hung_up,
    "BLINDTRANSFER": _blind,
    "ATTENDEDTRANSFER": _attended,
    "PICKUP": _picked_up,
    "FORWARD": _forwarded,
    HANDED_EVENT: _handed_on,
    LEG_EVENT: _reported,
}
