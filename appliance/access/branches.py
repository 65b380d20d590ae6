"""Shutting a branch of the voice VPN out, and inviting its router: who may, and that it is written down. The one place for portal and API.

What happens when…

* we are killed in between: the audit says that it was ordered; the voice VPN's log, whether it was done;
* the voice VPN's process is silent, or its disk is full: the audit has the order and that it failed, the error says what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.access import audit
from appliance.access.audit import Event
from appliance.access.permissions import Rights, Subject
from appliance.core.document import Document
from appliance.core.errors import CentralinoError, NotFoundError, RefusedError
from appliance.vpn.model import Branch

if TYPE_CHECKING:
    from appliance.access.access import Access
    from appliance.vpn.asking import DrillReport, Made, Orders, Standing


class GuardedBranches:
    """Branches for one subject."""

    def __init__(self, subject: Subject, document: Document, access: Access, orders: Orders) -> None:
        self._subject, self._document, self._access, self._orders = subject, document, access, orders
        self._rights = Rights(subject, document)

    def get(self, id: str) -> Branch:
        """:raises NotFoundError: there is no such branch, or the subject may not see it: both look the same."""
        found = self._document.find(Branch, id)
        if found is None or not self._rights.fields(found):
            raise NotFoundError(f"there is no branch {id!r}", "centralino branch list")
        return found

    def may_revoke(self, id: str) -> bool:
        """Whether the subject may shut it out, and invite a router for it: whoever may change all of it."""
        found = self._document.find(Branch, id)
        return found is not None and self._rights.may(found, edit=True)

    def revoke(self, id: str, address: str) -> list[str]:
        """Revoke all certificates of a branch's site, which is cut off within a second; their names.

        :param address: where the subject asks from, for the audit.
        :raises NotFoundError: see :meth:`get`.
        :raises RefusedError: ``forbidden``.
        :raises UnavailableError: ``vpn_not_running``, ``vpn_revoke``.
        """
        site = self._editable(id).site
        with self._noted(Event.BRANCH_REVOKED, site, address):
            return self._orders.revoke(site, self._subject.id)

    def invite(self, id: str, address: str, *, hours: float, replace: bool = False, former: str | None = None) -> Made:
        """Invite a router for a branch, the first or another; the branch's invitation before ends.

        :param hours: how long it waits, more than 0 and at most 168.
        :param replace: the certificates that the branch has are revoked at once.
        :param former: until when the last invitation was good that the subject knows of (:attr:`Standing.until`), ``""``: of none;
            None: whatever there is ends.
        :raises NotFoundError: see :meth:`get`; ``no_branch``: it isn't committed yet, or there is no concentrator.
        :raises RefusedError: ``forbidden``, ``already_invited``, ``third_party``, ``clock_wrong``.
        :raises InvalidError: ``bad_hours``.
        :raises UnavailableError: ``vpn_not_running``, ``vpn_invite``, ``disk_full``, ``storage``.
        """
        site = self._editable(id).site
        with self._noted(Event.BRANCH_INVITED, site, address, hours=hours, replace=replace):
            return self._orders.invite(site, self._subject.id, hours, replace=replace, former=former)

    def invitation(self, id: str) -> Standing | None:
        """The last invitation of a branch, without its secret; None: there is none. For whoever may :meth:`invite`.

        :raises NotFoundError: see :meth:`get`; :raises RefusedError: ``forbidden``; :raises UnavailableError: ``vpn_not_running``, ``vpn_invite``.
        """
        site = self._editable(id).site
        return next((each for each in self._orders.invitations() if each.site == site), None)

    def invitations(self) -> dict[str, Standing]:
        """By branch, the invitations that the subject may end. :raises UnavailableError: ``vpn_not_running``, ``vpn_invite``."""
        of = {each.site: each.id for each in self._document.all(Branch).values() if self.may_revoke(each.id)}
        return {of[each.site]: each for each in self._orders.invitations() if each.site in of} if of else {}

    def drill(self, month: str = "") -> DrillReport:
        """What lines of the branches that the subject may see would have done by themselves in a month (empty: the newest).

        :raises InvalidError: ``month``. :raises CorruptError: ``drill_broken``. :raises UnavailableError: ``vpn_not_running``.
        """
        if not self._subject.may("branch"):
            raise RefusedError("this needs the permission branch:view", "ask an administrator", error_id="forbidden")
        seen = {each.site for each in self._document.all(Branch).values() if self._rights.fields(each)}
        found = self._orders.drill(month)
        return replace(found, lines=tuple(each for each in found.lines if each.site in seen))

    def events(self, id: str) -> list[dict[str, Any]]:
        """What happened at a branch, as its edge told it, the newest first (:class:`appliance.vpn.inside.events.Told`).

        :raises NotFoundError: see :meth:`get`. :raises UnavailableError: ``vpn_not_running``.
        """
        return self._orders.events(self.get(id).site)

    def withdraw(self, id: str, address: str) -> bool:
        """End a branch's invitation; whether there was one. What was granted by it stays.

        :raises NotFoundError: see :meth:`get`; :raises RefusedError: ``forbidden``.
        :raises UnavailableError: ``vpn_not_running``, ``vpn_invite``, ``storage``.
        """
        site = self._editable(id).site
        with self._noted(Event.INVITATION_ENDED, site, address):
            return self._orders.withdraw(site, self._subject.id)

    def _editable(self, id: str) -> Branch:
        branch = self.get(id)
        if not self.may_revoke(id):
            raise RefusedError("this needs the permission branch:edit", "ask an administrator", error_id="forbidden")
        return branch

    @contextmanager
    def _noted(self, event: Event, site: str, address: str, **more: Any) -> Iterator[None]:
        """Ordered, then done: the audit has it before, and once more if it failed."""
        note(self._access, event, site, self._subject.id, address, **more)
        try:
            yield
        except CentralinoError as error:
            note(self._access, event, site, self._subject.id, address, failed=error.error_id)
            raise


def note_revocation(access: Access, site: str, author: str, address: str) -> None:
    """Write into the audit that a site's certificates are to be revoked."""
    note(access, Event.BRANCH_REVOKED, site, author, address)


def note(access: Access, event: Event, site: str, author: str, address: str, **more: Any) -> None:
    """Write into the audit what is to be done about a site's branch; with ``failed``, why it wasn't."""
    with access.database.write() as connection:
        audit.append(connection, access.clock(), event, author=author, address=address, site=site, **more)
