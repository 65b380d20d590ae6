"""kill -9 of the applier between every pair of steps: the old or the new configuration is whole, the next start
converges to the committed one, and no revision is lost."""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import pytest

from appliance.core.errors import UnavailableError
from appliance.pbx.extensions.model import Device, Extension
from appliance.pbx.media.model import Listener, Transport
from appliance.pbx.numbers.model import ServiceCode
from appliance.store import State
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import Child, eventually
from tests.hil.prepared import Prepared
from tests.hil.system import System, office

Snapshot = dict[str, bytes]
PROMOTED = "promoted"


def config(system: System) -> Snapshot:
    """Every file of the configuration in force."""
    top = system.paths.engine.current.resolve()
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in top.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


class PreparedSystem(System):
    """Its daemons have their imports done before they are needed: a hundred appliers are started here."""

    _prepared: Prepared | None = None

    def _start_python(self, module: str, **environment: str) -> Child:
        log = self.paths.state / f"{module}.log"
        if self._prepared is None:
            argv = [sys.executable, "-m", "tests.hil.prepared", module]
            top = Path(__file__).parents[2]
            self._prepared = Prepared(self.host.start(argv, log, env=self.environment, cwd=top, pipes=True))
        return self._prepared.start(log, environment)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if self._prepared is not None:
            self._prepared.child.stop()


@dataclass
class Victim:
    """A running system, and a change that touches every kind of file and deletes an extension."""

    system: System
    base: int = 0
    before: Snapshot = field(default_factory=dict)
    after: Snapshot = field(default_factory=dict)

    def propose(self) -> int:
        with self.system.store() as store:
            document = store.document()
            put = [
                document.get(Device, "201-1").model_copy(update={"language": "en"}),
                document.get(Extension, "ext-201").model_copy(update={"label": "Renamed"}),
                document.get(ServiceCode, "echo").model_copy(update={"code": "*44"}),
            ]
            remove = [("device", "204-1"), ("extension", "ext-204")]
            return store.propose(put, remove, base=store.head().number, author="test", message="change").number

    def prepare(self) -> None:
        """Learn what the files are before and after the change."""
        self.verified()
        with self.system.store() as store:
            self.base = store.head().number
        self.before = config(self.system)
        self.system.client.apply(self.propose())
        self.after = config(self.system)
        assert self.before != self.after
        self.restore()

    def restore(self) -> None:
        """Go back to where we began, whatever is committed."""
        with self.system.store() as store:
            at_base = store.diff(self.base, store.head().number) == ()
        if not at_base:
            self.system.client.rollback(self.base, author="test")
        with self.system.ami() as ami:
            ami.action("DBPut", {"Family": "dnd", "Key": "ext-204", "Val": "1"})
        assert config(self.system) == self.before

    def verified(self) -> None:
        eventually(lambda: self.system.client.state()["verified"], "the engine holds what is committed", 30)

    def dnd_kept(self) -> bool:
        with self.system.ami() as ami:
            return "Value: 1" in ami.command("database get dnd ext-204")

    def kill_at(self, checkpoint: str, propose: Callable[[], int] | None = None, **options: object) -> int:
        """Have the applier kill itself there; the number of the revision that it was applying."""
        self.system.applier.stop()
        killed = self.system.start_applier(CENTRALINO_CRASH_AT=checkpoint)
        self.verified()
        number = (propose or self.propose)()
        with pytest.raises(UnavailableError):
            self.system.client.apply(number, **options)  # type: ignore[arg-type]
        assert killed.wait(10) in {-9, 137}, killed.text()
        return number

    def dnd_on_disk(self) -> bool:
        """The same, as an engine that starts now would find it: the engine writes a change down a second after it."""
        database = f"file:{self.system.paths.engine.lib}/astdb.sqlite3?mode=ro"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as opened:
            return opened.execute("SELECT value FROM astdb WHERE key = '/dnd/ext-204'").fetchall() == [("1",)]

    def restart_engine(self) -> None:
        eventually(lambda: self.dnd_on_disk() == self.dnd_kept(), "runtime values are on disk")
        assert self.system.engine is not None
        self.system.engine.kill()
        self.system.start_engine()

    def revisions(self) -> list[int]:
        with self.system.store() as store:
            return [each.number for each in store.history(1000)]


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    require_root()
    with Network() as net:
        host = net.host("pbx")
        rows = [
            (kind, {key: value for key, value in data.items() if key != "emergency_number"})
            for kind, data in office(host.address, 4)
        ]
        with PreparedSystem(host, Path(tmp_path_factory.mktemp("victim")), rows) as system:
            made = Victim(system)
            made.prepare()
            yield made


