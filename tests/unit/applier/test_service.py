"""The operations without an engine: what is refused, what is written for its next start, what survives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.applier.__main__ import make, only_one
from appliance.applier.confirm import Pending
from appliance.applier.journal import Journal, Transaction, now
from appliance.applier.link import Settings
from appliance.applier.options import Options
from appliance.applier.service import Service
from appliance.applier.upkeep import Upkeep
from appliance.core.errors import (
    CentralinoError,
    ConflictError,
    CorruptError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from appliance.core.model import Object
from appliance.organisation.model import Company, Site
from appliance.paths import Paths
from appliance.store import State, Store
from tests.unit.applier.conftest import NOBODY_LISTENS

OFFLINE = Options(offline=True)
COMPANY = Company(id="demo", name="Demo Srl")


def propose(store: Store, *put: Object, base: int | None = None) -> int:
    return store.propose(
        put, (), base=store.head().number if base is None else base, author="test", message="test"
    ).number


def again(paths: Paths, store: Store) -> Service:
    """The applier, started anew."""
    made = make(paths, Settings(port=NOBODY_LISTENS), store)
    made.converge()
    return made


def test_without_an_engine_a_commit_is_refused_and_says_what_to_do(service: Service, store: Store) -> None:
    number = propose(store, COMPANY)
    with pytest.raises(UnavailableError, match="nothing was changed") as caught:
        service.apply(number, Options())
    assert "--offline" in caught.value.hint
    assert store.revision(number).state is State.FAILED
    assert store.head().number == 0
    assert service.state()["last_error"]["revision"] == number


def test_offline_the_files_are_written_and_wait_for_the_engine(service: Service, store: Store, paths: Paths) -> None:
    done = service.apply(propose(store, COMPANY), OFFLINE)
    assert done["state"] == "committed"
    assert done["verified"] is False
    assert store.head().number == done["revision"]
    assert (paths.engine.current / "pjsip.conf").is_file()
    state = service.state()
    assert (state["revision"], state["verified"], state["last_error"]) == (done["revision"], False, None)


def test_faults_are_told_all_at_once_and_nothing_changes(service: Service, store: Store, paths: Paths) -> None:
    before = paths.engine.current.readlink()
    sites = [Site(id=f"s{index}", name="Site", company="nowhere") for index in range(3)]
    number = propose(store, *sites)
    with pytest.raises(InvalidError) as caught:
        service.apply(number, OFFLINE)
    assert {fault.path.split("/")[1] for fault in caught.value.faults} >= {"s0", "s1", "s2"}
    assert (store.revision(number).state, paths.engine.current.readlink()) == (State.FAILED, before)
    with pytest.raises(InvalidError):
        service.plan(number)
    assert len(service.faults(number)) >= 3


def test_a_revision_that_does_not_exist_is_not_found(service: Service) -> None:
    with pytest.raises(NotFoundError):
        service.apply(99, OFFLINE)
    with pytest.raises(NotFoundError):
        service.plan(99)


def test_stale_edits_conflict_and_others_merge(service: Service, store: Store) -> None:
    first = propose(store, COMPANY)
    service.apply(first, OFFLINE)
    one = propose(store, COMPANY.model_copy(update={"name": "One"}))
    other = propose(store, COMPANY.model_copy(update={"name": "Other"}))
    unrelated = propose(store, Company(id="second", name="Second"))
    service.apply(one, OFFLINE)
    with pytest.raises(ConflictError):
        service.apply(other, OFFLINE)
    service.apply(unrelated, OFFLINE)
    assert {company.name for company in store.document().all(Company).values()} == {"One", "Second"}


def test_rolling_back_is_a_new_revision_with_the_old_content(service: Service, store: Store) -> None:
    first = service.apply(propose(store, COMPANY), OFFLINE)["revision"]
    service.apply(propose(store, COMPANY.model_copy(update={"name": "Changed"})), OFFLINE)
    back = service.rollback(first, "test", "", OFFLINE)["revision"]
    assert back == store.head().number
    assert store.document().get(Company, "demo").name == "Demo Srl"


class TestConfirm:
    def commit(self, service: Service, store: Store, seconds: float) -> int:
        self.first = service.apply(propose(store, COMPANY), OFFLINE)["revision"]
        changed = propose(store, COMPANY.model_copy(update={"name": "Changed"}))
        done = service.apply(changed, Options(offline=True, confirm_s=seconds))
        assert 0 <= done["confirm_left_s"] <= seconds
        return int(done["revision"])

    def test_confirmed_it_stays(self, service: Service, store: Store) -> None:
        number = self.commit(service, store, 60)
        assert service.state()["confirm"]["revision"] == number
        assert service.confirm() == {"revision": number, "state": "confirmed"}
        Upkeep(service).tend()
        assert store.head().number == number
        with pytest.raises(RefusedError):
            service.confirm()

    def test_unconfirmed_it_goes_back(self, service: Service, store: Store) -> None:
        number = self.commit(service, store, 0.01)
        while service.state()["confirm"]["left_s"] > 0:
            pass
        with pytest.raises(RefusedError, match="time to confirm is over"):
            service.confirm()
        Upkeep(service).tend()
        assert store.head().number > number
        assert store.document().get(Company, "demo").name == "Demo Srl"
        assert "not confirmed" in store.head().message
        assert service.state()["confirm"] is None

    def test_the_window_goes_on_over_a_restart(self, service: Service, store: Store, paths: Paths) -> None:
        number = self.commit(service, store, 60)
        service.journal.update(confirm=Pending(number, self.first, 0.0, now()))  # it ran out while nobody was there
        restarted = again(paths, store)
        assert restarted.state()["confirm"]["revision"] == number
        Upkeep(restarted).tend()
        assert store.document().get(Company, "demo").name == "Demo Srl"

    def test_nothing_else_is_committed_meanwhile(self, service: Service, store: Store) -> None:
        self.commit(service, store, 60)
        with pytest.raises(RefusedError) as caught:
            service.apply(propose(store, Company(id="second", name="Second")), OFFLINE)
        assert caught.value.error_id == "confirm_pending"

    def test_a_window_of_a_revision_that_never_came_is_forgotten(
        self, service: Service, store: Store, paths: Paths
    ) -> None:
        service.journal.update(confirm=Pending(99, 0, 0.0, now()))
        assert again(paths, store).state()["confirm"] is None


def test_a_revision_under_way_when_the_applier_ended_is_failed_at_the_next_start(
    service: Service, store: Store, paths: Paths
) -> None:
    number = propose(store, COMPANY)
    service.journal.update(transaction=Transaction(revision=number, from_generation=1))
    restarted = again(paths, store)
    assert store.revision(number).state is State.FAILED
    assert restarted.state()["applying"] is None
    assert restarted.state()["verified"] is False


def test_a_proposal_that_nobody_waits_for_any_more_is_failed_at_the_next_start_but_not_a_scheduled_one(
    service: Service, store: Store, paths: Paths
) -> None:
    scheduled, forgotten = propose(store, COMPANY), propose(store, COMPANY.model_copy(update={"name": "Other"}))
    service.schedule.add(scheduled, datetime.now(UTC) + timedelta(hours=1), Options())
    again(paths, store)
    assert store.revision(forgotten).state is State.FAILED
    assert store.revision(scheduled).state is State.PROPOSED


def test_a_garbage_journal_harms_nothing(service: Service, store: Store, paths: Paths) -> None:
    number = service.apply(propose(store, COMPANY), OFFLINE)["revision"]
    before = paths.engine.current.readlink()
    paths.applier_state.write_bytes(b"\x00garbage")
    restarted = again(paths, store)
    assert (restarted.state()["revision"], paths.engine.current.readlink()) == (number, before)


@pytest.mark.parametrize("damage", ["changed", "removed", "no link", "nothing at all"])
def test_files_that_somebody_touched_are_made_again(service: Service, store: Store, paths: Paths, damage: str) -> None:
    service.apply(propose(store, COMPANY), OFFLINE)
    text = (paths.engine.current / "pjsip.conf").read_text()
    target = paths.engine.current.resolve()
    if damage == "changed":
        (target / "pjsip.conf").write_text("[mine]\n")
    elif damage == "removed":
        (target / "pjsip.conf").unlink()
    elif damage == "no link":
        paths.engine.current.unlink()
    else:
        for file in sorted(paths.engine.config.rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() and not file.is_symlink() else file.unlink()
    restarted = again(paths, store)
    assert (paths.engine.current / "pjsip.conf").read_text() == text
    assert restarted.state()["verified"] is False


def test_scheduled_revisions_survive_a_restart_and_wait_for_their_time(
    service: Service, store: Store, paths: Paths
) -> None:
    number = propose(store, COMPANY)
    at = datetime.now(UTC) + timedelta(hours=1)
    assert service.schedule.add(number, at, Options())["state"] == "scheduled"
    restarted = again(paths, store)
    assert [each["revision"] for each in restarted.state()["scheduled"]] == [number]
    Upkeep(restarted).tend()
    assert store.revision(number).state is State.PROPOSED
    assert restarted.state()["last_error"] is None


def test_a_faulty_revision_is_not_scheduled(service: Service, store: Store) -> None:
    number = propose(store, Site(id="s", name="Site", company="nowhere"))
    with pytest.raises(InvalidError):
        service.schedule.add(number, datetime.now(UTC) + timedelta(hours=1), Options())
    assert store.revision(number).state is State.FAILED


def test_a_second_applier_is_refused(paths: Paths) -> None:
    only_one(paths)
    with pytest.raises(RefusedError) as caught:
        only_one(paths)
    assert caught.value.error_id == "already_running"


def test_before_it_has_converged_it_says_that_it_is_starting(paths: Paths, store: Store) -> None:
    made = make(paths, Settings(port=NOBODY_LISTENS), store)
    with pytest.raises(UnavailableError) as caught:
        made.state()
    assert caught.value.error_id == "starting"


def test_an_engine_that_was_never_prepared_is_told(paths: Paths, store: Store) -> None:
    paths.engine.ami_secret.unlink()
    with pytest.raises(UnavailableError) as caught:
        make(paths, Settings(port=NOBODY_LISTENS), store).converge()
    assert caught.value.error_id == "engine_absent"


def test_the_token_of_the_installation_is_made_once_and_kept_private(paths: Paths, service: Service) -> None:
    file: Path = paths.state / "keys" / "transport.token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text()) >= 16
    file.write_text("?")
    with pytest.raises(CorruptError):
        make(paths, Settings(), service.store)


def test_a_mistake_of_ours_in_a_feature_fails_the_revision_and_changes_nothing(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = propose(store, COMPANY)

    def broken(_: object) -> None:
        raise KeyError("feature")

    monkeypatch.setattr(service.desired, "files", broken)
    with pytest.raises(KeyError):
        service.apply(number, OFFLINE)
    assert store.revision(number).state is State.FAILED
    monkeypatch.undo()
    assert service.apply(propose(store, COMPANY), OFFLINE)["state"] == "committed"


def test_two_changes_at_once_wait_for_each_other(service: Service, store: Store) -> None:
    number = propose(store, COMPANY)
    with service.exclusively(), pytest.raises(UnavailableError) as caught, service.exclusively(wait_s=0.01):
        pass
    assert caught.value.error_id == "busy"
    assert isinstance(caught.value, CentralinoError)
    assert service.apply(number, OFFLINE)["state"] == "committed"


def test_a_journal_is_loaded_by_the_next_start(service: Service, paths: Paths) -> None:
    assert Journal.load(paths.applier_state).state == service.journal.state
