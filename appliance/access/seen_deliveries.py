"""Deliveries and files of exports as somebody may see them: whoever has a right to the area ``system``; what is told of calls in them,
only whoever may see every call.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from appliance.access.permissions import Subject
from appliance.core.document import Document
from appliance.core.errors import NotFoundError, RefusedError
from appliance.notifications.model import HistoryExport, NotificationEndpoint, WebhookEndpoint
from appliance.notifications.runs import Run
from appliance.notifications.service import Deliveries, Delivery, EndpointStatus
from appliance.notifications.state import State

AREA: Final = "system"
CALLS: Final = "history"


class SeenDeliveries:
    """Somebody's view of them. Everything raises RefusedError (``forbidden``) for whoever may not."""

    def __init__(self, deliveries: Deliveries, subject: Subject, document: Document) -> None:
        self._deliveries, self._subject, self._document = deliveries, subject, document

    @property
    def may_edit(self) -> bool:
        """Whether it may send again and discard."""
        return self._subject.may(AREA, edit=True)

    @property
    def sees_bodies(self) -> bool:
        """Whether it may see every call."""
        grants = self._subject.grants
        return any(grant.everywhere and grant.covers(CALLS, "", edit=False) for grant in grants)

    def listed(
        self, *, state: State | None = None, endpoint: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[Delivery]:
        """See :meth:`Deliveries.listed`."""
        self._require()
        found = self._deliveries.listed(state=state, endpoint=endpoint, limit=limit, before=before)
        return [self._seen(each) for each in found]

    def get(self, id: str) -> Delivery:
        """See :meth:`Deliveries.get`."""
        self._require()
        return self._seen(self._deliveries.get(id))

    def endpoints(self) -> list[EndpointStatus]:
        """How each endpoint of the document does, and each that still has deliveries."""
        self._require()
        known = {each.id: each for each in self._deliveries.endpoints()}
        for endpoint in self._document.all(NotificationEndpoint).values():
            if isinstance(endpoint.target, WebhookEndpoint):
                known.setdefault(endpoint.id, EndpointStatus(endpoint.id, 0, 0, 0, None, None, ""))
        return [known[id] for id in sorted(known)]

    def files(self, export: str | None = None, limit: int = 50) -> list[Run]:
        """Files of exports, newest first."""
        self._require()
        return self._deliveries.runs.listed(export, limit)

    def replay(self, id: str) -> Delivery:
        """See :meth:`Deliveries.replay`."""
        self._require(edit=True)
        return self._seen(self._deliveries.replay(id))

    def replay_dead(self, endpoint: str | None) -> int:
        """See :meth:`Deliveries.replay_dead`."""
        self._require(edit=True)
        return self._deliveries.replay_dead(endpoint)

    def discard(self, id: str) -> None:
        """See :meth:`Deliveries.discard`."""
        self._require(edit=True)
        self._deliveries.discard(id)

    def test(self, endpoint: str) -> Delivery:
        """Send an endpoint of the document an event that says nothing. :raises NotFoundError: there is no such webhook."""
        self._require(edit=True)
        found = self._document.find(NotificationEndpoint, endpoint)
        if found is None or not isinstance(found.target, WebhookEndpoint):
            raise NotFoundError(f"there is no webhook {endpoint}", "centralino notification_endpoint list")
        return self._deliveries.test(endpoint)

    def retry(self, export: str) -> int:
        """Try an export's file now. How many wait. :raises NotFoundError: there is no such export."""
        self._require(edit=True)
        if self._document.find(HistoryExport, export) is None:
            raise NotFoundError(f"there is no export {export}", "centralino history_export list")
        return self._deliveries.runs.retry(export, time.time_ns() // 1_000_000)

    def _seen(self, delivery: Delivery) -> Delivery:
        return delivery if self.sees_bodies else replace(delivery, body="")

    def _require(self, *, edit: bool = False) -> None:
        require(self._subject, edit=edit)


def require(subject: Subject, *, edit: bool = False) -> None:
    """:raises RefusedError: ``forbidden``: somebody may not see deliveries, or not send them again."""
    if not subject.may(AREA, edit=edit):
        needed = f"{AREA}:{'edit' if edit else 'view'}"
        raise RefusedError(f"this needs the permission {needed}", "ask an administrator", error_id="forbidden")