@pytest.mark.slow
@pytest.mark.parametrize("engine_restarts", [False, True], ids=["engine-stays", "engine-restarts"])
def test_killed_between_any_two_steps(victim: Victim, engine_restarts: bool) -> None:
    checkpoints = victim.system.client.plan(victim.propose())["checkpoints"]
    visited = []
    for checkpoint in checkpoints:
        number = victim.kill_at(checkpoint)
        visited.append(checkpoint)
        on_disk = config(victim.system)
        assert on_disk in (victim.before, victim.after), f"{checkpoint}: the configuration is in pieces"
        if engine_restarts:
            victim.restart_engine()
            with victim.system.ami() as ami:
                there = [e.get("ObjectName") for e in ami.list("PJSIPShowEndpoints")]
            assert any(name.startswith("204-1") for name in there) == (on_disk == victim.before), checkpoint
        victim.system.start_applier()
        victim.verified()
        with victim.system.store() as store:
            state, head = store.revision(number).state, store.head().number
        committed = checkpoints.index(checkpoint) >= checkpoints.index(PROMOTED)
        assert state is (State.COMMITTED if committed else State.FAILED), checkpoint
        assert (head == number) == committed, checkpoint
        assert config(victim.system) == (victim.after if committed else victim.before), checkpoint
        assert victim.system.client.check() == [], checkpoint
        eventually(lambda wanted=committed: victim.dnd_kept() != wanted, f"{checkpoint}: runtime values", 10)
        assert victim.revisions() == list(range(max(victim.revisions()), 0, -1)), "a revision was lost"
        victim.restore()
    assert visited == checkpoints
    written = sum(each.startswith("wrote ") for each in visited)
    assert written >= 3
    assert len(visited) == 10 + written + sum(each.startswith("reloaded ") for each in visited) - 1


def propose_listener(victim: Victim, *, there: bool) -> int:
    """A proposal that adds one more listener, or removes it."""
    system = victim.system
    extra = Listener(id="extra", name="Extra", transport=Transport.TCP, address=system.host.address, port=5075)
    with system.store() as store:
        put, remove = ((extra,), ()) if there else ((), (("listener", "extra"),))
        return store.propose(put, remove, base=store.head().number, author="test", message="listener").number


def is_open(victim: Victim) -> bool:
    """Whether somebody answers at the listener's port."""
    try:
        victim.system.host.connect(victim.system.host.address, 5075, 1).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_killed_while_a_listener_is_added_or_removed(victim: Victim) -> None:
    """The engine closes a listener only when it is started anew: adding one that isn't committed must end with that,
    and removing one is a plan with a restart."""
    restart = ("needs_restart",)
    visited = set()
    for there, moments in (
        (True, ("reloaded res_pjsip.so", "read back", PROMOTED)),
        (False, ("switched", "restarted the engine", "read back", PROMOTED)),
    ):
        for checkpoint in moments:
            number = propose_listener(victim, there=there)
            plan = victim.system.client.plan(number)
            assert checkpoint in plan["checkpoints"]
            with victim.system.store() as store:
                store.withdraw(number)  # the applier gives up what it finds open when it starts
            number = victim.kill_at(
                checkpoint, lambda there=there: propose_listener(victim, there=there), allow=restart
            )
            visited.add(checkpoint)
            victim.system.start_applier()
            victim.verified()
            committed = checkpoint == PROMOTED
            with victim.system.store() as store:
                assert store.revision(number).state is (State.COMMITTED if committed else State.FAILED), checkpoint
            wanted = there == committed
            eventually(lambda wanted=wanted: is_open(victim) == wanted, f"{checkpoint}: open is {wanted}", 20)
            eventually(lambda: victim.system.client.check() == [], f"{checkpoint}: everything is as it should be", 20)
    assert visited == {"reloaded res_pjsip.so", "switched", "restarted the engine", "read back", PROMOTED}
    victim.restore()


@pytest.mark.slow
def test_a_confirm_window_survives_a_kill_on_either_side_of_the_commit(victim: Victim) -> None:
    checkpoints = victim.system.client.plan(victim.propose(), confirm=True)["checkpoints"]
    assert checkpoints.index("confirm pending") + 1 == checkpoints.index(PROMOTED)
    victim.kill_at("confirm pending", confirm_s=60)
    victim.system.start_applier()
    victim.verified()
    assert victim.system.client.state()["confirm"] is None
    assert config(victim.system) == victim.before

    number = victim.kill_at(PROMOTED, confirm_s=60)
    victim.system.start_applier()
    victim.verified()
    waiting = victim.system.client.state()["confirm"]
    assert waiting["revision"] == number
    assert 0 < waiting["left_s"] < 60
    assert victim.system.client.confirm()["revision"] == number
    assert config(victim.system) == victim.after
    victim.restore()


@pytest.mark.slow
def test_unconfirmed_while_the_applier_was_dead_it_goes_back_at_the_next_start(victim: Victim) -> None:
    number = victim.kill_at(PROMOTED, confirm_s=0.2)
    victim.system.start_applier()
    eventually(lambda: victim.system.client.state()["revision"] > number, "it goes back", 20)
    victim.verified()
    assert config(victim.system) == victim.before
    victim.restore()
