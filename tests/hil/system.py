"""The product under test: store, applier and engine, started by the product's own code in a network namespace.

with System(host, tmp_path, office("192.0.2.10", 4)) as system:
    phone = SoftPhone(other_host, "201-desk", system.passwords["201-desk"], …)
    system.commit(changed_extension)
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.applier.client import ApplierClient
from appliance.core.document import parse
from appliance.core.model import Object
from appliance.engine.ami import AmiClient
from appliance.engine.known import STARTING
from appliance.engine.launch import Engine, EngineLauncher
from appliance.engine.root import find_root
from appliance.kinds import KINDS
from appliance.organisation.model import Secret
from appliance.paths import Paths
from appliance.run.certificate import ensure_certificate
from appliance.store import Store
from tests.hil.agents.network import Host
from tests.hil.agents.process import Child, eventually

Rows = list[tuple[str, dict[str, Any]]]


def objects(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Object]:
    """Objects of the document from plain rows (kind, fields)."""
    return [parse(KINDS, kind, data) for kind, data in rows]


def office(
    address: str, extensions: int = 4, *, transports: Sequence[str] = ("udp",), first: int = 201, devices: int = 1
) -> Rows:
    """One site, extensions 201, 202 … with devices ``201-1``, ``201-2`` …, listeners for the transports, the usual codes."""
    ports = {"udp": 5060, "tcp": 5060, "tls": 5061, "wss": 8089}
    rows: Rows = [
        ("company", {"id": "demo", "name": "Demo Srl", "caller_number": "+390200000200"}),
        ("site", {"id": "hq", "name": "Head office", "company": "demo", "class_of_service": "standard", "emergency_number": "+390200000200"}),
        ("number_plan", {"id": "plan", "name": "Plan", "ranges": [{"first": str(first), "last": str(first + max(extensions, 50) - 1)}, {"first": "400", "last": "449"}]}),
        ("emergency_plan", {"id": "italy", "name": "Italy"}),
        ("class_of_service", {"id": "standard", "name": "Standard"}),
        ("service_code", {"id": "echo", "code": "*43", "service": "echo"}),
        ("service_code", {"id": "time", "code": "*60", "service": "date_time"}),
        ("codec_policy", {"id": "standard", "name": "Standard", "codecs": ["opus", "g722", "alaw", "ulaw"]}),
    ]  # fmt: skip
    to_first = {"type": "extension", "extension": f"ext-{first}"}
    rows.append(("did", {"id": "main", "number": "+390200000200", "company": "demo", "destination": to_first}))
    for transport in transports:
        more = {"certificate": "appliance"} if transport in ("tls", "wss") else {}
        rows.append(
            (
                "listener",
                {
                    "id": transport,
                    "name": transport,
                    "transport": transport,
                    "address": address,
                    "port": ports[transport],
                    **more,
                },
            )
        )
    for number in range(first, first + extensions):
        rows.append(
            ("extension", {"id": f"ext-{number}", "number": str(number), "label": f"Desk {number}", "site": "hq"})
        )
        for slot in range(1, devices + 1):
            id = f"{number}-{slot}"
            rows.append(
                (
                    "device",
                    {
                        "id": id,
                        "extension": f"ext-{number}",
                        "slot": slot,
                        "secret": id,
                        "allowed_transports": [transports[0]],
                    },
                )
            )
            rows.append(("secret", {"id": id}))
    return rows


class System:
    """A running appliance without web: ``passwords`` by secret id; ``engine`` is the product's own handle."""

    def __init__(self, host: Host, work: Path, rows: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
        self.host = host
        self.paths = Paths(state=work / "state", cache=Paths.default().cache, memory=Paths.default().memory)
        self.passwords: dict[str, str] = {}
        self._objects = objects(rows)
        self._applier: Child | None = None
        self._history: Child | None = None
        self.launcher = EngineLauncher(find_root(self.paths), self.paths.engine, network_namespace=host.namespace)
        self.engine: Engine | None = None

    @property
    def client(self) -> ApplierClient:
        """The applier's own client."""
        return ApplierClient(self.paths.applier_socket)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the product's processes and commands."""
        return {**os.environ, "CENTRALINO_STATE": str(self.paths.state), "CENTRALINO_CACHE": str(self.paths.cache)}

    def store(self) -> Store:
        """The document store (close it)."""
        return Store.default(self.paths)

    def __enter__(self) -> Self:
        try:
            self.launcher.prepare()
            ensure_certificate(self.paths.engine.tls, "appliance", (self.host.address, self.host.address6))
            self.launcher.grant(self.paths.engine.tls)
            self.start_applier()
            self.commit(*self._objects, offline=True)
            self.start_engine()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def start_applier(self, **environment: str) -> Child:
        """The applier's daemon, in the host's namespace."""
        self._applier = self._start_python("appliance.applier", **environment)
        eventually(self._applier_answers, "the applier answers", 30)
        return self._applier

    def start_history(self) -> Child:
        """The history writer's daemon."""
        assert self._history is None
        return self.restart_history()

    def restart_history(self) -> Child:
        """Another one; the one before has ended."""
        self._history = self._start_python("appliance.history")
        return self._history

    @property
    def history(self) -> Child:
        """The daemon's process."""
        assert self._history is not None
        return self._history

    def _start_python(self, module: str, **environment: str) -> Child:
        log = self.paths.state / f"{module}.log"
        return self.host.start([sys.executable, "-m", module], log, env={**self.environment, **environment})

    @property
    def applier(self) -> Child:
        """The daemon's process."""
        assert self._applier is not None
        return self._applier

    def _applier_answers(self) -> bool:
        try:
            self.client.state()
        except Exception:  # noqa: BLE001 (not yet, whatever the reason; eventually() has the deadline)
            assert self._applier is not None
            assert self._applier.running, self._applier.text()
            return False
        return True

    def start_engine(self) -> Engine:
        """Start the engine by the product's launcher."""
        self.engine = self.launcher.start()
        return self.engine

    def ami(self) -> AmiClient:
        """A connection to the engine's manager interface (close it)."""
        assert self.engine is not None
        return self.engine.ami()

    def sealed(self, secret: Secret) -> Secret:
        """A secret with a value: a new password, remembered in ``passwords``."""
        # Hexadecimal: SIPp would read a password that happens to begin with "0x" as bytes.
        password = self.passwords.setdefault(secret.id, secrets.token_hex(12))
        with self.store() as store:
            return Secret(id=secret.id, value=store.keyring(self.paths.secret_key).seal(secret.id, password))

    def commit(
        self, *put: Object, remove: Sequence[tuple[str, str]] = (), offline: bool = False, **options: Any
    ) -> dict[str, Any]:
        """Propose these changes and have them applied; secrets without a value get a new one."""
        sealed = [self.sealed(item) if isinstance(item, Secret) and item.value is None else item for item in put]
        with self.store() as store:
            revision = store.propose(sealed, remove, base=store.head().number, author="test", message="test")
        return self.client.apply(revision.number, offline=offline, **options)

    def log(self) -> list[str]:
        """Errors and warnings in the engine's log, but for what any engine may say that starts while phones send."""
        text = self.paths.engine.messages.read_text(errors="replace") if self.paths.engine.messages.exists() else ""
        bad = (line for line in text.splitlines() if " ERROR[" in line or " WARNING[" in line)
        return [line for line in bad if STARTING not in line]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in (self._history, self._applier):
            if child is not None:
                child.stop()
        if self.engine is not None:
            self.engine.stop()
