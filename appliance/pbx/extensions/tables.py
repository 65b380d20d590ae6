"""Hot tables of extensions and devices: read at call time, so that a change needs no reload (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.asterisk import ConfFile, table
from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx import carried
from appliance.pbx.context import Installation
from appliance.pbx.extensions.endpoints import endpoint_names, voice_differs
from appliance.pbx.extensions.links import linked_sites, links
from appliance.pbx.extensions.model import BusyPolicy, Device, Extension
from appliance.pbx.extensions.resolve import display_name, identity
from appliance.pbx.media.doors import doors
from appliance.pbx.media.model import Listener
from appliance.pbx.trunks.endpoint import endpoint_name
from appliance.pbx.trunks.model import Trunk

TO: Final = "TO"
"""The variable that holds a row of ``tables/extensions.conf``, its columns separated by ``|``: all that is known about
the extension that a call goes to. One variable and not nine: see :mod:`appliance.pbx.carried`."""


def _column(position: int) -> str:
    return f"${{CUT({TO},|,{position})}}"


TO_ID: Final = _column(1)
"""Expression: id of the extension; empty when there is none with that number."""
TO_BUSY: Final = _column(2)
"""Expression: ``busy``, or empty (call waiting)."""
TO_RING: Final = _column(3)
"""Expression: seconds to ring."""
TO_SITE: Final = _column(4)
"""Expression: id of its site."""
TO_LINKED: Final = _column(5)
"""Expression: the site once more if it has a thin link, else empty."""
TO_CLASS: Final = _column(6)
"""Expression: id of its class of service."""
TO_CALLER_NUMBER: Final = _column(7)
"""Expression: its outside calling number."""
TO_FORWARD: Final = _column(8)
"""Expression: how far its calls may be forwarded, ``inside`` or ``outside``."""
TO_DEVICES: Final = _column(9)
"""Expression: argument of Dial for all its devices; empty when it has none."""
TO_FIRST: Final = _column(10)
"""Expression: the first of them."""
TO_SECOND: Final = _column(11)
"""Expression: the second of them, or empty."""
TO_MANY: Final = _column(12)
"""Expression: ``many`` when there are more than two, or one of them is dialled by where it is registered; else empty."""
WITHOUT_DEVICES: Final = f"${{CUT({TO},|,1-8)}}"
"""Expression: the columns before those of devices."""


def tables(document: Document, installation: Installation) -> tuple[ConfFile, ...]:
    """All hot tables of this feature."""
    extensions = sorted(document.all(Extension).values(), key=lambda item: item.number)
    dialled, by_door = _dialled(document, installation)
    linked = linked_sites(document)
    rows = [
        (item.number, _row(document, item, dialled.get(item.id, []), linked, by_door=item.id in by_door))
        for item in extensions
    ]
    return (
        table("names", [(item.number, display_name(document, item)) for item in extensions]),
        table("extensions", rows),
        table("hints", [(item.number, _hint(dialled.get(item.id, []))) for item in extensions]),
        table("devices", (*_devices(document), *_trunks(document))),
        table("sites", [(site.id, site.time_zone) for site in document.all(Site).values()]),
        links(document),
    )


def _dialled(document: Document, installation: Installation) -> tuple[dict[str, list[tuple[str, ...]]], set[str]]:
    """Extension → endpoints of each of its devices, in order of slot; and extensions with a device that must be dialled
    by the door where it is registered."""
    found: dict[str, list[tuple[str, ...]]] = {}
    by_door: set[str] = set()
    reachable = doors(tuple(document.all(Listener).values()))
    for device in sorted(document.all(Device).values(), key=lambda item: (item.slot, item.id)):
        names = endpoint_names(device, reachable, installation.transport_token)
        if names:
            found.setdefault(device.extension, []).append(names)
        if voice_differs(device, reachable):
            by_door.add(device.extension)
    return found, by_door


def _row(
    document: Document, extension: Extension, devices: list[tuple[str, ...]], linked: frozenset[str], *, by_door: bool
) -> str:
    own = identity(document, extension)
    dialled = [f"PJSIP/{names[0]}" for names in devices]
    return "|".join(
        (
            extension.id,
            "busy" if extension.busy_policy is BusyPolicy.BUSY else "",
            str(extension.ring_seconds),
            own.site,
            own.site if own.site in linked else "",
            own.class_of_service,
            own.caller_number,
            own.forward,
            "&".join(dialled),
            *([*dialled, "", ""])[:2],
            "many" if len(dialled) > 2 or by_door else "",
        )
    ).rstrip("|")


def _hint(devices: list[tuple[str, ...]]) -> str:
    """The devices whose state is the extension's: with every name of each, since it may call at any of its doors."""
    return "&".join(f"PJSIP/{name}" for names in devices for name in names)


def _devices(document: Document) -> Iterator[tuple[str, str]]:
    """``tables/devices.conf``: what a call carries once a device has sent it on, by device id."""
    for device in document.all(Device).values():
        own = identity(document, document.get(Extension, device.extension), device)
        yield (
            device.id,
            carried.packed("", own.number, own.extension, own.site, own.class_of_service, own.caller_number),
        )


def _trunks(document: Document) -> Iterator[tuple[str, str]]:
    """The same of trunks at a site, by the name of their endpoint: only where they stand."""
    for trunk in document.all(Trunk).values():
        if trunk.site is not None:
            yield endpoint_name(trunk.id), carried.packed(site=trunk.site)
