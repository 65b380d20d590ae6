"""The firewall in a commit: its rules are in force with it, go back with it, and come back when somebody takes them away."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from appliance.applier.__main__ import make
from appliance.applier.apply import RevertedError
from appliance.applier.desired import Desired
from appliance.applier.keyfile import KeyFile
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.plan import FIREWALL, TUNING, Files
from appliance.applier.service import Service
from appliance.applier.upkeep import Upkeep
from appliance.commands.doctor_network import firewall
from appliance.commands.findings import Finding, Grade
from appliance.commands.firewall import check_tuning
from appliance.core.document import Document
from appliance.core.errors import ApplyError
from appliance.core.model import Object
from appliance.firewall.kernel import Kernel
from appliance.firewall.model import Network as Named
from appliance.firewall.rules import digest_in
from appliance.paths import Paths
from appliance.store import Store
from tests.hil.agents.network import Host, Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.agents.scanner import Arrivals, knock
from tests.hil.system import objects, office

SSH: Final = ("tcp", 22)


class Broken(Desired):
    """What the document says, but rules that no kernel takes: a mistake that no document can hold."""

    broken = False

    def files(self, document: Document) -> Files:
        files = dict(super().files(document))
        if self.broken:
            files[FIREWALL] = str(files[FIREWALL]).replace("policy drop", "policy perhaps")
        return files


@dataclass
class Machine:
    """An appliance whose engine isn't running, and an administrator's PC."""

    pbx: Host
    admin: Host
    paths: Paths
    store: Store
    kernel: Kernel
    arrivals: Arrivals
    service: Service

    @property
    def settings(self) -> Settings:
        return Settings(network_namespace=self.pbx.namespace, firewall=True)

    def commit(self, *put: Object, remove: tuple[tuple[str, str], ...] = (), **options: Any) -> int:
        number = self.propose(*put, remove=remove)
        return int(self.service.apply(number, Options(offline=True, **options))["revision"])

    def propose(self, *put: Object, remove: tuple[tuple[str, str], ...] = ()) -> int:
        return self.store.propose(put, remove, base=self.store.head().number, author="test", message="test").number

    def office(self, address: str) -> Named:
        """The administrators' network."""
        (made,) = objects(
            [("network", {"id": "office", "name": "Office", "zone": "management", "networks": [f"{address}/32"]})]
        )
        assert isinstance(made, Named)
        return made

    def sysctl(self, key: str) -> str:
        """A setting of the kernel, as it is."""
        return self.pbx.run(["sysctl", "-n", key]).stdout.strip()

    def admin_gets_in(self) -> bool:
        """Whether a SYN to the SSH port comes in."""
        self.arrivals.forget()
        knock(self.admin, self.admin.address, self.pbx.address, range(22, 23))
        with contextlib.suppress(AssertionError):
            return bool(eventually(lambda: SSH in self.arrivals.of(self.admin.address), "it gets in", 0.3))
        return False

    def in_force(self) -> bool:
        """Whether what is loaded is what the generation in force says."""
        return self.kernel.digest() == digest_in((self.paths.engine.current / FIREWALL).read_text())


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    require_root()
    with Network() as net:
        pbx, admin = net.host("pbx"), net.host("admin")
        paths = Paths(tmp_path_factory.mktemp("machine") / "state", Paths.default().cache)
        paths.engine.ami_secret.parent.mkdir(parents=True)
        paths.engine.ami_secret.write_text("secret")
        with Store.default(paths) as store:
            settings = Settings(network_namespace=pbx.namespace, firewall=True)
            service = make(paths, settings, store)
            service.converge()
            made = Machine(pbx, admin, paths, store, Kernel(pbx.namespace), Arrivals(pbx), service)
            made.commit(*objects(row for row in office(pbx.address, 2) if row[0] not in ("device", "secret")))
            yield made


