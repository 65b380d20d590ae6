"""What the console stands on, and who asks: made once per process, handed to the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.access.guarded import GuardedDocument
from appliance.access.permissions import Subject
from appliance.access.transactions import Transactions
from appliance.applier.client import ApplierClient
from appliance.paths import Paths
from appliance.store import Store

if TYPE_CHECKING:
    from flask import Request


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, and how it proved so.

    :param by_cookie: the browser sends the proof by itself, so that changes need the session's CSRF token besides.
    """

    subject: Subject
    by_cookie: bool = False
    csrf_token: str = ""


@dataclass(frozen=True, slots=True)
class Services:
    """One installation's stores and peers.

    :param identify: who sends a request; None: nobody that we know.
    """

    paths: Paths
    store: Store
    identify: Callable[[Request], Identity | None]

    def document(self, subject: Subject) -> GuardedDocument:
        """The document as somebody may see it."""
        return GuardedDocument(self.store, subject, self.applier().seal)

    def transactions(self, subject: Subject) -> Transactions:
        """Somebody's way to change it."""
        return Transactions(self.store, self.document(subject), self.applier)

    def applier(self, progress: Callable[[str], None] | None = None) -> ApplierClient:
        """A client of the applier."""
        return ApplierClient(self.paths.applier_socket, progress)
