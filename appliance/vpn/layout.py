"""Where this machine's daemons find their files: the lines of their configuration that name paths and users."""

from __future__ import annotations

import grp
import os
import pwd
from typing import Final

from appliance.engine.openvpn_management import management_lines
from appliance.paths import VpnPaths
from appliance.vpn.model import DAEMONS, THIRD
from appliance.vpn.pki import server_lines
from appliance.vpn.plan import Installation, interface_of

USER: Final = "centralino-vpn"
"""Daemons run as this user where there is one (in the image), else as nobody."""


def installation(paths: VpnPaths, cores: int | None = None) -> Installation:
    """Facts of this machine for the plan. ``cores``: None: as many as it has.

    :raises InvalidError: ``vpn_management_socket``: the state directory lies too deep for a Unix socket in it.
    """
    user = daemon_user()
    group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
    local = {
        index: (
            f'client-config-dir "{paths.clients(interface_of(index))}"',
            f'tmp-dir "{paths.temporary}"',
            f"user {user}",
            f"group {group}",
            *management_lines(paths.management(interface_of(index)), *_us()),
        )
        for index in (*range(DAEMONS), THIRD)
    }
    return Installation(cores or os.cpu_count() or 1, server_lines(paths), local)


def daemon_user() -> str:
    """Whom OpenVPN becomes when it has done what needs root."""
    return USER if _exists(USER) else "nobody"


def _us() -> tuple[str, str]:
    """User and group that the keeper runs as, like whoever plans: only they may ask the daemons."""
    user = pwd.getpwuid(os.geteuid())
    return user.pw_name, grp.getgrgid(user.pw_gid).gr_name


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
