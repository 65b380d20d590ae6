"""The firewall without any daemon: what lies on the disk is loaded, at boot before any interface comes up.

=============================  =================================================================================
there is a generation          its rules and settings, as they were committed
none yet, or none can be read  everything is closed, but portal and SSH for private networks (:data:`promise.NEW`):
                               a machine fresh from the factory can be set up, and not from the internet
the kernel refuses its rules   the same; the exit code and the doctor tell
nft is missing, or no right    nothing can be loaded: exit code 1, and the unit fails
=============================  =================================================================================

Neither the database nor the applier is asked. The applier loads the rules of the revision in force when it starts, whatever was
loaded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.core.document import Document
from appliance.core.errors import CentralinoError
from appliance.firewall.kernel import Kernel
from appliance.firewall.machine import this_machine
from appliance.firewall.promise import promise
from appliance.firewall.rules import digest_in, script
from appliance.firewall.tuning import settings, text
from appliance.i18n import later

RULES: Final = "host/firewall.nft"
SETTINGS: Final = "host/sysctl.conf"

UNIT: Final = """\
[Unit]
Description=Centralino firewall
Documentation=man:nft(8)
DefaultDependencies=no
RequiresMountsFor={state}
After=systemd-modules-load.service local-fs.target
Wants=network-pre.target
Before=network-pre.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} firewall load
ExecReload={program} firewall load
# No ExecStop: what stops, stops closed.
Environment=CENTRALINO_FIREWALL=on CENTRALINO_STATE={state}
CapabilityBoundingSet=CAP_NET_ADMIN CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_NETLINK AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=sysinit.target
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was loaded. ``trouble``: why it isn't what was committed."""

    digest: str
    committed: bool
    trouble: str = ""
    untuned: int = 0


def unit(state: Path, program: Path) -> str:
    """The unit of the image: ordered before any network comes up. ``program``: the ``centralino`` command."""
    return UNIT.format(state=state, program=program)


def load(generation: Path, kernel: Kernel) -> Loaded:
    """Load the rules of a generation, else those of a machine that nothing is known of.

    :param generation: directory of the generation in force; it needn't be there.
    :raises CentralinoError: nothing could be loaded.
    """
    trouble = ""
    try:
        rules = (generation / RULES).read_text()
        if (digest := digest_in(rules)) is None:
            raise ValueError
        kernel.load(rules)
        left = kernel.tune((generation / SETTINGS).read_text() if (generation / SETTINGS).is_file() else "")
        return Loaded(digest, committed=True, untuned=len(left))
    except FileNotFoundError:
        trouble = later("no configuration is there")
    except (OSError, ValueError):
        trouble = later("the rules on the disk can't be read")
    except CentralinoError as error:
        trouble = error.message
    machine = this_machine()
    promised = promise(Document(), machine)
    rules = script(promised)
    kernel.load(rules)
    left = kernel.tune(text(settings(Document(), promised, machine)))
    return Loaded(digest_in(rules) or "", committed=False, trouble=trouble, untuned=len(left))
