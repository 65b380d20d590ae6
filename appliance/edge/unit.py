"""The edge as a service of systemd: a user of its own, four capabilities, and nothing else of the machine.

====================  ================================================================================================
CAP_NET_ADMIN         interfaces, addresses and routes of lines; the tunnel's (OpenVPN); bans (nftables)
CAP_NET_RAW           DHCP before there is an address: udhcpc alone uses it
CAP_NET_BIND_SERVICE  DHCP's port 68: so, too
CAP_SYS_TIME          the clock, which may have no battery; OpenVPN, relays and udhcpc don't get it
====================  ================================================================================================

What happens when…

* the agent dies: it is started again after a second, for ever; its tunnel stays meanwhile (``KillMode=process``);
* the service is stopped: the agent ends the tunnel, and itself;
* the disk is full: what the tunnel needs to be started again is in memory (``RuntimeDirectory=``);
* memory runs out: the kernel takes the agent or OpenVPN last, and one doesn't end the other (``OOMPolicy=continue``);
* the edge was run by root before: its files become the service's at the first start (``StateDirectory=``);
* a firewall is loaded at boot: before us, and before any network (``network-pre.target``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from appliance.edge.owner import USER
from appliance.edge.paths import DEFAULT, DEFAULT_RUN

NAME: Final = "centralino-edge.service"
USERS: Final = f'u {USER} - "Centralino edge" {DEFAULT}\n'
"""For sysusers.d(5)."""

UNIT: Final = """\
[Unit]
Description=Centralino edge (voice VPN of a branch)
Documentation=man:openvpn(8)
Wants=network-pre.target
After=network-pre.target centralino-firewall.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} edge run
# SIGTERM makes the agent end the tunnel. Killed otherwise, it leaves the tunnel to its successor.
KillMode=process
TimeoutStopSec=15
Restart=always
RestartSec=1
OOMPolicy=continue
OOMScoreAdjust=-800
# What carries voice never waits for a processor that something else has.
Nice=-10
User={user}
Group={user}
UMask=0077
StateDirectory={directory}
StateDirectoryMode=0700
# In memory: on a full disk the tunnel can be started again. The next agent finds the tunnel by it.
RuntimeDirectory={run}
# Whoever is of its group comes to the agent's sockets, and to nothing else in there: the technician's console.
RuntimeDirectoryMode=0710
RuntimeDirectoryPreserve=yes
AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_TIME
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SYS_TIME
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateIPC=yes
PrivateMounts=yes
DevicePolicy=closed
DeviceAllow=/dev/net/tun rw
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_PACKET
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
# The clock; and setpriv, which takes the clock away from OpenVPN.
SystemCallFilter=clock_settime capset
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def narrowed(*capabilities: str) -> list[str]:
    """What a service's user puts before a program, which gets these of our capabilities: without any named, what interfaces, routes and
    buffers need (OpenVPN, and what holds a relay's sockets). Root's are confined by themselves."""
    kept = ",".join(["-all", *(f"+{each}" for each in capabilities or ("net_admin",))])
    return ["setpriv", f"--inh-caps={kept}", f"--ambient-caps={kept}", "--no-new-privs", "--"] if os.geteuid() else []


def unit(program: Path) -> str:
    """``program``: the ``centralino`` command."""
    return UNIT.format(program=program, user=USER, directory=DEFAULT.name, run=DEFAULT_RUN.name)