@pytest.fixture
def machine(shared: Machine) -> Machine:
    """The machine while nobody is an administrator."""
    shared.service = make(shared.paths, shared.settings, shared.store)
    shared.service.desired = Broken(shared.paths, shared.settings, KeyFile(shared.store, shared.paths.secret_key))
    shared.service.converge()
    if shared.store.document().find(Named, "office") is not None:
        shared.commit(remove=(("network", "office"),))
    return shared


def test_rules_come_and_go_back_with_the_commit(machine: Machine) -> None:
    assert machine.in_force()
    assert not machine.admin_gets_in()
    number = machine.commit(machine.office(machine.admin.address))
    assert machine.in_force()
    assert machine.admin_gets_in()
    Upkeep(machine.service).tend()
    told = machine.service.state()["firewall"]
    assert (told["revision"], told["trouble"], bool(told["checked"])) == (number, "", True)


def test_an_administrator_who_locks_himself_out_is_let_in_again_by_itself(machine: Machine) -> None:
    machine.commit(machine.office(machine.admin.address))
    machine.commit(machine.office("203.0.113.9"), confirm_s=1.0)
    assert not machine.admin_gets_in()
    upkeep = Upkeep(machine.service)

    def over() -> bool:
        upkeep.tend()
        return machine.service.state()["confirm"] is None

    eventually(over, "the window closes", 10)
    assert machine.admin_gets_in()
    assert machine.in_force()


def test_rules_that_the_kernel_refuses_change_nothing(machine: Machine) -> None:
    head, link, loaded = machine.store.head().number, machine.paths.engine.current.readlink(), machine.kernel.digest()
    assert isinstance(machine.service.desired, Broken)
    machine.service.desired.broken = True
    with pytest.raises(ApplyError, match="refuses the firewall's rules") as caught:
        machine.commit(machine.office(machine.admin.address))
    assert not isinstance(caught.value, RevertedError)  # found out before anything was written
    machine.service.desired.broken = False
    assert (machine.store.head().number, machine.paths.engine.current.readlink()) == (head, link)
    assert machine.kernel.digest() == loaded
    machine.commit(machine.office(machine.admin.address))
    assert machine.admin_gets_in()


def test_a_kernel_that_refuses_holds_up_nothing_but_the_firewall(machine: Machine) -> None:
    """The applier starts, and commits what has to do with the engine only."""
    service = make(machine.paths, machine.settings, machine.store)
    service.applier = dataclasses.replace(service.applier, firewall=Kernel("no-such-namespace"))
    service.converge()
    assert service.state()["revision"] == machine.store.head().number
    with pytest.raises(ApplyError, match="refuses the firewall"):
        service.enforce()
    told = service.state()["firewall"]
    assert (told["revision"], told["checked"]) == (None, None)
    assert "refuses the firewall's rules" in told["trouble"]


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_rules_that_somebody_took_away_come_back(machine: Machine, how: str) -> None:
    if how == "deleted":
        machine.pbx.run(["nft", "delete", "table", "inet", "centralino"])
    else:
        other = (machine.paths.engine.current / FIREWALL).read_text().replace("dport 22", "dport 23")
        machine.kernel.load(other.replace(f"digest-{digest_in(other)}", "digest-" + "0" * 32))
    assert not machine.in_force()
    assert [each.grade for each in examined(machine)] == [Grade.FAULT]
    Upkeep(machine.service).tend()
    assert machine.in_force()
    assert [each.grade for each in examined(machine)] == [Grade.OK]


def test_the_kernels_settings_come_with_the_rules_and_come_back(machine: Machine) -> None:
    """What each new interface would bring, and what somebody changes by hand; another namespace keeps its own."""
    redirects = "net.ipv4.conf.eth0.accept_redirects"
    assert "accept_redirects = 0" in (machine.paths.engine.current / TUNING).read_text()
    assert machine.sysctl(redirects) == "0"
    assert machine.admin.run(["sysctl", "-n", redirects]).stdout.strip() == "1"
    machine.pbx.run(["sysctl", "-qw", f"{redirects}=1", "net.ipv4.ip_forward=1"])
    assert [each.grade for each in examined(machine, check_tuning)] == [Grade.WARNING]
    Upkeep(machine.service).tend()
    assert (machine.sysctl(redirects), machine.sysctl("net.ipv4.ip_forward")) == ("0", "0")
    assert [each.grade for each in examined(machine, check_tuning)] == [Grade.OK]
    machine.pbx.run(["ip", "link", "add", "late0.7", "type", "veth", "peer", "name", "late1"])
    assert machine.sysctl("net.ipv4.conf.late1.accept_redirects") == "0"
    assert machine.sysctl("net.ipv4.conf.late0/7.rp_filter") == "2"


