"""Names are asked for when it is time; what was learned outlives outages, restarts, garbage and a full disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from appliance.core.document import Document, parse
from appliance.core.errors import UnavailableError
from appliance.kinds import KINDS
from appliance.names.answers import Answer, Question, Target
from appliance.names.keeper import Names, known_in, sources_in
from appliance.names.wanted import Wanted, wanted

A, B = "198.51.100.1", "198.51.100.2"
KEY = "sip.example.com:5060"


class World:
    """Time, and what name servers say."""

    def __init__(self, file: Path) -> None:
        self.now, self.file = 1000.0, file
        self.answers: dict[str, Answer] = {}
        self.asked: list[list[str]] = []
        self.broken = False

    def ask(self, questions: Sequence[Question]) -> Mapping[str, Answer]:
        self.asked.append([each.key for each in questions])
        if self.broken:
            raise UnavailableError("the process was killed", error_id="command_timeout")
        return {each.key: self.answers[each.key] for each in questions if each.key in self.answers}

    def names(self) -> Names:
        return Names(self.file, self.ask, lambda: self.now)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "names" / "known.json")


def answer(*addresses: str, ttl: int = 300) -> Answer:
    return Answer(ttl=ttl, targets=tuple(Target(address=each, port=5060) for each in addresses))


def document(*more: tuple[str, dict[str, Any]], **trunk: Any) -> Document:
    rows: list[tuple[str, dict[str, Any]]] = [
        ("provider", {"id": "telco", "name": "Telco"}),
        ("listener", {"id": "lan", "name": "LAN", "transport": "udp", "address": "192.0.2.10"}),
        ("trunk", {"id": "one", "name": "One", "provider": "telco", "host": "SIP.example.com", "auth": {"type": "address"}, **trunk}),
        *more,
    ]  # fmt: skip
    return Document.of(parse(KINDS, kind, fields) for kind, fields in rows)


def test_a_document_asks_for_its_trunks_names_and_believes_none_of_its_own_addresses() -> None:
    made = wanted(document(
        ("network", {"id": "phones", "name": "P", "zone": "voice", "networks": ["10.1.0.0/24"]}),
        ("network", {"id": "world", "name": "W", "zone": "clients", "networks": ["0.0.0.0/0"]}),
        ("trunk", {"id": "two", "name": "Two", "provider": "telco", "host": "198.51.100.9", "auth": {"type": "address"}}),
        accept_from=["10.9.0.0/24"],
    ))  # fmt: skip
    assert list(made.questions) == [KEY]
    limits = made.limits[KEY]
    assert (limits.own, limits.ours, limits.allowed) == (("192.0.2.10/32",), ("10.1.0.0/24",), ("10.9.0.0/24",))
    assert list(wanted(document(lookup="srv", port=5070)).questions) == ["_sip._udp.sip.example.com:5060"]


def test_a_name_is_asked_for_at_once_and_again_when_its_answer_is_over(world: World) -> None:
    names = world.names()
    assert (names.due_in(), names.work()) == (None, False)
    names.follow(wanted(document()))
    assert names.due_in() == 0
    world.answers[KEY] = answer(A)
    assert names.work()
    assert names.resolved()[KEY].sources == (A,)
    assert names.due_in() == 300
    world.now += 300
    assert not names.work()  # the same answer: nothing for anybody to do
    assert world.asked == [[KEY], [KEY]]
    assert names.again() == [KEY]
    assert names.due_in() == 0


@pytest.mark.parametrize("how", ["error", "nothing", "killed", "lies"])
def test_bad_answers_change_nothing_are_told_and_asked_again_ever_more_seldom(world: World, how: str) -> None:
    names = world.names()
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A)
    names.work()
    world.broken = how == "killed"
    world.answers = {"error": {KEY: Answer(error="no name server answers")}, "lies": {KEY: answer("127.0.0.1")}}.get(
        how, {}
    )
    pauses = []
    for _ in range(4):
        world.now += names.due_in() or 0
        assert not names.work()
        pauses.append(names.due_in())
    assert pauses == [30, 60, 120, 240]
    assert names.resolved()[KEY].sources == (A,)
    (told,) = names.told()
    assert told["error"]
    assert told["failing_s"] == 300 + 30 + 60 + 120
    assert told["refused"] == (["127.0.0.1"] if how == "lies" else [])


def test_who_is_missing_in_half_an_answer_is_not_gone(world: World) -> None:
    names = world.names()
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A)
    names.work()
    world.answers[KEY] = answer("2001:db8::9").model_copy(update={"partial": True})
    for _ in range(100):
        world.now += names.due_in() or 0
        names.work()
    assert names.due_in() == 60
    found = names.resolved()[KEY].target(4)
    assert found is not None
    assert found.address == A


def test_a_target_that_does_not_answer_comes_last_for_a_while_and_longer_each_time(world: World) -> None:
    names = world.names()
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A, ttl=86_400)
    names.work()
    one = names.resolved()[KEY].targets[0]
    assert not names.choices
    assert not names.away(KEY, one)  # there is no other
    world.answers[KEY] = answer(A, B, ttl=86_400)
    names.again()
    names.work()
    assert names.choices
    for pause in (600, 1200, 2400):
        first = names.resolved()[KEY].targets[0]
        assert names.away(KEY, first)
        assert names.away(KEY, first)  # told twice, it isn't away twice as long
        assert names.resolved()[KEY].targets[-1] == first
        assert set(names.resolved()[KEY].sources) == {A, B}
        world.now += pause
        assert names.resolved()[KEY].targets[0] == first


def test_what_was_learned_outlives_a_restart(world: World) -> None:
    names = world.names()
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A)
    names.work()
    assert sources_in(world.file) == {KEY: (A,)}
    assert world.file.stat().st_mode & 0o777 == 0o644
    again = world.names()
    assert again.resolved()[KEY].sources == (A,)
    again.follow(wanted(document()))
    assert again.due_in() == 0


@pytest.mark.parametrize("garbage", [b"", b"{", b'{"a": {"held": 3}}', b"\xff\xfe", b"[]"])
def test_a_file_of_garbage_counts_as_absent_and_is_written_anew(world: World, garbage: bytes) -> None:
    world.file.parent.mkdir()
    world.file.write_bytes(garbage)
    names = world.names()
    assert names.resolved() == {}
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A)
    names.work()
    assert known_in(world.file)[KEY].sources == (A,)


def test_a_disk_that_refuses_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    names = world.names()
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A)
    with monkeypatch.context() as patch:
        patch.setattr("appliance.names.keeper.replace", full)
        assert names.work()
    assert names.resolved()[KEY].sources == (A,)
    world.now += 300
    names.work()  # nothing new, but it wasn't written yet
    assert known_in(world.file)[KEY].sources == (A,)


def test_names_that_nobody_wants_any_more_are_forgotten(world: World) -> None:
    names = world.names()
    names.follow(wanted(document()))
    world.answers = {KEY: answer(A), "other.example.com:5060": answer(B)}
    names.work()
    names.follow(wanted(document(host="other.example.com")))
    names.work()
    assert set(known_in(world.file)) == {"other.example.com:5060"}
    names.follow(Wanted())
    assert names.due_in() is None


def test_a_network_that_becomes_ours_takes_its_addresses_from_a_name_at_once(world: World) -> None:
    names = world.names()
    names.follow(wanted(document()))
    world.answers[KEY] = answer(A)
    names.work()
    ours = ("network", {"id": "phones", "name": "P", "zone": "voice", "networks": ["198.51.100.0/24"]})
    names.follow(wanted(document(ours)))
    assert names.resolved() == {}
    assert names.due_in() == 0


def test_the_thread_asks_when_it_is_told_to_and_ends(world: World) -> None:
    learned = threading.Event()

    def ask(questions: Sequence[Question]) -> Mapping[str, Answer]:
        learned.set()
        return {each.key: answer(A) for each in questions}

    names = Names(world.file, ask)
    names.start()
    names.follow(wanted(document()))
    assert learned.wait(5)
    names.stop()
    assert names._thread is not None
    names._thread.join(5)
    assert not names._thread.is_alive()
