"""The firewall and its bans as somebody may see them, and lifting a ban: the one place where that is enforced, for portal and API.

Both are the whole machine's, so a right that is tied to sites, or to what is somebody's own, opens nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from appliance.access import bans
from appliance.access.permissions import Subject
from appliance.core.document import Document
from appliance.core.errors import RefusedError
from appliance.firewall.bans import asking
from appliance.firewall.bans.asking import Told
from appliance.firewall.machine import this_machine
from appliance.firewall.promise import Promise, promise
from appliance.names.keeper import sources_in
from appliance.paths import Paths

if TYPE_CHECKING:
    from appliance.access.access import Access

AREA: Final = "firewall"


class SeenFirewall:
    """For one subject.

    :raises RefusedError: ``forbidden``: it may not look.
    """

    def __init__(self, subject: Subject, document: Document, access: Access, paths: Paths) -> None:
        if not may(subject):
            raise _forbidden("view")
        self._subject, self._document, self._access, self._paths = subject, document, access, paths

    @property
    def may_lift(self) -> bool:
        """Whether it may lift bans."""
        return may(self._subject, edit=True)

    def require_lift(self) -> None:
        """:raises RefusedError: ``forbidden``: it may not lift bans."""
        if not self.may_lift:
            raise _forbidden("edit")

    def promise(self) -> Promise:
        """Who may reach what, as the document in force has it on this machine."""
        return promise(self._document, this_machine(sources_in(self._paths.names)))

    def told(self, search: str = "", limit: int = asking.LIMIT) -> Told:
        """See :func:`appliance.firewall.bans.asking.told`."""
        return asking.told(self._paths, search, limit)

    def lift(self, network: str, address: str) -> tuple[str, ...]:
        """See :func:`appliance.access.bans.lift`. ``address``: where the subject asks from, for the audit.

        :raises RefusedError: ``forbidden``.
        """
        self.require_lift()
        return bans.lift(self._access, self._paths, network, author=self._subject.id, address=address)


def may(subject: Subject, *, edit: bool = False) -> bool:
    """Whether somebody may look, or lift bans."""
    return any(grant.everywhere and grant.covers(AREA, "", edit=edit) for grant in subject.grants)


def _forbidden(verb: str) -> RefusedError:
    return RefusedError(
        f"this needs the permission {AREA}:{verb} for the whole company", "ask an administrator", error_id="forbidden"
    )
