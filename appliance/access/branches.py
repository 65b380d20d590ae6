"""Shutting a branch of the voice VPN out: who may, and that it is written down. The one place for portal and API.

What happens when…

* we are killed in between: the audit says that it was ordered; the voice VPN's log, whether it was done;
* the voice VPN's process is silent, or its disk is full: the audit has the order and that it failed, the error says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance.access import audit
from appliance.access.audit import Event
from appliance.access.permissions import Rights, Subject
from appliance.core.document import Document
from appliance.core.errors import CentralinoError, NotFoundError, RefusedError
from appliance.vpn.model import Branch

if TYPE_CHECKING:
    from appliance.access.access import Access

Revoke = Callable[[str, str], list[str]]
"""Revokes a site's certificates for an author; their names (:func:`appliance.vpn.asking.revoke`)."""


class GuardedBranches:
    """Branches for one subject."""

    def __init__(self, subject: Subject, document: Document, access: Access, revoke: Revoke) -> None:
        self._subject, self._document, self._access, self._revoke = subject, document, access, revoke
        self._rights = Rights(subject, document)

    def get(self, id: str) -> Branch:
        """:raises NotFoundError: there is no such branch, or the subject may not see it: both look the same."""
        found = self._document.find(Branch, id)
        if found is None or not self._rights.fields(found):
            raise NotFoundError(f"there is no branch {id!r}", "centralino branch list")
        return found

    def may_revoke(self, id: str) -> bool:
        """Whether the subject may shut it out: whoever may change all of it."""
        found = self._document.find(Branch, id)
        return found is not None and self._rights.may(found, edit=True)

    def revoke(self, id: str, address: str) -> list[str]:
        """Revoke all certificates of a branch's site, which is cut off within a second; their names.

        :param address: where the subject asks from, for the audit.
        :raises NotFoundError: see :meth:`get`.
        :raises RefusedError: ``forbidden``.
        :raises UnavailableError: ``vpn_not_running``, ``vpn_revoke``.
        """
        branch = self.get(id)
        if not self.may_revoke(id):
            raise RefusedError("this needs the permission branch:edit", "ask an administrator", error_id="forbidden")
        note_revocation(self._access, branch.site, self._subject.id, address)
        try:
            return self._revoke(branch.site, self._subject.id)
        except CentralinoError as error:
            note_revocation(self._access, branch.site, self._subject.id, address, failed=error.error_id)
            raise


def note_revocation(access: Access, site: str, author: str, address: str, failed: str = "") -> None:
    """Write into the audit that a site's certificates are to be revoked; or why they weren't."""
    more = {"failed": failed} if failed else {}
    with access.database.write() as connection:
        audit.append(
            connection, access.clock(), Event.BRANCH_REVOKED, author=author, address=address, site=site, **more
        )
