"""Lifting a ban by somebody's order: into the audit, and done, or neither."""

from __future__ import annotations

from appliance.access import audit
from appliance.access.access import Access
from appliance.access.audit import Event
from appliance.firewall.bans import asking
from appliance.paths import Paths


def lift(access: Access, paths: Paths, network: str, *, author: str, address: str = "") -> tuple[str, ...]:
    """Lift every ban that hits any of a network, and forgive all of it. Returns the networks of those bans.

    Whether somebody may is for the caller to know.

    :raises InvalidError: ``bad_network``.
    :raises UnavailableError: the judge of bans or the audit can't be reached. Nothing was lifted; or, if the disk failed in the last
        moment, it was and the audit doesn't tell.
    """
    wanted = str(asking.network_of(network))
    with access.database.write() as connection:
        audit.append(connection, access.clock(), Event.BAN_LIFTED, author=author, address=address, network=wanted)
        return asking.lift(paths, wanted)
