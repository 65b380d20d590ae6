"""An office on a running engine, and the applier's service in the process of the test: fixtures ``shared``, ``office_``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from appliance.applier.__main__ import make
from appliance.applier.desired import Desired
from appliance.applier.keyfile import KeyFile
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.plan import Files
from appliance.applier.service import Service
from appliance.applier.upkeep import Upkeep
from appliance.core.asterisk import ConfFile, Section
from appliance.core.document import Document
from appliance.core.errors import CentralinoError
from appliance.core.model import Object
from appliance.pbx.extensions.model import Device, Extension
from appliance.run.certificate import ensure_certificate
from appliance.store import Store
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.system import Rows, System, office

Tamper = Callable[[Section], Section | None]


class TamperedDesired(Desired):
    """What the document says, but for what a test does to sections: mistakes that no document can hold."""

    tamper: Tamper | None = None

    def files(self, document: Document) -> Files:
        files = dict(super().files(document))
        if self.tamper is not None:
            for name, file in files.items():
                if isinstance(file, ConfFile):
                    sections = tuple(s for s in map(self.tamper, file.sections) if s is not None)
                    files[name] = file if sections == file.sections else ConfFile(name, sections)
        return files


class Office:
    """A running engine and the applier's service in this process: the daemon less its socket."""

    def __init__(self, system: System, store: Store) -> None:
        self.system, self.store = system, store
        self.service: Service = make(system.paths, self.settings, store)
        self.desired = TamperedDesired(system.paths, self.settings, KeyFile(store, system.paths.secret_key))
        self.service.desired = self.desired
        self.service.converge()
        self.upkeep = Upkeep(self.service)

    @property
    def settings(self) -> Settings:
        return Settings(network_namespace=self.system.host.namespace)

    def propose(self, *put: Object, remove: tuple[tuple[str, str], ...] = ()) -> int:
        return self.store.propose(put, remove, base=self.store.head().number, author="test", message="test").number

    def commit(self, *put: Object, remove: tuple[tuple[str, str], ...] = (), **options: object) -> int:
        number = self.propose(*put, remove=remove)
        return int(self.service.apply(number, Options(**options))["revision"])  # type: ignore[arg-type]

    def device(self, id: str = "201-1") -> Device:
        return self.store.document().get(Device, id)

    def extension(self, id: str = "ext-201") -> Extension:
        return self.store.document().get(Extension, id)

    def changed_device(self) -> Device:
        """The device with the other language than it has."""
        device = self.device()
        return device.model_copy(update={"language": "en" if device.language != "en" else "it"})

    def getvar(self, expression: str) -> str:
        with self.system.ami() as ami:
            return ami.getvar(expression)

    def language(self) -> str:
        """What the engine holds of the device."""
        with self.system.ami() as ami:
            name = next(
                e.get("ObjectName") for e in ami.list("PJSIPShowEndpoints") if e.get("ObjectName").startswith("201-1")
            )
            return ami.getvar(f"AST_SORCERY(res_pjsip,endpoint,{name},language)")

    def tend_until_verified(self) -> None:
        def verified() -> bool:
            with contextlib.suppress(CentralinoError):
                self.upkeep.tend()
            return self.service.state()["verified"] is True

        eventually(verified, "the engine holds what is committed", 40)

    @contextlib.contextmanager
    def untouched(self) -> Iterator[None]:
        """Within it, something is to fail that leaves everything as it was."""
        head, link = self.store.head().number, self.system.paths.engine.current.readlink()
        files = {path.name: path.read_bytes() for path in self.system.paths.engine.current.glob("*.conf")}
        yield
        assert self.store.head().number == head
        assert self.system.paths.engine.current.readlink() == link
        assert {path.name: path.read_bytes() for path in self.system.paths.engine.current.glob("*.conf")} == files
        assert self.service.state()["revision"] == head
        assert self.service.state()["applying"] is None


def rows(address: str) -> Rows:
    found = office(address, 4, transports=("udp", "tcp", "tls"))
    return [(kind, {k: v for k, v in data.items() if k != "emergency_number"}) for kind, data in found]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    require_root()
    with Network() as net, running_office(net, tmp_path_factory.mktemp("office")) as made:
        yield made


@contextlib.contextmanager
def running_office(
    net: Network,
    work: Path,
    host: Host | None = None,
    content: Rows | None = None,
    *objects: Object,
    secrets: Mapping[str, str] | None = None,
) -> Iterator[Office]:
    host = host or net.host("pbx")
    system = System(host, work, rows(host.address) if content is None else content)
    system.passwords.update(secrets or {})
    system.launcher.prepare()
    ensure_certificate(system.paths.engine.tls, "appliance", (host.address,))
    system.launcher.grant(system.paths.engine.tls)
    with system.store() as store:
        made = Office(system, store)
        try:
            made.commit(
                *(system.sealed(o) if o.kind == "secret" else o for o in (*system._objects, *objects)), offline=True
            )  # type: ignore[arg-type]
            system.start_engine()
            made.tend_until_verified()
            yield made
        finally:
            made.service.applier.link.close()
            if system.engine is not None:
                system.engine.kill()


@pytest.fixture
def office_(shared: Office) -> Iterator[Office]:
    """The shared office, in order before and after."""
    assert shared.service.check() == []
    yield shared
    shared.desired.tamper = None
    shared.tend_until_verified()
    assert shared.service.check() == []


def without_option(section: Section, option: str) -> Section:
    return Section(section.name, tuple(pair for pair in section.options if pair[0] != option), section.type)


def of_device(section: Section, type: str) -> bool:
    return section.type == type and section.name.startswith("201-1")
