"""Commits that the engine, the disk or the store refuses, and what may happen while one is under way: all is undone."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.applier import link as links
from appliance.applier.options import Options, quiet
from appliance.applier.readback import MANY
from appliance.core.asterisk import Section
from appliance.core.errors import ApplyError, UnavailableError
from appliance.core.model import Object
from appliance.pbx.numbers.model import NumberPlan, NumberRange
from appliance.store import State
from tests.hil.agents.network import Network, require_root
from tests.hil.agents.process import eventually
from tests.hil.applied_office import Office, of_device, office_, running_office, shared, without_option

__all__ = ["office_", "shared"]


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


def test_one_wrong_object_among_hundreds_is_found(office_: Office) -> None:
    """So many are asked for by the engine's whole list of them. What the engine reads is changed under its hands."""
    base = office_.store.head().number
    plan = office_.store.document().get(NumberPlan, "plan")
    wide = plan.model_copy(update={"ranges": (NumberRange(first="201", last="499"),)})
    template, device = office_.extension(), office_.device()
    put: list[Object] = [wide]
    for number in range(260, 260 + MANY):
        id = f"ext-{number}"
        put.append(template.model_copy(update={"id": id, "number": str(number), "label": None}))
        put.append(device.model_copy(update={"id": f"{number}-1", "extension": id}))
    file = office_.system.paths.engine.current / "pjsip.conf"

    def change(option: str) -> Callable[[], None]:
        def act() -> None:
            text = file.read_text()
            start = text.index(f"{option}=", text.index("[333-1]"))
            place = start + len(option) + 1
            file.write_text(text[:place] + WRONG[option] + text[text.index("\n", place) :])

        return act

    for option, told in (("max_contacts", "aor 333-1: max_contacts should be '1' and is '7'"),
                         ("password_digest", "auth 333-1: password_digest isn't what was written")):  # fmt: skip
        number = office_.propose(*put)
        with office_.untouched(), pytest.raises(ApplyError, match=re.escape(told)) as caught:
            office_.service.apply(number, Options(), at("reloading res_pjsip", change(option)))
        assert "more)" not in str(caught.value), "others were taken for wrong"
    office_.commit(*put)
    assert office_.service.check() == []
    office_.service.rollback(base, "test", "", Options())


WRONG = {"max_contacts": "7", "password_digest": "MD5:0123456789abcdef0123456789abcdef"}


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
