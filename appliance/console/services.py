"""What the console stands on, and who asks: made once per process, handed to the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from appliance.access import Access, SignIn
from appliance.access.calls import GuardedCalls
from appliance.access.guarded import GuardedDocument
from appliance.access.permissions import Subject
from appliance.access.transactions import Transactions
from appliance.applier.client import ApplierClient
from appliance.console.identify import Identifier, Identity
from appliance.console.past import Past, SeenHistory
from appliance.hub.client import HubClient
from appliance.organisation.model import Person
from appliance.paths import Paths
from appliance.store import Store

if TYPE_CHECKING:
    from flask import Request


def must_have_factor(person: Person) -> bool:
    """Whoever may change anything about other people or the whole system signs in with a second factor besides the password."""
    return bool(set(person.roles) - {"user", "operator", "auditor"})


@dataclass(frozen=True, slots=True)
class Services:
    """One installation's stores and peers.

    :param identify: who sends a request; None: nobody that we know.
    :param seal: seals secrets; None: the applier does, which alone can read the key.
    :param past: the database of the call history.
    """

    paths: Paths
    store: Store
    access: Access
    signin: SignIn
    identify: Callable[[Request], Identity | None]
    seal: Callable[[str, str], str] | None = None
    past: Past = field(default_factory=Past)

    @classmethod
    def open(cls, paths: Paths) -> Self:
        """Those of an installation. Databases are made or brought up to date."""
        store = Store.default(paths)
        access = Access.open(paths)
        signin = SignIn(access, store.document, must_have_factor)
        return cls(paths, store, access, signin, Identifier(store, access, signin))

    def close(self) -> None:
        """Close all databases."""
        self.past.close()
        self.access.close()
        self.store.close()

    def document(self, subject: Subject) -> GuardedDocument:
        """The document as somebody may see it."""
        return GuardedDocument(self.store, subject, self.seal or self.applier().seal)

    def transactions(self, subject: Subject) -> Transactions:
        """Somebody's way to change it."""
        return Transactions(self.store, self.document(subject), self.applier)

    def history(self, subject: Subject) -> SeenHistory:
        """The calls that have ended, as somebody may see them. See :meth:`Past.seen_by`."""
        return self.past.seen_by(subject, self.store.document(), self.paths)

    def calls(self, subject: Subject) -> GuardedCalls:
        """Calls that are up, as somebody may see and handle them."""
        return GuardedCalls(lambda: HubClient(self.paths.hub_socket), subject, self.store.document())

    def applier(self, progress: Callable[[str], None] | None = None) -> ApplierClient:
        """A client of the applier."""
        return ApplierClient(self.paths.applier_socket, progress)