def test_the_committed_rules_are_loaded_with_every_daemon_dead(machine: Machine) -> None:
    """By the command, as at boot, before any interface is up; without a configuration the machine is closed but for who sets it up."""
    machine.commit(machine.office(machine.admin.address))
    machine.kernel.unload()
    command = [sys.executable, "-m", "appliance.cli", "firewall"]
    env = {**os.environ, "CENTRALINO_STATE": str(machine.paths.state), "CENTRALINO_FIREWALL": "on"}
    machine.pbx.run(["ip", "link", "set", "eth0", "down"])  # they wait for no interface
    assert machine.pbx.start([*command, "load"], machine.paths.state / "load.log", env=env).wait(20) == 0
    assert machine.in_force()
    machine.pbx.run(["ip", "link", "set", "eth0", "up"])
    assert machine.admin_gets_in()
    assert machine.pbx.start([*command, "status"], machine.paths.state / "load.log", env=env).wait(20) == 0
    fresh = env | {"CENTRALINO_STATE": str(machine.paths.state / "fresh")}
    assert machine.pbx.start([*command, "load"], machine.paths.state / "load.log", env=fresh).wait(20) == 0
    assert machine.kernel.digest() is not None
    assert not machine.admin_gets_in()
    private = "10.20.30.40"
    machine.admin.run(["ip", "address", "add", f"{private}/32", "dev", "eth0"])
    machine.pbx.run(["ip", "route", "add", f"{private}/32", "dev", "eth0"])
    knock(machine.admin, private, machine.pbx.address, range(20, 25))
    eventually(lambda: machine.arrivals.of(private) == {SSH}, "SSH and nothing else")


def examined(machine: Machine, check: Callable[[Paths], Iterator[Finding]] = firewall) -> list[Finding]:
    """What the doctor finds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CENTRALINO_FIREWALL", "on")
        patch.setenv("CENTRALINO_ENGINE_NETNS", machine.pbx.namespace)
        return list(check(machine.paths))


@pytest.mark.parametrize("moment", ["switched", "loaded the firewall's rules", "promoted"])
def test_killed_around_the_load_the_next_start_has_the_committed_rules(machine: Machine, moment: str) -> None:
    """The applier dies with new rules on the disk, in the kernel, or committed; those of the committed revision are in force."""
    put = machine.office(machine.admin.address)
    child = (
        "from appliance.applier.__main__ import make; from appliance.applier.link import Settings;"
        "from appliance.applier.options import Options; from appliance.paths import Paths; from appliance.store import Store;"
        "from appliance.firewall.model import Network;"
        "p = Paths.default(); s = Store.default(p).__enter__();"
        f"v = make(p, Settings(network_namespace={machine.pbx.namespace!r}, firewall=True), s); v.converge();"
        f"n = s.propose([Network.model_validate_json({put.model_dump_json()!r})], (), base=s.head().number, author='a', message='m');"
        "v.apply(n.number, Options(offline=True))"
    )
    env = {**os.environ, "CENTRALINO_STATE": str(machine.paths.state), "CENTRALINO_CRASH_AT": moment}
    done = subprocess.run(
        [sys.executable, "-c", child], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == -9, done.stderr
    service = make(machine.paths, machine.settings, machine.store)
    service.converge()
    assert machine.in_force()
    assert machine.admin_gets_in() is (moment == "promoted")
