"""What the console stands on, and who asks: made once per process, handed to the application."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from appliance.access.access import Access
from appliance.access.branches import GuardedBranches
from appliance.access.calls import GuardedCalls
from appliance.access.editing import OpenForms
from appliance.access.guarded import GuardedDocument
from appliance.access.outward import Outward
from appliance.access.permissions import Subject
from appliance.access.providers import Providers
from appliance.access.seen_deliveries import SeenDeliveries, require
from appliance.access.seen_firewall import SeenFirewall
from appliance.access.signin import SignIn
from appliance.access.transactions import Transactions
from appliance.applier.client import ApplierClient
from appliance.console.identify import Identifier, Identity
from appliance.console.limits import Buckets
from appliance.console.past import Past, SeenHistory
from appliance.core.errors import CentralinoError
from appliance.firewall.bans.reporting import Reporter
from appliance.hub.client import HubClient
from appliance.notifications.service import Deliveries
from appliance.organisation.model import Person
from appliance.paths import Paths
from appliance.store import Store
from appliance.store.handed import Handed
from appliance.vpn.asking import Orders

TURN_PER_SECOND: Final = 0.2
TURN_BURST: Final = 20
"""A browser asks once before each call; several devices may do so at once."""

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
    :param forms: who has which form open.
    :param providers: ways in by single sign-on; None: there are none.
    :param reporter: tells the judge of bans who failed to sign in.
    :param turn_limits: how often one person or key may ask for credentials of the TURN server.
    """

    paths: Paths
    store: Store
    access: Access
    signin: SignIn
    identify: Callable[[Request], Identity | None]
    seal: Callable[[str, str], str] | None = None
    past: Past = field(default_factory=Past)
    forms: OpenForms = field(default_factory=OpenForms)
    providers: Providers | None = None
    reporter: Reporter | None = None
    turn_limits: Buckets = field(default_factory=lambda: Buckets(TURN_PER_SECOND, TURN_BURST))

    @classmethod
    def open(cls, paths: Paths) -> Self:
        """Those of an installation. Databases are made or brought up to date."""
        store = Store.default(paths)
        access = Access.open(paths)
        secrets, outward = Handed(paths.handed_to("console")).get, Outward()
        reporter = Reporter(paths.attempts_socket)
        signin = SignIn(
            access, store.document, must_have_factor, secrets=secrets, outward=outward, report=reporter
        )  # fmt: skip
        providers = Providers(signin, secrets, outward)
        identify = Identifier(store, access, signin, reporter)
        return cls(paths, store, access, signin, identify, providers=providers, reporter=reporter)

    def close(self) -> None:
        """Close all databases."""
        if self.reporter is not None:
            self.reporter.close()
        self.past.close()
        self.access.close()
        self.store.close()

    def document(self, subject: Subject) -> GuardedDocument:
        """The document as somebody may see it."""
        return GuardedDocument(self.store, subject, self.seal or self.applier().seal, self.forms)

    def transactions(self, subject: Subject) -> Transactions:
        """Somebody's way to change it."""
        return Transactions(self.store, self.document(subject), self.applier)

    def history(self, subject: Subject) -> SeenHistory:
        """The calls that have ended, as somebody may see them. See :meth:`Past.seen_by`."""
        return self.past.seen_by(subject, self.store.document(), self.paths)

    def calls(self, subject: Subject) -> GuardedCalls:
        """Calls that are up, as somebody may see and handle them."""
        return GuardedCalls(lambda: HubClient(self.paths.hub_socket), subject, self.store.document())

    def branches(self, subject: Subject) -> GuardedBranches:
        """Branches of the voice VPN, as somebody may shut them out, and invite routers for them."""
        return GuardedBranches(subject, self.store.document(), self.access, Orders(self.paths.vpn_orders_socket))

    def deliveries(self, subject: Subject, *, edit: bool = False) -> SeenDeliveries:
        """What was sent to whom, as somebody may see it.

        :param edit: it is to be sent again, or discarded.
        :raises RefusedError: ``forbidden``.
        :raises UnavailableError: it can't be read now.
        """
        require(subject, edit=edit)
        return SeenDeliveries(Deliveries(self.past.database(self.paths)), subject, self.store.document())

    def firewall(self, subject: Subject) -> SeenFirewall:
        """Firewall and bans, as somebody may see them. :raises RefusedError: ``forbidden``."""
        return SeenFirewall(subject, self.store.document(), self.access, self.paths)

    def rules(self) -> dict[str, Any] | None:
        """How the applier found the kernel's rules last: ``revision``, ``checked``, ``trouble``. None: the firewall isn't ours, or
        the applier doesn't answer."""
        state = self.applier_state()
        found: dict[str, Any] | None = None if state is None else state.get("firewall")
        return found

    def applier_state(self) -> dict[str, Any] | None:
        """What the applier says of itself; None: it doesn't answer."""
        try:
            return self.applier().state()
        except CentralinoError:
            return None

    def applier(self, progress: Callable[[str], None] | None = None) -> ApplierClient:
        """A client of the applier."""
        return ApplierClient(self.paths.applier_socket, progress)
