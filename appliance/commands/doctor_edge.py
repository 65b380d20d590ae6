"""What ``centralino doctor`` looks at on a branch's edge, which has neither engine nor document."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from appliance.commands.doctor import disk, each
from appliance.commands.findings import Finding, Grade
from appliance.console.technician.paths import ConsolePaths
from appliance.edge.paths import EdgePaths
from appliance.i18n import _, translated
from appliance.paths import Paths

PROGRAMS: Final = ("openvpn", "nft", "setpriv")
RESTART: Final = "systemctl restart centralino-edge"
PING_GROUPS: Final = Path("/proc/sys/net/ipv4/ping_group_range")
"""Who may send pings without privilege: the first group and the last one. A kernel on which nobody set it says ``1 0``: nobody, root neither."""
PING_FILE: Final = "/etc/sysctl.d/60-centralino-ping.conf"
LET_PING: Final = f"echo net.ipv4.ping_group_range = 0 2147483647 | sudo tee {PING_FILE} && sudo sysctl -p {PING_FILE}"


def only_edge(paths: Paths) -> bool:
    """Whether this machine is a branch's edge, and no centre."""
    return EdgePaths.default().top.is_dir() and not paths.document_db.exists()


def examine_edge() -> Iterator[Finding]:
    """All checks of an edge."""
    looks = {"host": programs, "disk": lambda: disk(EdgePaths.default().top), "kernel": pings, "edge": edge}
    yield from each({**looks, "console": console} if ConsolePaths.default().top.is_dir() else looks)


def programs() -> Iterator[Finding]:
    """Programs that an edge calls."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        names = ", ".join(missing)
        yield Finding("host", Grade.FAULT, _("missing: {names}").format(names=names), "apt install openvpn nftables")
    else:
        yield Finding("host", Grade.OK, _("all programs are there"))


def pings() -> Iterator[Finding]:
    """Lines can be tested by pings."""
    first, last = map(int, PING_GROUPS.read_text().split())
    if first > last:
        yield Finding("kernel", Grade.WARNING, _("it lets nobody send pings: lines can't be tested by them"), LET_PING)
    else:
        yield Finding("kernel", Grade.OK, _("lines can be tested by pings"))


def console() -> Iterator[Finding]:
    """The technician's console has a code that opens it."""
    from appliance.console.technician.door import kept_in

    file = ConsolePaths.default().code
    if not file.exists():
        yield Finding("console", Grade.WARNING, _("nobody can sign in: it has no code yet"), "centralino edge code")
    elif kept_in(file) is None:
        yield Finding("console", Grade.FAULT, _("nobody can sign in: its code can't be read"), "centralino edge code")
    else:
        yield Finding("console", Grade.OK, _("a technician's code opens it"))


def edge() -> Iterator[Finding]:
    """Its agent runs, reaches the centre, and complains of nothing."""
    from appliance.commands.edge import told

    found = told()
    if not found["enrolled"] and not found["faults"]:
        yield Finding("edge", Grade.WARNING, _("it belongs to no site yet"), _("invite it at the centre: centralino vpn enrol SITE"))  # fmt: skip
        return
    for fault in found["faults"]:
        yield Finding("edge", Grade.FAULT, fault, RESTART if not found["enrolled"] else "")
    if found["enrolled"] and not found["centre_reached"] and not found["faults"]:
        where = ", ".join(found["remotes"])
        yield Finding("edge", Grade.FAULT, _("the centre isn't reached through the tunnel"),
                      _("does the internet work here? Its addresses: {addresses}").format(addresses=where))  # fmt: skip
    if refused := found["refused"]:
        told_why = {**refused, "why": translated(refused["why"])}
        yield Finding("edge", Grade.WARNING, _("Revision {revision} was undone: {why}").format(**told_why),
                      _("what did it change for that branch? centralino history"))  # fmt: skip
    yield from _network(found)
    if found["enrolled"] and datetime.fromisoformat(found["certificate_ends"]) < datetime.now(UTC):
        yield Finding("edge", Grade.FAULT, _("its certificate is over, or the clock is wrong"),
                      _("invite it at the centre: centralino vpn enrol SITE"))  # fmt: skip
    elif found["centre_reached"] and not found["faults"] and not found["refused"]:
        yield Finding("edge", Grade.OK, _("site {site}: the centre is reached").format(site=found["site"]))


def _network(found: dict[str, Any]) -> Iterator[Finding]:
    """Interfaces that somebody has set up, or changed, at the router itself."""
    from appliance.edge.words import put_back

    for setting in found.get("network", {}).get("settings", ()):
        device = setting["device"]
        yield Finding("network", Grade.WARNING, _("interface {device} was set up at the router itself").format(device=device),
                      _("tell whoever runs the centre; or as the configuration says: centralino edge network {device} --given").format(device=device))  # fmt: skip
    for link in found.get("links", ()):
        if link["put_back"]:
            yield Finding("network", Grade.WARNING, f"{link['device']}: {put_back(link)}", _("who changes it? Its settings are the configuration's"))  # fmt: skip
