"""The appliance with its document in PostgreSQL: commits through the applier, and the command, as with SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.pbx.extensions.model import Extension
from appliance.store import State
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.command import As, Command
from tests.hil.postgres import postgres
from tests.hil.system import System, office


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    require_root()
    with postgres() as server, Network() as net, pytest.MonkeyPatch.context() as patch:
        patch.setenv("CENTRALINO_STORE_URL", server.database("appliance"))
        host = net.host("pbx")
        rows = [
            (kind, {key: value for key, value in data.items() if key != "emergency_number"})
            for kind, data in office(host.address, 2)
        ]
        with System(host, Path(tmp_path_factory.mktemp("appliance")), rows) as made:
            eventually(lambda: made.client.state()["verified"], "the engine holds what is committed", 30)
            yield made


@pytest.fixture
def run(system: System, tmp_path: Path) -> Iterator[As]:
    with Command(system.host, system.environment, tmp_path) as command:
        yield As(command)


def served(system: System) -> str:
    with system.ami() as ami:
        return ami.getvar("AST_CONFIG(tables/names.conf,01,201)")


def test_a_change_goes_all_the_way(system: System, run: As) -> None:
    assert not system.paths.document_db.exists(), "it is in SQLite after all"
    before = system.client.state()["revision"]
    run("extension", "set", "ext-201", "label=Reception")
    answer = run.json("commit", "-m", "A name")
    assert (answer["revision"], answer["state"], answer["verified"]) == (before + 1, "committed", True)
    assert served(system) == "Reception"
    assert run.json("history", "--limit", "1")[0]["message"] == "A name"
    run("rollback", str(before))
    assert served(system) == "Desk 201"
    assert system.client.check() == []


def test_an_edit_that_became_stale_is_refused(system: System, run: As) -> None:
    other = As(run.command, "other")
    run("extension", "set", "ext-202", "label=Mine")
    other("extension", "set", "ext-202", "label=Theirs")
    other("commit")
    assert "extension/ext-202/label" in run.refused("commit")
    run("discard")
    with system.store() as store:
        assert store.document().get(Extension, "ext-202").label == "Theirs"


def test_killed_while_it_commits_it_converges(system: System) -> None:
    label, revisions = served(system), []
    for checkpoint, committed in (("read back", False), ("promoted", True)):
        system.applier.stop()
        killed = system.start_applier(CENTRALINO_CRASH_AT=checkpoint)
        with system.store() as store:
            item = store.document().get(Extension, "ext-201").model_copy(update={"label": f"At {checkpoint}"})
            revisions.append(store.propose([item], (), base=store.head().number, author="test").number)
        with pytest.raises(Exception, match="applier"):
            system.client.apply(revisions[-1])
        assert killed.wait(10) in {-9, 137}
        system.start_applier()
        eventually(lambda: system.client.state()["verified"], "the engine holds what is committed", 30)
        with system.store() as store:
            assert store.revision(revisions[-1]).state is (State.COMMITTED if committed else State.FAILED)
        assert served(system) == (f"At {checkpoint}" if committed else label)
