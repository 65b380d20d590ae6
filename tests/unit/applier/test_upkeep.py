"""What is due now and then: a window that closes, a time that has come; and that one failure holds up nothing else."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.applier import admission
from appliance.applier.confirm import Pending
from appliance.applier.journal import now
from appliance.applier.options import Options
from appliance.applier.service import Service
from appliance.applier.sockets import Doors, Place
from appliance.applier.upkeep import Upkeep
from appliance.core.errors import ApplyError, InvalidError, NotFoundError, UnavailableError
from appliance.core.model import Object
from appliance.organisation.model import Company
from appliance.store import State, Store

OFFLINE = Options(offline=True)
COMPANY = Company(id="demo", name="Demo Srl")
CHANGED = COMPANY.model_copy(update={"name": "Changed"})
ELSEWHERE = Company(id="second", name="Second")


def propose(store: Store, *put: Object) -> int:
    return store.propose(put, (), base=store.head().number, author="test").number


@pytest.fixture
def late(service: Service, store: Store) -> int:
    """A revision whose time to be confirmed is over."""
    service.apply(propose(store, COMPANY), OFFLINE)
    number = int(service.apply(propose(store, CHANGED), Options(offline=True, confirm_s=60))["revision"])
    service.journal.update(confirm=Pending(number, number - 1, 0.0, now()))
    return number


def raising(error: Exception) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [UnavailableError("no engine"), KeyError("a mistake of ours")], ids=["ours", "bug"])
def test_a_window_closes_although_looking_after_the_engine_fails(
    service: Service, store: Store, late: int, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(service.collector, "go_on", raising(error))
    with pytest.raises(type(error)):
        Upkeep(service).tend()
    assert store.head().number > late
    assert store.document().get(Company, "demo").name == "Demo Srl"
    assert service.state()["confirm"] is None


def test_going_back_that_fails_is_one_proposal_however_often_it_is_tried(
    service: Service, store: Store, late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    upkeep = Upkeep(service)
    monkeypatch.setattr(service, "_carry_out", raising(ApplyError("the engine didn't take it")))
    for _ in range(3):
        with pytest.raises(ApplyError):
            upkeep.tend()
    assert [(each.number, each.state) for each in store.history(1)] == [(late + 1, State.PROPOSED)]
    monkeypatch.undo()
    upkeep.tend()
    assert (store.head().number, store.document().get(Company, "demo").name) == (late + 1, "Demo Srl")


def test_going_back_waits_for_its_turn_over_a_restart(
    service: Service, store: Store, late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_carry_out", raising(ApplyError("the engine didn't take it")))
    with pytest.raises(ApplyError):
        Upkeep(service).tend()
    service._held = None  # as after a start
    service.converge()
    assert store.revision(late + 1).state is State.PROPOSED


class TestSchedule:
    def due(self, service: Service, store: Store, put: Object = COMPANY, since: timedelta = timedelta()) -> int:
        """A revision that was scheduled and whose time came so long ago."""
        store.stage("test", [put])
        number = store.propose_staged("test").number
        service.schedule.add(number, datetime.now(UTC) + timedelta(hours=1), Options())
        entries = [
            each.model_copy(update={"at": datetime.now(UTC) - since}) for each in service.journal.state.scheduled
        ]
        service.journal.update(scheduled=tuple(entries))
        return number

    def allow_offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = admission.engine_answers
        monkeypatch.setattr(
            admission, "engine_answers", lambda link, options: real(link, dataclasses.replace(options, offline=True))
        )

    def test_it_is_applied_when_it_is_due(
        self, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.allow_offline(monkeypatch)
        number = self.due(service, store)
        Upkeep(service).tend()
        assert store.head().number == number
        assert service.state()["scheduled"] == []

    @pytest.mark.parametrize("error", [UnavailableError("no engine"), KeyError("a mistake")], ids=["ours", "bug"])
    def test_it_is_applied_although_looking_after_the_engine_fails(
        self, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        self.allow_offline(monkeypatch)
        number = self.due(service, store)
        monkeypatch.setattr(service.collector, "go_on", raising(error))
        with pytest.raises(type(error)):
            Upkeep(service).tend()
        assert store.head().number == number

    def test_what_is_scheduled_is_staged_no_more(self, service: Service, store: Store) -> None:
        self.due(service, store)
        assert not store.candidate("test")
        store.stage("test", [ELSEWHERE])
        plain = store.propose_staged("test").number
        service.apply(plain, OFFLINE)
        assert set(store.document().all(Company)) == {"second"}

    def test_a_time_that_has_passed_is_refused_and_its_revision_failed(self, service: Service, store: Store) -> None:
        store.stage("test", [COMPANY])
        number = store.propose_staged("test").number
        with pytest.raises(InvalidError, match="--at: is in the past"):
            service.schedule.add(number, datetime.now(UTC), Options())
        assert store.revision(number).state is State.FAILED
        assert store.candidate("test").put == (COMPANY,), "what was staged is still staged"

    def test_cancelled_it_is_staged_again_but_for_what_was_edited_since(self, service: Service, store: Store) -> None:
        store.stage("test", [COMPANY, ELSEWHERE])
        number = store.propose_staged("test").number
        service.schedule.add(number, datetime.now(UTC) + timedelta(hours=1), Options())
        store.stage("test", [CHANGED])
        assert service.schedule.cancel(number) == {"revision": number, "state": "cancelled"}
        assert set(store.candidate("test").put) == {CHANGED, ELSEWHERE}
        assert (store.revision(number).state, service.state()["scheduled"]) == (State.FAILED, [])
        with pytest.raises(NotFoundError):
            service.schedule.cancel(number)

    def test_one_that_the_engine_keeps_from_being_applied_is_tried_again_for_an_hour(
        self, service: Service, store: Store
    ) -> None:
        number = self.due(service, store)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                Upkeep(service).tend()
            assert store.revision(number).state is State.PROPOSED
            assert service.state()["last_error"]["revision"] == number
        [entry] = service.journal.state.scheduled
        service.journal.update(scheduled=(entry.model_copy(update={"at": entry.at - timedelta(hours=2)}),))
        Upkeep(service).tend()
        assert "within an hour" in store.revision(number).reason
        assert store.candidate("test").put == (COMPANY,)

    def test_one_that_meets_a_confirm_window_is_applied_after_it(
        self, service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.allow_offline(monkeypatch)
        service.apply(propose(store, COMPANY), Options(offline=True, confirm_s=60))
        number = self.due(service, store, ELSEWHERE)
        upkeep = Upkeep(service)
        upkeep.tend()
        assert store.revision(number).state is State.PROPOSED
        service.confirm()
        upkeep.tend()
        assert store.head().number == number

    def test_one_that_became_stale_is_given_up_and_told(self, service: Service, store: Store) -> None:
        service.apply(propose(store, COMPANY), OFFLINE)
        number = self.due(service, store, CHANGED)
        service.apply(propose(store, COMPANY.model_copy(update={"name": "Faster"})), OFFLINE)
        Upkeep(service).tend()
        assert store.revision(number).state is State.FAILED
        assert service.state()["last_error"]["error_id"] == "conflict"

    def test_one_that_got_another_number_goes_on_under_it(self, service: Service, store: Store) -> None:
        number = self.due(service, store)
        service.apply(propose(store, ELSEWHERE), OFFLINE)
        with pytest.raises(UnavailableError):
            Upkeep(service).tend()
        assert [each["revision"] for each in service.state()["scheduled"]] == [number + 2]
        assert store.revision(number + 2).state is State.PROPOSED

    def test_a_rollback_can_be_scheduled_and_cancelled_and_leaves_nothing_staged(
        self, service: Service, store: Store
    ) -> None:
        first = service.apply(propose(store, COMPANY), OFFLINE)["revision"]
        service.apply(propose(store, CHANGED), OFFLINE)
        at = datetime.now(UTC) + timedelta(hours=1)
        answer = service.rollback_later(first, "test", "", at, Options())
        assert answer["state"] == "scheduled"
        service.schedule.cancel(answer["revision"])
        assert not store.candidate("test")


class Deaf:
    """An engine that listens somewhere that no listener says, whatever is done; it has taken everything else."""

    def __init__(self) -> None:
        self.run, self.answers, self.idle, self.restarts = (1, 1), True, True, 0

    def doors(self, _: object) -> Doors:
        return Doors({}, (Place("tcp", "192.0.2.1", 5099),))

    def hindrances(self, _: object) -> dict[Place, str]:
        return {}

    def restart(self) -> None:
        self.restarts += 1
        self.run = (1, self.run[1] + 1)


def test_a_restart_that_mends_nothing_is_not_tried_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, upkeep = Deaf(), Upkeep(service)
    for name in ("run", "answers", "idle"):
        monkeypatch.setattr(type(service.applier.link), name, property(lambda _, name=name: getattr(engine, name)))
    for name in ("doors", "hindrances", "restart"):
        monkeypatch.setattr(service.applier.link, name, getattr(engine, name))
    monkeypatch.setattr(type(service.applier), "verify", lambda *_, **__: [])
    engine.idle = False
    upkeep.tend()
    assert engine.restarts == 0, "a call would have been dropped"
    assert "5099" in service.state()["last_error"]["message"]
    engine.idle = True
    for _ in range(3):
        upkeep._ask_again = 0
        upkeep.tend()
    assert engine.restarts == 1
    assert service.state()["verified"] is False
