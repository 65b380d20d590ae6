"""Document → slices (pure). Equal documents give equal slices; nothing in one depends on another branch, but for their number."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Final

from appliance.core.document import Document
from appliance.failover import plan as failover
from appliance.failover.model import Copies
from appliance.vpn.addresses import (
    INSIDE_PORT,
    concentrator,
    daemons_for,
    home,
    networks_of,
    ours,
    own_addresses,
)
from appliance.vpn.plan import end_lines, remotes
from appliance.vpn.slices.formats import NEWEST, write
from appliance.vpn.slices.model import Link, Path, Remote, Slice

FOLDER: Final = "host/vpn/slices/"
"""Within a generation."""


def plan(document: Document, site: str, cores: int, revision: int = 0) -> Slice | None:
    """A site's slice; None: no such branch is in use, it has no edge of ours, or there is no concentrator. ``cores``: of the centre."""
    return next(_slices(document, cores, revision, site), None)


def files(document: Document, cores: int) -> dict[str, str]:
    """Files of a generation by name: all slices, in the newest format. They carry no revision: the generation does."""
    return {f"{FOLDER}{each.site}.json": write(each, NEWEST).decode() for each in _slices(document, cores, 0, None)}


def kept_of_tunnel(text: str) -> object:
    """What of a slice's file has to be the same, or its edge starts the tunnel anew; garbage is like nothing else."""
    try:
        plain = json.loads(text)
        ways = {(each["host"], each["port"]) for each in plain["paths"]} or plain[
            "remotes"
        ]  # lines come and go below OpenVPN
        return ways, plain["openvpn"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _slices(document: Document, cores: int, revision: int, only: str | None) -> Iterator[Slice]:
    one, found = concentrator(document), ours(document)
    if one is None:
        return
    number = daemons_for(len(found), cores)
    lines, wan = end_lines(one), failover.lines(document)
    for site, branch in found.items():
        if only in (None, site):
            yield Slice(
                revision=revision,
                site=site,
                remotes=tuple(Remote(host=host, port=port) for host, port in remotes(one, branch, number)),
                openvpn=lines,
                networks=tuple(map(str, networks_of(document, site))),
                inside=own_addresses(one, home(branch, number)),
                inside_port=INSIDE_PORT,
                paths=tuple(
                    Path.model_validate(asdict(each)) for each in failover.paths(one, branch, wan.get(site, ()), number)
                ),
                copies=branch.copies if site in wan else Copies.ALWAYS,
                links=tuple(
                    Link(number=line.number, device=line.device, access=line.access)
                    for line in wan.get(site, ())
                    if line.access is not None
                ),
            )
