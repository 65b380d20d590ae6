"""Hot tables of extensions and devices: read at call time, so that a change needs no reload (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.asterisk import ConfFile, Section, table
from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx.context import Installation
from appliance.pbx.extensions.endpoints import endpoint_names
from appliance.pbx.extensions.model import BusyPolicy, Device, Extension
from appliance.pbx.extensions.resolve import display_name, identity
from appliance.pbx.media.codecs import codecs_line
from appliance.pbx.media.doors import doors
from appliance.pbx.media.model import CodecPolicy, Listener

EXTENSION_COLUMNS: Final = (
    "TO_ID", "TO_BUSY", "TO_RING", "TO_SITE", "TO_LINKED", "TO_COS", "TO_CLI", "TO_FORWARD",
    "CONNECTEDLINE(num,i)", "TO_DEVICES",
)  # fmt: skip
"""Variables that a row of ``tables/extensions.conf`` sets, in order, with one ``Set(ARRAY(…)=…)``.

TO_BUSY: ``busy`` or empty (call waiting). TO_RING: seconds. TO_LINKED: the site once more if it has a thin link.
TO_FORWARD: how far its calls may be forwarded, ``inside`` or ``outside``. TO_DEVICES: argument of Dial.
"""

DEVICE_COLUMNS: Final = (
    "__FROM_ID", "__FROM_EXT", "__FROM_SITE", "__COS", "__CLI",
)  # fmt: skip
"""Variables that a row of ``tables/devices.conf`` sets: who sends a call on, by device id."""


def tables(document: Document, installation: Installation) -> tuple[ConfFile, ...]:
    """All hot tables of this feature."""
    extensions = sorted(document.all(Extension).values(), key=lambda item: item.number)
    dialled = _dialled(document, installation)
    linked = _linked(document)
    rows = [(item.number, _row(document, item, dialled.get(item.id, []), linked)) for item in extensions]
    return (
        table("names", [(item.number, display_name(document, item)) for item in extensions]),
        table("extensions", rows),
        table("hints", [(item.number, _hint(dialled.get(item.id, []))) for item in extensions]),
        table("devices", _devices(document)),
        table("sites", [(site.id, site.time_zone) for site in document.all(Site).values()]),
        _links(document),
    )


def _dialled(document: Document, installation: Installation) -> dict[str, list[tuple[str, ...]]]:
    """Extension → endpoints of each of its devices, in order of slot."""
    found: dict[str, list[tuple[str, ...]]] = {}
    reachable = doors(tuple(document.all(Listener).values()))
    for device in sorted(document.all(Device).values(), key=lambda item: (item.slot, item.id)):
        names = endpoint_names(device, reachable, installation.transport_token)
        if names:
            found.setdefault(device.extension, []).append(names)
    return found


def _row(document: Document, extension: Extension, devices: list[tuple[str, ...]], linked: frozenset[str]) -> str:
    own = identity(document, extension)
    return ",".join(
        (
            extension.id,
            "busy" if extension.busy_policy is BusyPolicy.BUSY else "",
            str(extension.ring_seconds),
            own.site,
            own.site if own.site in linked else "",
            own.class_of_service,
            own.caller_number,
            own.forward,
            extension.number,
            "&".join(f"PJSIP/{names[0]}" for names in devices),
        )
    )


def _hint(devices: list[tuple[str, ...]]) -> str:
    """The devices whose state is the extension's: with every name of each, since it may call at any of its doors."""
    return "&".join(f"PJSIP/{name}" for names in devices for name in names)


def _devices(document: Document) -> Iterator[tuple[str, str]]:
    for device in document.all(Device).values():
        own = identity(document, document.get(Extension, device.extension), device)
        columns = (
            own.extension,
            own.number,
            own.site,
            own.class_of_service,
            own.caller_number,
        )
        yield device.id, ",".join(columns)


def _linked(document: Document) -> frozenset[str]:
    """Sites with a thin link, at either end."""
    return frozenset(site for item in document.all(Site).values() for link in item.links for site in (item.id, link.to))


def _links(document: Document) -> ConfFile:
    """``tables/links.conf``: one section per site, one row per other site: ``group,most calls,codecs``.

    A link holds both ways, whichever of the two sites it stands at. When both speak of it, the lower number of calls
    counts, and the codecs of the site whose id comes first. Codecs are separated by colons.
    """
    limits: dict[tuple[str, str], list[tuple[int | None, str | None]]] = {}
    for site in sorted(document.all(Site).values(), key=lambda item: item.id):
        for link in site.links:
            first, second = sorted((site.id, link.to))
            limits.setdefault((first, second), []).append((link.max_calls, link.codec_policy))
    rows: dict[str, list[tuple[str, str]]] = {}
    for (first, second), found in sorted(limits.items()):
        most = min((calls for calls, _ in found if calls is not None), default=None)
        policy = document.find(CodecPolicy, next((id for _, id in found if id is not None), None))
        codecs = codecs_line(policy).replace(",", ":") if policy else ""
        row = f"{first}.{second},{'' if most is None else most},{codecs}"
        rows.setdefault(first, []).append((second, row))
        rows.setdefault(second, []).append((first, row))
    return ConfFile("tables/links.conf", tuple(Section(site, tuple(rows[site])) for site in sorted(rows)))
