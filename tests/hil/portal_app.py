"""The portal over a real store, in this process; only the sign-in is a stand-in: whoever asks is the person of ``who``."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flask import Flask, Request
from werkzeug.serving import make_server

from appliance.access.access import Access
from appliance.access.permissions import subject_of
from appliance.access.providers import Providers
from appliance.access.signin import SignIn
from appliance.console.app import create_app
from appliance.console.identify import Identity
from appliance.console.services import Services
from appliance.core.document import parse
from appliance.core.model import Object
from appliance.kinds import KINDS
from appliance.paths import Paths
from appliance.run.demo import demo
from appliance.store import Store
from appliance.store.sealing import Keyring

TOKEN = "the session's token"

Rows = Iterable[tuple[str, dict[str, Any]]]

MORE: Rows = [
    ("person", {"id": "boss", "name": "Administrator", "roles": ["administrator"], "email": "admin@example.com"}),
    ("person", {"id": "auditor", "name": "Auditor", "roles": ["auditor"]}),
    ("role", {"id": "names", "name": "Names things", "permissions": ["extension.label:edit", "extension.number:view"]}),
    ("person", {"id": "namer", "name": "Names things", "roles": ["names"]}),
    ("trunk_group", {"id": "lines", "name": "All lines", "trunks": ["line-1"]}),
    (
        "inbound_route",
        {"id": "nuisance", "name": "Nuisance calls", "order": 1, "caller": "+390299999",
         "destination": {"type": "hangup", "reason": "rejected"}},
    ),
    ("outbound_route", {"id": "all", "name": "Everywhere", "order": 10, "prefixes": ["+"], "trunks": ["line-1"]}),
    ("secret", {"id": "reader"}),
    (
        "directory_service",
        {"id": "corp", "name": "Company directory", "enabled": False, "servers": [{"host": "dc1.example.com"}], "secret": "reader",
         "bind_dn": "CN=pbx-reader,OU=Service,DC=example,DC=com", "base": "OU=Staff,DC=example,DC=com",
         "groups": [{"group": "CN=Switchboard,OU=Groups,DC=example,DC=com", "role": "operator"}]},
    ),
    (
        "identity_provider",
        {"id": "login", "name": "Company login", "enabled": False, "issuer": "https://login.example.com/realms/company",
         "client_id": "centralino", "secret": "reader", "groups": [{"group": "switchboard", "role": "operator"}]},
    ),
    ("concentrator", {"id": "vpn", "name": "Voice VPN", "addresses": [{"host": "vpn.example.com"}], "pool6": "fd00:1:2:3::/64"}),
    ("branch", {"id": "milano", "site": "milano", "number": 1, "enabled": False}),
    ("wan_line", {"id": "milano-fibre", "name": "Fibre", "site": "milano", "number": 1, "device": "wan"}),
    ("turn_server", {"id": "turn", "name": "Browsers from outside", "addresses": [{"host": "turn.example.com"}]}),
    ("network", {"id": "offices", "name": "Offices", "zone": "management", "networks": ["192.0.2.0/24"]}),
    ("address_list", {"id": "scanners", "name": "Scanners", "action": "block", "networks": ["203.0.113.0/24"]}),
    ("secret", {"id": "archive"}),
    (
        "history_export",
        {"id": "monthly", "name": "Calls of the month", "site": "milano", "every": "month",
         "target": {"type": "https", "url": "https://files.example.com/calls/", "secret": "archive"}},
    ),
    ("notification_endpoint", {"id": "mail", "name": "Mail", "target": {"type": "email", "address": "noc@example.com"}}),
]  # fmt: skip


def company(more: Rows = ()) -> list[Object]:
    """The demo company, and something of every other kind."""
    rows = [parse(KINDS, kind, data) for kind, data in (*MORE, *more)]
    return [*demo("192.0.2.1", lambda: "x" * 20).objects, *rows]


@dataclass
class Portal:
    """A running portal. ``who``: id of the person who asks from now on."""

    store: Store
    app: Flask
    who: str = "boss"
    url: str = ""
    _server: Any = field(default=None, repr=False)

    def __enter__(self) -> Self:
        self._server = make_server("127.0.0.1", 0, self.app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def candidate(self, kind: str, id: str) -> Object | None:
        """An object with the asker's pending changes."""
        document = self.store.candidate(self.who).on(self.store.document())
        found: Object | None = document.objects.get(kind, {}).get(id)
        return found


@contextmanager
def portal_over(path: Path, objects: Iterable[Object], *, served: bool = True) -> Iterator[Portal]:
    """A portal over a store with these objects committed. ``served``: at an address, for browsers."""
    with Store(f"sqlite:///{path}/document.db") as store:
        store.promote(store.propose(objects, base=0, author="test").number)
        with portal_of(Paths(path, path), store, Keyring.load_or_create(path / "secret.key"), served=served) as running:
            yield running


@contextmanager
def portal_of(paths: Paths, store: Store, keyring: Keyring, *, served: bool = True) -> Iterator[Portal]:
    """A portal of an installation, whether it runs or not; without an applier, secrets are sealed here."""
    with ExitStack() as stack:

        def identify(_request: Request) -> Identity | None:
            subject = subject_of(store.document(), running.who)
            return None if subject is None else Identity(subject, by_cookie=True, csrf_token=TOKEN)

        paths.console.mkdir(exist_ok=True)
        access = stack.enter_context(Access.open(paths))
        signin = SignIn(access, store.document, lambda _: False)
        providers = Providers(signin, lambda _id: None)
        services = Services(paths, store, access, signin, identify, keyring.seal, providers=providers)
        stack.callback(services.past.close)
        app = create_app(services)
        running = Portal(store, app)
        if served:
            stack.enter_context(running)
        yield running
