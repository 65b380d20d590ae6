"""Commits on a running engine: what it took is read back, what it refused is undone, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from appliance.applier import link as links
from appliance.applier import plan as plans
from appliance.applier.__main__ import make
from appliance.applier.desired import Desired
from appliance.applier.link import Settings
from appliance.applier.plan import Files
from appliance.applier.service import Options, Service, quiet
from appliance.applier.upkeep import Upkeep
from appliance.core.asterisk import ConfFile, Section, lookup
from appliance.core.document import Document
from appliance.core.errors import ApplyError, CentralinoError, RefusedError, UnavailableError
from appliance.core.model import Object
from appliance.core.plan import ReadBack
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.media.model import Listener
from appliance.run.certificate import ensure_certificate
from appliance.run.demo import demo
from appliance.store import State, Store
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
        self.desired = TamperedDesired(system.paths, self.settings, store.keyring(system.paths.secret_key))
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
            return ami.getvar(f"PJSIP_ENDPOINT({name},language)")

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


# What is taken


def test_a_change_of_a_device_is_in_the_engine_when_the_commit_returns(office_: Office) -> None:
    wanted = office_.changed_device()
    number = office_.commit(wanted)
    assert office_.language() == wanted.language
    assert office_.store.head().number == number
    assert office_.service.state()["verified"] is True


@pytest.mark.parametrize(
    "label", ["Rossi; Mario", 'a "quoted" => [name]', "${EXTEN} $[1+1]", "Caffè ☕ ufficio", "x" * 60]
)
def test_any_name_arrives_as_it_was_written(office_: Office, label: str) -> None:
    office_.commit(office_.extension().model_copy(update={"label": label}))
    assert office_.getvar("AST_CONFIG(tables/names.conf,01,201)") == label
    assert lookup("names", "EXTEN").startswith("${AST_CONFIG(tables/names.conf,")


def wait_for_the_window(office_: Office) -> None:
    def closed() -> bool:
        office_.upkeep.tend()
        return office_.service.state()["confirm"] is None

    eventually(closed, "the window closes", 10)


def set_dnd(office_: Office, extension: str) -> None:
    with office_.system.ami() as ami:
        ami.action("DBPut", {"Family": "dnd", "Key": extension, "Val": "1"})


def dnd(office_: Office, extension: str) -> bool:
    with office_.system.ami() as ami:
        return "Value: 1" in ami.command(f"database get dnd {extension}")


def test_what_is_deleted_is_gone_with_its_runtime_values_and_only_with_its_own(office_: Office) -> None:
    set_dnd(office_, "ext-204")
    set_dnd(office_, "ext-203")
    office_.commit(remove=(("device", "204-1"), ("extension", "ext-204")))
    assert office_.getvar("AST_SORCERY(res_pjsip,aor,204-1,max_contacts)") == ""
    assert not dnd(office_, "ext-204")
    assert dnd(office_, "ext-203")


def test_a_rollback_brings_back_what_was_deleted_and_touches_no_runtime_value(office_: Office) -> None:
    before = office_.store.head().number
    office_.commit(remove=(("device", "203-1"),))
    set_dnd(office_, "ext-202")
    office_.service.rollback(before, "test", "", Options())
    assert office_.getvar("AST_SORCERY(res_pjsip,aor,203-1,max_contacts)") != ""
    assert dnd(office_, "ext-202")


def test_deleted_but_not_confirmed_an_extension_keeps_its_runtime_values(office_: Office) -> None:
    set_dnd(office_, "ext-203")
    office_.commit(remove=(("device", "203-1"), ("extension", "ext-203")), confirm_s=0.5)
    wait_for_the_window(office_)
    assert dnd(office_, "ext-203")
    assert office_.store.document().find(Extension, "ext-203") is not None


def test_unconfirmed_the_engine_goes_back(office_: Office) -> None:
    before = office_.language()
    changed = office_.changed_device()
    office_.commit(changed, confirm_s=0.5)
    assert office_.language() == changed.language != before
    wait_for_the_window(office_)
    assert office_.language() == before


def test_a_scheduled_revision_is_applied_when_it_is_due(office_: Office) -> None:
    from datetime import UTC, datetime

    changed = office_.changed_device()
    number = office_.propose(changed)
    office_.service.schedule(number, datetime.now(UTC), Options())
    office_.upkeep.tend()
    assert office_.store.revision(number).state is State.COMMITTED
    assert office_.language() == changed.language


# Effects


def listener(office_: Office, id: str, **changes: object) -> Listener:
    return office_.store.document().get(Listener, id).model_copy(update=changes)


def test_a_moved_listener_drops_connections_only_if_asked_for_and_only_its_own(office_: Office) -> None:
    moved = listener(office_, "tls", port=5071)
    with office_.untouched(), pytest.raises(RefusedError) as caught:
        office_.commit(moved)
    assert caught.value.error_id == "drops_connections"
    address = office_.system.host.address
    with office_.system.host.connect(address, 5060) as other:
        office_.commit(moved, allow=("drops_connections",))
        with office_.system.host.connect(address, 5071):
            pass
        with pytest.raises(OSError, match="refused"):
            office_.system.host.connect(address, 5061, 0.1)
        other.settimeout(0.3)
        other.sendall(b"\r\n\r\n")
        with contextlib.suppress(TimeoutError, socket.timeout):
            assert other.recv(10) != b"", "the connection to the other listener was dropped"
    office_.commit(listener(office_, "tls", port=5061), allow=("drops_connections",))


def test_a_removed_listener_needs_a_restart_that_is_done_only_if_asked_for(office_: Office) -> None:
    tls = listener(office_, "tls")
    with office_.untouched(), pytest.raises(RefusedError) as caught:
        office_.commit(remove=(("listener", "tls"),))
    assert caught.value.error_id == "needs_restart"
    office_.commit(remove=(("listener", "tls"),), allow=("needs_restart",))
    with pytest.raises(OSError, match="refused"):
        office_.system.host.connect(office_.system.host.address, 5061, 0.1)
    office_.commit(tls)


# What the engine refuses


def test_an_endpoint_that_the_engine_refuses_is_named_and_everything_goes_back(office_: Office) -> None:
    def tamper(section: Section) -> Section:
        bad = (("media_encryption", "nonsense"),)
        if not of_device(section, "endpoint"):
            return section
        return Section(section.name, without_option(section, "media_encryption").options + bad, section.type)

    office_.desired.tamper = tamper
    before = office_.language()
    with (
        office_.untouched(),
        pytest.raises(ApplyError, match=r"endpoint 201-1\S*: media_encryption .*nonsense") as caught,
    ):
        office_.commit(office_.changed_device())
    assert "former configuration is in force" in caught.value.hint
    assert office_.language() == before
    failed = office_.store.history(1)[0]
    assert failed.state is State.FAILED
    assert "nonsense" in failed.reason
    assert office_.service.state()["verified"] is True


def test_a_new_endpoint_that_the_engine_drops_is_missed(office_: Office) -> None:
    def tamper(section: Section) -> Section:
        new = section.type == "endpoint" and section.name.startswith("201-2")
        return Section(section.name, (*section.options, ("dtmf_mode", "smoke")), section.type) if new else section

    device = office_.device().model_copy(update={"id": "201-2", "slot": 2})
    office_.desired.tamper = tamper
    with office_.untouched(), pytest.raises(ApplyError, match="201-2"):
        office_.commit(device)
    assert office_.getvar("AST_SORCERY(res_pjsip,aor,201-2,max_contacts)") == ""


def test_an_object_whose_old_form_the_engine_keeps_is_not_taken_for_the_new_one(office_: Office) -> None:
    """Without a user name the engine refuses it and keeps the one it had, which has all that the new one wants."""
    office_.desired.tamper = lambda s: without_option(s, "username") if of_device(s, "auth") else s
    with office_.untouched(), pytest.raises(ApplyError, match="auth 201-1"):
        office_.commit(office_.changed_device())


def test_a_dialplan_line_that_the_engine_cannot_read_is_found(office_: Office) -> None:
    def tamper(section: Section) -> Section:
        if section.name != "internal":
            return section
        return Section(section.name, (*section.options, ("exten", "999,1,NoOp(never closed")), section.type)

    office_.desired.tamper = tamper
    with office_.untouched(), pytest.raises(ApplyError, match="closing parenthesis"):
        office_.commit(office_.extension().model_copy(update={"label": "New"}))
    assert office_.getvar("DIALPLAN_EXISTS(internal,999,1)") == "0"


def test_a_file_that_the_engine_does_not_read_is_noticed(office_: Office) -> None:
    """The engine is kept from the new table: what it serves isn't what was written."""
    table = office_.system.paths.engine.config
    real = office_.service.applier.generations.switch

    def switch(generation: object) -> None:
        real(generation)  # type: ignore[arg-type]
        (generation.path / "tables" / "names.conf").chmod(0)  # type: ignore[attr-defined]

    office_.service.applier.generations.switch = switch  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(ApplyError, match=r"names\.conf"):
            office_.commit(office_.extension().model_copy(update={"label": "Unread"}))
    finally:
        office_.service.applier.generations.switch = real  # type: ignore[method-assign]
        for path in table.rglob("names.conf"):
            path.chmod(0o640)


