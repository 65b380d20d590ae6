"""Calls that are up, as somebody may see and handle them: the one place where that is enforced, for portal and API alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from appliance.access.live import OWN_ROOM, Data, may_handle, own_extensions, shown, view_of
from appliance.access.permissions import Subject
from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError
from appliance.pbx.extensions.model import Device, Extension


class _State(Protocol):
    @property
    def objects(self) -> tuple[Data, ...]: ...
    @property
    def stale(self) -> str: ...
    @property
    def since(self) -> int: ...


class Hub(Protocol):
    """The hub, as :class:`appliance.hub.client.HubClient` reaches it."""

    def state(self, type: str) -> _State:
        """All objects of a type."""

    def do(self, act: str, **what: Any) -> Any:
        """Do something to a call."""


class GuardedCalls:
    """The live state and calls for one subject. Everything raises UnavailableError (``hub_unreachable``) without a hub."""

    def __init__(self, hub: Callable[[], Hub], subject: Subject, document: Document) -> None:
        self._hub, self._subject, self._document = hub, subject, document

    def live(self, type: str) -> dict[str, Any]:
        """Objects of a type that the subject may see, with ``state`` (``live``, ``stale``), ``reason`` and ``since``.

        :raises RefusedError: ``forbidden``: none of its rights opens any.
        """
        view, own = view_of(self._subject.grants), own_extensions(self._document, self._subject.person)
        if not self._may_look(type):
            raise RefusedError("you may not see this", "ask an administrator for the right", error_id="forbidden")
        told = self._hub().state(type)
        items = []
        for data in told.objects:
            seen = shown(view, own, type, "", data)
            if seen is None:
                seen = shown(view, own, type, OWN_ROOM, data)
            if seen is not None:
                items.append(seen)
        return {
            "items": items, "state": "stale" if told.stale else "live", "reason": told.stale, "since": told.since
        }  # fmt: skip

    def _may_look(self, type: str) -> bool:
        areas = {
            "extension": "calls",
            "call": "calls",
            "trunk": "trunk",
            "link": "site",
            "branch": "branch",
            "alarm": "system",
        }
        return self._subject.may(areas[type])

    def get(self, id: str) -> Data:
        """One call. Raises NotFoundError also for one that may not be seen."""
        found: Data | None = next((call for call in self.live("call")["items"] if call["id"] == id), None)
        if found is None:
            raise NotFoundError("there is no such call now", "it may have ended; see what calls there are")
        return found

    def place(self, device: str, number: str, variables: Mapping[str, str]) -> str:
        """Have a device of one's own, or that one may handle, call a number; id of the call.

        :param device: empty: the first one of one's own.
        """
        found = self._usable(device)
        return str(self._hub().do("place", device=found.id, number=number, variables=dict(variables)))

    def pick_up(self, call: str, party: str, device: str) -> str:
        """Have a device take the call that rings at ``party``: any that the subject may see. Id of the device's channel.

        :param device: as for :meth:`place`.
        """
        if all(each["id"] != party for each in self.get(call)["parties"]):
            raise NotFoundError("there is no such party in this call", "it may have hung up; see the call")
        found = self._usable(device)
        return str(self._hub().do("pick_up", party=party, device=found.id))

    def _usable(self, device: str) -> Device:
        found = self._document.find(Device, device) if device else self._own_device()
        if found is None or not self._handles(found.extension, found.site or ""):
            raise InvalidError(
                [
                    Fault(
                        "body/device",
                        "is no device whose calls you may place",
                        "one of yours; empty: your first",
                        "device",
                    )
                ]
            )
        return found

    def devices(self) -> list[Device]:
        """Devices of one's own, in order."""
        own = own_extensions(self._document, self._subject.person)
        mine = [device for device in self._document.all(Device).values() if device.extension in own]
        return sorted(mine, key=lambda device: (self._document.get(Extension, device.extension).number, device.slot))

    def hang_up(self, call: str, party: str = "") -> None:
        """End a party's part, or the whole call."""
        first, *others = self._parties(call, party)
        self._hub().do("hang_up", party=first["id"])
        for each in others:
            with contextlib.suppress(NotFoundError):  # it has ended with the first
                self._hub().do("hang_up", party=each["id"])

    def transfer(self, call: str, party: str, number: str) -> None:
        """Hand on whom ``party`` talks to."""
        (found,) = self._parties(call, party)
        self._hub().do("transfer", party=found["id"], number=number)

    def consult(self, call: str, party: str, number: str) -> None:
        """Let whom ``party`` talks to wait, and have its device call a number."""
        (found,) = self._parties(call, party)
        self._hub().do("consult", party=found["id"], number=number)

    def complete(self, call: str, party: str, second: str = "") -> None:
        """Join whom ``party`` lets wait with whom it talks to; ``second``: its part in another call, whose other end is meant."""
        (found,) = self._parties(call, party)
        if second:
            self._parties(self._call_of(second), second)
        self._hub().do("complete", party=found["id"], second=second)

    def take_back(self, call: str, party: str) -> None:
        """End the consultation of ``party``: it talks to the first one again."""
        (found,) = self._parties(call, party)
        self._hub().do("take_back", party=found["id"])

    def redirect(self, call: str, party: str, number: str) -> None:
        """Send the call that rings at ``party`` elsewhere."""
        (found,) = self._parties(call, party)
        self._hub().do("redirect", party=found["id"], number=number)

    def tell(self, call: str, party: str, act: str) -> None:
        """Have a phone ``answer``, ``hold`` or ``resume``."""
        (found,) = self._parties(call, party)
        self._hub().do(act, party=found["id"])

    def _call_of(self, party: str) -> str:
        """Id of the call that a party takes part in."""
        for call in self.live("call")["items"]:
            if any(each["id"] == party for each in call["parties"]):
                return str(call["id"])
        raise NotFoundError("there is no such party in any call", "it may have hung up; see what calls there are")

    def _parties(self, call: str, party: str) -> list[Data]:
        """The party; empty: every one that the subject may handle."""
        parties = self.get(call)["parties"]
        mine = [each for each in parties if self._handles(each["extension"], each["site"])]
        if not party and mine:
            return mine
        found = next((each for each in parties if each["id"] == party), None)
        if party and found is None:
            raise NotFoundError("there is no such party in this call", "it may have hung up; see the call")
        if found is None or found not in mine:
            raise RefusedError("this isn't yours to handle", "choose a party of your own", error_id="forbidden")
        return [found]

    def _handles(self, extension: str, site: str) -> bool:
        return may_handle(self._subject, self._document, extension, site)

    def _own_device(self) -> Device | None:
        return next(iter(self.devices()), None)
