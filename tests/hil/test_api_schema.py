"""The whole API by its own description, with every role: nothing makes it fail, break its word, or tell one site of another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from appliance.console import limits
from appliance.console.app import create_app
from appliance.console.services import Services
from appliance.core.errors import UnavailableError
from appliance.firewall.bans import asking
from appliance.history.model import Call
from appliance.store import Store
from appliance.vpn.asking import Orders
from tests.hil.agents.network import Network
from tests.hil.agents.process import eventually
from tests.hil.live_hub import live_hub
from tests.hil.system import Rows, System, office
from tests.unit.console.asking import Askers
from tests.unit.console.past import call, remember

MARK = "only-of-hq"
"""In every text of the head office's objects: nobody who is tied to the branch may ever be shown it."""
PEOPLE = ("administrator", "it-manager", "hr-manager", "operator", "user", "auditor")
ROLES = [*PEOPLE, "branch-manager", "namer", "nobody", "stranger"]
TIED = {"branch-manager", "nobody", "stranger"}
READERS = {"auditor", "operator", "nobody", "stranger"}
EXAMPLES = 4
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def rows() -> Rows:
    made = [(kind, _marked(kind, data)) for kind, data in office("192.0.2.10", 2)]
    return [
        *made,
        ("site", {"id": "branch", "name": "Branch", "company": "demo", "class_of_service": "standard", "emergency_number": "+390200000200"}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": "200", "last": "349"}]}),
        ("extension", {"id": "ext-301", "number": "301", "label": "Desk", "site": "branch"}),
        ("device", {"id": "301-1", "extension": "ext-301", "secret": "301-1"}),
        ("secret", {"id": "301-1"}),
        *(("person", {"id": role, "name": MARK if role == "user" else role, "roles": [role]}) for role in PEOPLE),
        ("person", {"id": "branch-manager", "name": "B", "roles": ["site-manager"], "sites": ["branch"]}),
        ("person", {"id": "nobody", "name": "No role"}),
        ("role", {"id": "names", "name": "Names", "permissions": ["extension.label:edit", "extension.number:view"]}),
        ("person", {"id": "namer", "name": "Names things", "roles": ["names"]}),
    ]  # fmt: skip


def _marked(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    match kind:
        case "site":
            return {**data, "name": MARK}
        case "extension":
            return {**data, "label": MARK, "person": "user"}
        case "device":
            return {**data, "label": MARK}
    return data


def past() -> list[Call]:
    """Calls within the head office that a caller's name marks, and calls within the branch."""
    marked = [
        replace(call(n, "201", "202"), from_name=f"{MARK} =1+1", from_site="hq", reached_site="hq") for n in range(60)
    ]
    made = [*marked, *(replace(call(100 + n, "301", "302"), from_site="branch") for n in range(20))]
    sites = {"milano": "hq", "torino": "branch"}
    return [
        replace(one, legs=tuple(replace(leg, site=sites[leg.site]) for leg in one.legs), reached_site="")
        for one in made
    ]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = {(kind, data["id"]): (kind, data) for kind, data in rows()}
    with (
        Network() as net,
        System(net.host("pbx", number=10), tmp_path_factory.mktemp("api"), made.values()) as system,
        live_hub(system),
        beside(system, "appliance.firewall.bans", lambda: asking.lift(system.paths, "203.0.113.1")),
        beside(system, "appliance.vpn", Orders(system.paths.vpn_orders_socket).drill),
    ):
        yield system


@contextmanager
def beside(system: System, module: str, answers: Callable[[], object]) -> Iterator[None]:
    """A process of the product's own, beside the engine. ``answers``: raises UnavailableError until it does."""
    argv, root = [sys.executable, "-m", module], Path(__file__).parents[2]
    with system.host.start(argv, system.paths.state / f"{module}.log", env=system.environment, cwd=root) as child:

        def works() -> bool:
            assert child.running, child.text()
            with suppress(UnavailableError):
                answers()
                return True
            return False

        eventually(works, f"{module} answers", 20)
        yield


@pytest.fixture(scope="module")
def store(system: System) -> Iterator[Store]:
    with system.store() as store:
        yield store


@pytest.fixture(scope="module")
def ask(system: System) -> Iterator[Askers]:
    remember(system.paths, past())
    services = Services.open(system.paths)
    yield Askers(create_app(services, limits.Buckets(1e6, 1_000_000)))
    services.close()


def operations(app: Flask) -> Iterator[Any]:
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, config=SchemathesisConfig())
    for result in schema.get_all_operations():
        yield result.ok()


def aim(case: Any, store: Store) -> None:
    """Hit something that is there, in the version that it has."""
    kind = case.operation.path.split("/")[2] if case.operation.path.startswith("/objects/") else ""
    known = sorted(store.document().objects.get(kind, {}))
    if known and "id" in case.path_parameters:
        case.path_parameters["id"] = known[len(str(case.body)) % len(known)]
    if case.operation.path == "/history/{id}":
        case.path_parameters["id"] = 1 + int(case.path_parameters["id"]) % 90
    if case.operation.path in ("/history", "/history.csv", "/statistics") and case.query:
        keep = len(str(case.query)) % 3  # all that was made up at random finds nothing, or is refused
        case.query = dict(list(case.query.items())[:keep])
    if "If-Match" in (case.headers or {}):
        case.headers["If-Match"] = "*"


@pytest.mark.parametrize("role", ROLES)
def test_no_request_makes_it_fail_or_break_its_word(ask: Askers, system: System, store: Store, role: str) -> None:
    asker, tried, first = ask(role), 0, store.head().number
    for operation in operations(ask.app):

        @settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def try_(case: Any) -> None:
            nonlocal tried
            if tried % 4:
                aim(case, store)
            response = case.call(headers={"Authorization": f"Bearer {asker.key}"})
            case.validate_response(response, checks=CHECKS)
            assert role not in TIED or MARK not in response.text, case.formatted_path
            tried += 1

        try_()
        assert role not in READERS or not store.candidate(asker.author), operation.label
        store.discard(asker.author)
        if store.head().number != first:  # a commit or a roll back that went through
            system.client.rollback(first, author="test", allow=["drops_connections", "needs_restart"], offline=True)
            first = store.head().number
    assert tried >= 100