# What may happen meanwhile


def at(moment: str, act: Callable[[], None]) -> Callable[[str], None]:
    """A progress that acts when the apply comes to a step."""

    def progress(text: str) -> None:
        if text.startswith(moment):
            act()

    return progress


def test_an_engine_that_dies_in_a_reload_finds_the_former_configuration(office_: Office) -> None:
    engine = office_.system.engine
    assert engine is not None
    before = office_.language()
    number = office_.propose(office_.changed_device())
    with office_.untouched(), pytest.raises(ApplyError, match="couldn't be asked") as caught:
        office_.service.apply(number, Options(), at("reloading", engine.kill))
    assert "checked again" in caught.value.hint
    assert office_.service.state()["verified"] is False
    office_.system.start_engine()
    office_.tend_until_verified()
    assert office_.language() == before


def test_a_silent_engine_is_given_up_before_anything_is_written(office_: Office) -> None:
    engine = office_.system.engine
    assert engine is not None
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    try:
        with office_.untouched(), pytest.raises(UnavailableError, match="nothing was changed"):
            office_.commit(office_.changed_device())
    finally:
        os.kill(engine.pid, signal.SIGCONT)


def test_an_engine_that_falls_silent_in_a_reload_goes_back_when_it_speaks_again(
    office_: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = office_.system.engine
    assert engine is not None
    pid = engine.pid
    assert pid is not None
    before = office_.language()
    monkeypatch.setattr(links, "RELOAD_S", 1.0)
    monkeypatch.setattr(links, "PING_S", 1.0)
    monkeypatch.setattr(links, "CONNECT_S", 1.0)
    number = office_.propose(office_.changed_device())
    try:
        with office_.untouched(), pytest.raises(ApplyError, match="couldn't be asked"):
            office_.service.apply(number, Options(), at("reloading", lambda: os.kill(pid, signal.SIGSTOP)))
        assert office_.service.state()["verified"] is False
    finally:
        os.kill(pid, signal.SIGCONT)
    monkeypatch.undo()
    office_.tend_until_verified()
    assert office_.language() == before


def test_a_store_that_refuses_the_commit_takes_the_engine_back(
    office_: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise UnavailableError("the database is busy", error_id="database_busy")

    before = office_.language()
    monkeypatch.setattr(office_.store, "promote", refuse)
    with office_.untouched(), pytest.raises(ApplyError, match="couldn't be committed"):
        office_.commit(office_.changed_device())
    monkeypatch.undo()
    assert office_.language() == before


def test_commits_from_many_hands_are_applied_one_after_another(office_: Office) -> None:
    numbers = [
        office_.propose(office_.extension(f"ext-20{n}").model_copy(update={"label": f"Hand {n}"})) for n in (1, 2)
    ]
    failed: list[BaseException] = []

    def apply(number: int) -> None:
        try:
            office_.service.apply(number, Options(), quiet)
        except BaseException as error:  # noqa: BLE001 (any error fails the test, in the main thread)
            failed.append(error)

    threads = [threading.Thread(target=apply, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    assert [office_.getvar(f"AST_CONFIG(tables/names.conf,0{n},20{n})") for n in (1, 2)] == ["Hand 1", "Hand 2"]


def test_an_engine_restarted_by_someone_else_is_verified_again(office_: Office) -> None:
    engine = office_.system.engine
    assert engine is not None
    engine.kill()
    office_.upkeep.tend()
    office_.system.start_engine()
    again = office_.service.applier.link.run
    assert office_.upkeep.engine_seen != again
    eventually(lambda: (office_.upkeep.tend(), office_.upkeep.engine_seen == again)[1], "it is asked", 20)
    assert office_.service.state()["verified"] is True


@pytest.fixture
def cramped(tmp_path: Path) -> Iterator[Office]:
    """An office whose configuration lies on a disk of 1 MB."""
    require_root()
    config = tmp_path / "state" / "engine" / "config"
    config.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(config)], check=True)
    try:
        with Network() as net, running_office(net, tmp_path) as made:
            yield made
    finally:
        subprocess.run(["umount", "-l", str(config)], check=True)


def test_a_full_disk_fails_the_commit_and_harms_nothing(cramped: Office) -> None:
    filler = cramped.system.paths.engine.config / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(4096))
            file.flush()
    with cramped.untouched(), pytest.raises(UnavailableError) as caught:
        cramped.commit(cramped.changed_device())
    assert caught.value.error_id == "disk_full"
    assert "free space" in caught.value.hint
    assert cramped.service.check() == []
    filler.unlink()
    wanted = cramped.changed_device()
    cramped.commit(wanted)
    assert cramped.language() == wanted.language


def test_a_plan_shows_what_a_commit_then_does(office_: Office) -> None:
    wanted = office_.changed_device()
    number = office_.propose(wanted)
    plan = office_.service.plan(number)
    assert plan["changes"] == [{"path": "device/201-1", "action": "changed"}]
    assert [step["step"] for step in plan["steps"]] == ["write_file", "reload_module", "read_back"]
    assert plan["effect"] == "live"
    assert office_.language() != wanted.language, "planning changed something"
    office_.service.apply(number, Options())


def test_reading_back_is_bounded_in_time_however_much_is_changed(office_: Office) -> None:
    """Three hundred devices in one commit; the figure for ten thousand is the benchmark's."""
    began = time.monotonic()
    many = [office_.device().model_copy(update={"id": f"more-{n}", "slot": n}) for n in range(2, 9)]
    office_.commit(*many)
    office_.commit(remove=tuple(("device", each.id) for each in many))
    assert time.monotonic() - began < links.RELOAD_S


def test_every_object_of_the_demo_company_is_read_back(tmp_path: Path) -> None:
    """Trunks, registrations, groups, every transport: whatever the features write, the engine can be asked for."""
    require_root()
    with Network() as net:
        host = net.host("pbx")
        company = demo(host.address, lambda: "of-the-test")
        with running_office(net, tmp_path, host, [], *company.objects, secrets=company.secrets) as made:
            assert made.service.check() == []
            plan = plans.build({}, made.service.current.files)
            types = {step.type for step in plan.steps if isinstance(step, ReadBack)}
            assert types >= {"endpoint", "aor", "auth", "transport", "identify", "registration"}


def test_a_daemon_ends_in_good_order_and_is_alone(tmp_path: Path) -> None:
    require_root()
    with Network() as net:
        host = net.host("pbx")
        with System(host, tmp_path, rows(host.address)) as system:
            first = system.applier
            second = system._start_python("appliance.applier")
            assert second.wait(20) == 1
            assert "already_running" in second.text()
            assert system.client.state()["revision"] == 1
            first.process.send_signal(signal.SIGTERM)
            assert first.wait(20) == 0
            assert not system.paths.applier_socket.exists()
            passwords = list(system.passwords.values())
            assert passwords
            assert not [word for word in passwords if word in first.text()]
