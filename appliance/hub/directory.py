"""What the document knows about whom the engine speaks of: an immutable extract, made anew for each revision (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.core.document import Document
from appliance.organisation.model import Site
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.extensions.resolve import display_name, identity
from appliance.pbx.trunks.endpoint import uri
from appliance.pbx.trunks.model import Provider, RegisterAuth, Trunk
from appliance.vpn.addresses import branches, concentrator
from appliance.vpn.model import Branch


@dataclass(frozen=True, slots=True)
class ExtensionEntry:
    """An extension: ``name`` is what others see, ``devices`` are ids in order of slot."""

    id: str
    number: str
    name: str
    site: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrunkEntry:
    """A trunk. ``account``: URI that it registers with, empty: it doesn't register. ``max_calls`` None: no limit."""

    id: str
    name: str
    site: str = ""
    max_calls: int | None = None
    account: str = ""


@dataclass(frozen=True, slots=True)
class LinkEntry:
    """A thin link between two sites, ids in order; ``id`` is ``first.second``, as the engine's tables have it."""

    id: str
    first: str
    second: str
    max_calls: int | None = None


@dataclass(frozen=True, slots=True)
class BranchEntry:
    """A branch of the voice VPN. ``name``: its site's. ``enabled``: it and the voice VPN are in use."""

    id: str
    site: str
    name: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class DeviceClass:
    """Where in the dialplan a device's calls begin, and where numbers are looked up to which it transfers or redirects a call."""

    context: str = "from-device"
    transfer: str = "transfer-inside"
    forward: str = "forwarded-inside"


@dataclass(frozen=True, slots=True)
class Directory:
    """All of it. ``place``: site of each device; ``classes``: what each device's class of service allows."""

    revision: int = 0
    extensions: Mapping[str, ExtensionEntry] = field(default_factory=dict)
    trunks: Mapping[str, TrunkEntry] = field(default_factory=dict)
    links: Mapping[str, LinkEntry] = field(default_factory=dict)
    branches: Mapping[str, BranchEntry] = field(default_factory=dict)
    extension_of: Mapping[str, str] = field(default_factory=dict)
    place: Mapping[str, str] = field(default_factory=dict)
    classes: Mapping[str, DeviceClass] = field(default_factory=dict)


def directory(document: Document, revision: int = 0) -> Directory:
    """The extract of a document."""
    extensions = document.all(Extension)
    devices = sorted(document.all(Device).values(), key=lambda device: (device.slot, device.id))
    of_extension: dict[str, list[str]] = {}
    for device in devices:
        of_extension.setdefault(device.extension, []).append(device.id)
    return Directory(
        revision=revision,
        extensions={
            id: ExtensionEntry(
                id, item.number, display_name(document, item), item.site, tuple(of_extension.get(id, ()))
            )
            for id, item in sorted(extensions.items())
        },
        trunks={id: _trunk(document, trunk) for id, trunk in sorted(document.all(Trunk).items())},
        links=_links(document),
        branches=_branches(document),
        extension_of={device.id: device.extension for device in devices},
        place={device.id: device.site or extensions[device.extension].site for device in devices},
        classes={device.id: _class(document, extensions[device.extension], device) for device in devices},
    )


def _class(document: Document, extension: Extension, device: Device) -> DeviceClass:
    found = identity(document, extension, device)
    context = "from-device" if found.inside else "from-device-outside-only"
    return DeviceClass(context, f"transfer-{found.transfer}", f"forwarded-{found.forward}")


def _trunk(document: Document, trunk: Trunk) -> TrunkEntry:
    provider = document.get(Provider, trunk.provider)
    account = uri(trunk, provider, trunk.auth.username) if isinstance(trunk.auth, RegisterAuth) else ""
    return TrunkEntry(trunk.id, trunk.name, trunk.site or "", trunk.max_calls, account)


def _branches(document: Document) -> dict[str, BranchEntry]:
    used = branches(document) if concentrator(document) is not None else {}
    sites = document.all(Site)
    return {
        branch.id: BranchEntry(branch.id, branch.site, sites[branch.site].name, used.get(branch.site) == branch)
        for branch in sorted(document.all(Branch).values(), key=lambda branch: branch.id)
        if branch.site in sites
    }


def _links(document: Document) -> dict[str, LinkEntry]:
    """Links hold both ways; when both sites speak of one, the lower number of calls counts."""
    limits: dict[tuple[str, str], list[int]] = {}
    for site in document.all(Site).values():
        for link in site.links:
            first, second = sorted((site.id, link.to))
            found = limits.setdefault((first, second), [])
            if link.max_calls is not None:
                found.append(link.max_calls)
    return {
        f"{first}.{second}": LinkEntry(f"{first}.{second}", first, second, min(calls, default=None))
        for (first, second), calls in sorted(limits.items())
    }
