"""What there is in the lab: who sells lines, which branches have which, and what the company has configured (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.hil.agents.network import LANS
from tests.hil.office import rows
from tests.hil.system import Rows

CENTRE_NAME: Final = "voce.example.com"
WRONG: Final = "203.0.113.99"
"""Where nobody is: what a lying name server says."""
CENTRE: Final = "centre"
CENTRE_IMPAIRMENTS: Final = ("well", "gone")
NAME_SERVERS: Final = {"isp-one": "198.51.100.53", "isp-two": "198.51.100.54"}
OUTSIDE: Final = "+390200000999"
"""A number that the telephone company answers."""
PHONES: Final = 10
"""Extensions at each branch and at the head office."""


@dataclass(frozen=True, slots=True)
class Isp:
    """Somebody who sells lines. ``number``: of its router on the Internet."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a branch."""

    id: str
    isp: Isp
    number: int
    role: str
    device: str
    profile: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch. ``first``: its first extension; ``host``: last part of its edge's addresses at providers."""

    site: str
    name: str
    number: int
    first: int
    host: int

    def line(self, id: str) -> str:
        """A line's name in the lab."""
        return f"{self.site}-{id}"


ISPS: Final = (Isp("isp-one", 21), Isp("isp-two", 22), Isp("lte", 23))
LINES: Final = (
    Line("fibre", ISPS[0], 1, "primary", "eth0", "same"),
    Line("dsl", ISPS[1], 2, "backup", "eth1", "10ms"),
    Line("lte", ISPS[2], 3, "metered", "eth2", "45ms"),
)
BRANCHES: Final = (Branch("torino", "Torino", 1, 310, 11), Branch("roma", "Roma", 2, 320, 12))
HEAD_OFFICE_FIRST: Final = 330


def document(address: str, outside: str) -> Rows:
    """What the company has configured. ``address``: of the centre, where phones find it; ``outside``: where the telephone company does."""
    more: Rows = [
        ("listener", {"id": "wan", "name": "Trunks", "transport": "udp", "address": outside, "zone": "trunks"}),
        ("provider", {"id": "telco", "name": "Telephone company", "probe": False}),
        ("trunk", {"id": "telco", "name": "Telephone company", "provider": "telco", "host": f"{LANS['provider'][0]}30", "auth": {"type": "address"}}),
        ("concentrator", {"id": "vpn", "name": "VPN", "addresses": [{"host": CENTRE_NAME}]}),
        ("network", {"id": "phones", "name": "Phones", "zone": "voice", "networks": [f"{LANS['voice'][0]}0/24"]}),
    ]  # fmt: skip
    common = {"class_of_service": "standard", "emergency_number": "+390200000200", "trunks": ["telco"]}
    more.append(("site", {"id": "hq", "name": "Head office", "company": "demo", **common}))
    places = [("hq", "Head office", HEAD_OFFICE_FIRST)]
    for branch in BRANCHES:
        places.append((branch.site, branch.name, branch.first))
        networks = [f"{LANS[branch.site][0]}0/24"]
        more += [
            ("site", {"id": branch.site, "name": branch.name, "company": "demo", "networks": networks, **common}),
            ("branch", {"id": branch.site, "site": branch.site, "number": branch.number}),
        ]
        for line in LINES:
            link = branch.line(line.id)
            fields = {"site": branch.site, "number": line.number, "device": line.device, "role": line.role}
            more.append(("wan_line", {"id": link, "name": link, **fields}))
    for site, name, first in places:
        for number in map(str, range(first, first + PHONES)):
            more += [
                ("extension", {"id": f"ext-{number}", "number": number, "label": f"{name} {number}", "site": site}),
                ("device", {"id": f"{number}-1", "extension": f"ext-{number}", "slot": 1, "secret": f"{number}-1"}),
                ("secret", {"id": f"{number}-1"}),
            ]
    return rows(address, more)
