"""What becomes of a revision when its way is barred, its answer lost, or it is asked for twice."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from appliance.applier import desired as desired_module
from appliance.applier.__main__ import make
from appliance.applier.link import EngineLink, Settings
from appliance.applier.options import Options
from appliance.applier.service import Service, UnknownOutcomeError
from appliance.applier.upkeep import Upkeep
from appliance.core.errors import ApplyError, RefusedError, UnavailableError
from appliance.core.model import Object
from appliance.organisation.model import Company
from appliance.paths import Paths
from appliance.pbx.media.model import Listener, Transport
from appliance.store import State, Store
from tests.unit.applier.conftest import NOBODY_LISTENS

OFFLINE = Options(offline=True)
COMPANY = Company(id="demo", name="Demo Srl")
CHANGED = COMPANY.model_copy(update={"name": "Changed"})
ELSEWHERE = Company(id="second", name="Second")
LISTENER = Listener(id="udp", name="UDP", transport=Transport.UDP, address="127.0.0.1", port=5060)


def propose(store: Store, *put: Object) -> int:
    return store.propose(put, (), base=store.head().number, author="test").number


def test_a_revision_that_was_committed_earlier_is_not_mixed_into_todays(service: Service, store: Store) -> None:
    old = propose(store, COMPANY)
    service.apply(old, OFFLINE)
    service.apply(propose(store, CHANGED, ELSEWHERE), OFFLINE)
    before = store.head()
    for ask in (lambda: service.apply(old, OFFLINE), lambda: service.plan(old), lambda: service.faults(old)):
        with pytest.raises(RefusedError) as caught:
            ask()
        assert caught.value.hint.startswith(f"centralino rollback {old}")
    assert (store.head(), store.document().get(Company, "demo").name) == (before, "Changed")
    assert store.revision(old).state is State.COMMITTED


def test_the_revision_in_force_is_in_force_already(service: Service, store: Store) -> None:
    number = propose(store, COMPANY)
    service.apply(number, OFFLINE)
    answer = service.apply(number, OFFLINE)
    assert (answer["revision"], answer["state"]) == (number, "in_force")
    assert store.head().number == number


def test_a_proposal_that_the_head_holds_by_now_is_in_force(service: Service, store: Store) -> None:
    twin = propose(store, COMPANY)
    head = service.apply(propose(store, COMPANY), OFFLINE)["revision"]
    assert service.apply(twin, OFFLINE)["revision"] == head
    assert store.revision(twin).state is State.SUPERSEDED


def test_a_busy_applier_leaves_no_open_proposal(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = propose(store, COMPANY)
    monkeypatch.setattr("appliance.applier.service.BUSY_S", 0.01)
    with service.exclusively(), pytest.raises(UnavailableError) as caught:
        service.apply(number, OFFLINE)
    assert caught.value.error_id == "busy"
    assert store.revision(number).state is State.FAILED


class Silent:
    """A store whose database goes away at the commit point, before or after the commit."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch, *, commits: bool) -> None:
        self.real, self.monkeypatch, self.commits = store.promote, monkeypatch, commits
        monkeypatch.setattr(store, "promote", self.promote)
        self.store = store

    def promote(self, number: int) -> Any:
        if self.commits:
            self.real(number)
        self.monkeypatch.setattr(self.store, "revision", self.gone)
        self.gone()

    def gone(self, *_: object) -> Any:
        raise UnavailableError("the database is away", error_id="database_unavailable")


@pytest.mark.parametrize("commits", [True, False], ids=["committed", "not-committed"])
def test_a_commit_whose_answer_is_lost_is_settled_when_the_store_answers_again(
    service: Service, store: Store, paths: Paths, commits: bool
) -> None:
    service.apply(propose(store, COMPANY), OFFLINE)
    number = propose(store, LISTENER)
    with pytest.MonkeyPatch.context() as monkeypatch:
        Silent(store, monkeypatch, commits=commits)
        with pytest.raises(UnknownOutcomeError):
            service.apply(number, OFFLINE)
    assert service.journal.state.transaction is not None
    Upkeep(service).tend()
    assert service.journal.state.transaction is None
    assert store.revision(number).state is (State.COMMITTED if commits else State.FAILED)
    assert service.state()["revision"] == store.head().number
    known = make(paths, Settings(port=NOBODY_LISTENS), store)
    before = paths.engine.current.readlink()
    known.converge()
    assert paths.engine.current.readlink() == before, "files and store were apart"


def test_a_revision_that_somebody_else_committed_is_followed(service: Service, store: Store) -> None:
    number = propose(store, COMPANY)
    store.promote(number)
    Upkeep(service).tend()
    assert service.state()["revision"] == number


def test_a_window_that_is_open_stays_when_a_rollback_with_a_window_of_its_own_fails(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = service.apply(propose(store, COMPANY), OFFLINE)["revision"]
    second = service.apply(propose(store, CHANGED), Options(offline=True, confirm_s=60))["revision"]

    seen = []

    def refuse(_: int) -> None:
        seen.append(service.journal.state.confirm)
        raise UnavailableError("the database is busy", error_id="database_busy")

    monkeypatch.setattr(store, "promote", refuse)
    with pytest.raises(ApplyError):
        service.rollback(first, "test", "", Options(offline=True, confirm_s=30))
    assert [each.revision for each in seen if each] == [second], "the open window was overwritten"
    assert service.state()["confirm"]["revision"] == second
    monkeypatch.undo()
    third = service.rollback(first, "test", "", Options(offline=True, confirm_s=30))["revision"]
    assert service.state()["confirm"]["revision"] == third


def test_a_transaction_is_not_forgotten_while_the_former_files_could_not_be_put_back(
    service: Service, store: Store, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.apply(propose(store, COMPANY), OFFLINE)
    before = paths.engine.current.readlink()
    generations = service.applier.generations
    real, calls = generations.switch, []

    def switch(generation: Any) -> None:
        calls.append(generation)
        if len(calls) > 1:
            raise UnavailableError("can't write the link", error_id="storage")
        real(generation)

    def refuse(_: int) -> None:
        raise UnavailableError("the database is busy", error_id="database_busy")

    monkeypatch.setattr(store, "promote", refuse)
    monkeypatch.setattr(generations, "switch", switch)
    with pytest.raises(UnavailableError):
        service.apply(propose(store, LISTENER), OFFLINE)
    assert service.journal.state.transaction is not None
    assert service.state()["verified"] is False
    assert paths.engine.current.readlink() != before
    monkeypatch.undo()
    Upkeep(service).tend()
    assert paths.engine.current.readlink() == before


def test_files_are_made_for_one_document_at_a_time(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features keep what they made in their modules."""
    inside, most = [0], [0]
    entered, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> dict[str, Any]:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        entered.set()
        go_on.wait(0.5)
        inside[0] -= 1
        return {}

    monkeypatch.setattr(desired_module, "desired", slow)
    document = service.current.document
    threads = [threading.Thread(target=service.desired.files, args=(document,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    for thread in threads:
        thread.join(10)
    assert most == [1]


def test_a_restart_is_over_when_another_run_of_the_engine_answers(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one may answer for a while after it was told to restart."""
    runs = iter([(1, 1), (1, 1), (1, 1), None, (2, 2), (2, 2)])
    asked: list[object] = []

    class Link(EngineLink):
        @property
        def run(self) -> Any:
            asked.append(found := next(runs))
            return found

        @property
        def answers(self) -> bool:
            return True

    Link(service.applier.link._paths, Settings(port=NOBODY_LISTENS)).restart()
    assert asked[-1] == (2, 2)
