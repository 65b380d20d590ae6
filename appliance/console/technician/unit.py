"""The console as a service of systemd: another user than the edge's, without any capability. It comes to the agent's sockets by the edge's group, and to no file of the edge's."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from appliance.console.technician.paths import DEFAULT
from appliance.edge.owner import USER as EDGE

NAME: Final = "centralino-edge-console.service"
USER: Final = "centralino-edge-console"
USERS: Final = f'u {USER} - "Centralino technician\'s console" {DEFAULT}\nm {USER} {EDGE}\n'
"""For sysusers.d(5)."""

UNIT: Final = """\
[Unit]
Description=Centralino edge (technician's console)
After=centralino-edge.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} edge console
Restart=always
RestartSec=1
# Who talks to a browser is the first to go when memory runs out.
OOMScoreAdjust=500
User={user}
Group={user}
SupplementaryGroups={edge}
UMask=0077
StateDirectory={directory}
StateDirectoryMode=0700
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectHostname=yes
ProtectClock=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
PrivateMounts=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
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
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(program: Path) -> str:
    """``program``: the ``centralino`` command."""
    return UNIT.format(program=program, user=USER, edge=EDGE, directory=DEFAULT.name)
