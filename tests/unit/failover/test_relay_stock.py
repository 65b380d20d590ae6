"""The edge's half alone: what is read from where a stock server's answers come, and where packets go."""

from __future__ import annotations

import pytest

from appliance.failover.relay.policy import EF
from appliance.failover.relay.stock import (
    LEFT_S,
    SILENT_ASKED_S,
    SILENT_FLOW_S,
    SILENT_S,
    Stock,
)
from appliance.failover.relay.wire import Copying, Role

RESET, SOFT, CONTROL, ACK, ANSWER, DATA = (bytes([opcode << 3]) + b"x" * 20 for opcode in (10, 3, 4, 5, 8, 9))
FIBRE, DSL, LTE = 0, 1, 2
ROLES = {FIBRE: Role.PRIMARY, DSL: Role.BACKUP, LTE: Role.METERED}
ALL = [FIBRE, DSL, LTE]


class Tunnel:
    """A stock server's client and its relay, in a time of their own."""

    def __init__(self, copying: Copying = Copying.CALLS, roles: dict[int, Role] | None = None) -> None:
        self.stock, self.now = Stock(roles or ROLES, copying), 1001.0  # not one of the moments for better lines

    def says(self, packet: bytes, tos: int = 0) -> list[int]:
        """By which lines a packet of the client's goes."""
        return [sent.path for sent in self.stock.client(packet, tos, self.now)]

    def hears(self, path: int, packet: bytes = DATA) -> bool:
        """Whether the client gets it."""
        return self.stock.heard(path, packet, self.now) == packet

    def opened(self, path: int = FIBRE) -> Tunnel:
        """The server has answered by a line."""
        self.says(RESET)
        assert self.hears(path, ANSWER)
        self.wait(5)
        self.hears(path)
        return self

    def wait(self, seconds: float) -> None:
        for _ in range(round(20 * seconds)):
            self.now += 0.05
            self.stock.tick(self.now)

    def talk(self, seconds: float, answers: int | None) -> list[int]:
        """A call, whose other side comes by a line, or not at all; by which lines the last packet went."""
        went: list[int] = []
        for step in range(round(50 * seconds)):
            self.now += 0.02
            went = self.says(DATA, EF)
            if answers is not None:
                self.hears(answers)
            if step % 3 == 0:
                self.stock.tick(self.now)
        return went


def test_a_client_begins_by_all_lines_and_the_first_answer_decides() -> None:
    tunnel = Tunnel()
    assert tunnel.says(RESET) == ALL
    assert not tunnel.hears(FIBRE, CONTROL), "of no session that began here"
    assert tunnel.hears(DSL, ANSWER)
    assert not tunnel.hears(FIBRE, ANSWER), "another session's"
    assert tunnel.says(CONTROL) == [DSL]
    assert tunnel.says(RESET) == ALL, "it says it again"
    assert tunnel.stock.anew
    tunnel.stock.anew = False
    tunnel.says(RESET)
    assert not tunnel.stock.anew
    assert tunnel.says(RESET[:1] + b"y" * 20) == ALL
    assert tunnel.stock.anew, "another session"


def test_calls_go_over_all_lines_and_all_else_where_the_server_answers() -> None:
    tunnel = Tunnel().opened()
    assert tunnel.says(DATA) == [FIBRE]
    assert tunnel.says(DATA, EF) == [FIBRE, DSL], "nobody calls for sure yet: nothing on what is paid for"
    assert tunnel.talk(1, answers=FIBRE) == ALL
    assert tunnel.says(DATA) == [FIBRE]
    assert Tunnel(Copying.ALWAYS).opened().says(DATA) == [FIBRE, DSL]


def test_the_server_is_followed_when_it_floats() -> None:
    tunnel = Tunnel().opened()
    tunnel.hears(DSL)
    assert tunnel.says(CONTROL) == [DSL]
    assert tunnel.says(DATA) == [DSL]


def test_while_keys_are_exchanged_copies_wait_for_a_server_that_floats_often() -> None:
    tunnel = Tunnel().opened()
    tunnel.talk(40, answers=FIBRE)
    tunnel.says(SOFT)
    assert tunnel.says(DATA, EF) == ALL, "it answers by one line all the time"
    tunnel.hears(DSL)
    tunnel.hears(FIBRE)
    tunnel.hears(FIBRE, SOFT)
    assert tunnel.says(DATA, EF) == [FIBRE]
    assert tunnel.says(ACK) == [FIBRE]
    assert tunnel.stock.tick(tunnel.now) == []
    assert [sent.path for sent in tunnel.stock.tick(tunnel.now + 0.05)] == [DSL, LTE]
    assert tunnel.stock.tick(tunnel.now + 0.1) == []
    tunnel.wait(2)
    assert FIBRE in tunnel.says(DATA, EF)
    assert DSL in tunnel.says(DATA, EF)


def test_a_line_by_which_nothing_comes_any_more_within_a_call_is_left() -> None:
    tunnel = Tunnel().opened()
    tunnel.talk(2, answers=FIBRE)
    assert tunnel.talk(SILENT_FLOW_S + 0.2, answers=None) == [DSL, LTE]
    assert tunnel.says(CONTROL) == [DSL]
    assert tunnel.talk(LEFT_S - 1, answers=DSL) == [DSL, LTE]
    assert tunnel.talk(2, answers=DSL) == ALL


def test_it_is_left_for_twice_as_long_when_it_fails_again_soon() -> None:
    tunnel = Tunnel().opened()
    for times in (1, 2, 4):
        tunnel.talk(2, answers=FIBRE)
        tunnel.talk(SILENT_FLOW_S + 0.2, answers=None)
        tunnel.talk(times * LEFT_S - 2, answers=DSL)
        assert FIBRE not in tunnel.talk(0.1, answers=DSL)
        tunnel.talk(3, answers=DSL)
        assert FIBRE in tunnel.talk(0.1, answers=DSL)


def test_what_comes_by_a_line_that_was_left_brings_it_back() -> None:
    tunnel = Tunnel().opened()
    tunnel.talk(2, answers=FIBRE)
    tunnel.talk(SILENT_FLOW_S + 0.2, answers=None)
    tunnel.hears(FIBRE)
    assert tunnel.says(DATA, EF) == ALL


def test_a_call_that_ends_is_no_line_that_dies() -> None:
    tunnel = Tunnel().opened()
    tunnel.talk(2, answers=FIBRE)
    tunnel.wait(SILENT_S - 1)
    assert tunnel.says(DATA) == [FIBRE]


@pytest.mark.parametrize(("asked", "patience"), [(4, SILENT_ASKED_S), (3, SILENT_S)])
def test_a_silent_server_is_looked_for_by_another_line(asked: int, patience: float) -> None:
    tunnel = Tunnel().opened()
    for _ in range(asked):
        tunnel.says(DATA)
    tunnel.wait(patience - 0.3)
    assert tunnel.says(CONTROL) == [FIBRE]
    tunnel.wait(0.6)
    assert tunnel.says(CONTROL) == [DSL]


def test_when_all_were_left_all_are_tried_again() -> None:
    tunnel = Tunnel().opened()
    tunnel.wait(4 * SILENT_S)
    assert set(tunnel.says(RESET)) == set(ALL)


def test_a_line_that_has_carried_enough_is_used_when_there_is_no_other() -> None:
    tunnel = Tunnel(roles={FIBRE: Role.PRIMARY, DSL: Role.BACKUP}).opened()
    tunnel.stock.cap(frozenset((FIBRE,)))
    assert tunnel.says(DATA) == [DSL]
    assert tunnel.says(DATA, EF) == [DSL]
    tunnel.stock.cap(frozenset((FIBRE, DSL)))
    assert tunnel.says(DATA) == [FIBRE]


def test_better_lines_are_tried_now_and_then() -> None:
    tunnel = Tunnel().opened(DSL)
    went = set()
    for _ in range(100):
        tunnel.now += 0.1
        went.add(tuple(tunnel.says(DATA)))
        tunnel.hears(DSL)
    assert went == {(DSL,), (DSL, FIBRE)}


def test_the_next_process_goes_on_and_other_lines_too() -> None:
    tunnel = Tunnel().opened(DSL)
    other = Tunnel()
    other.stock.resume(tunnel.stock.state(), other.now)
    assert other.says(CONTROL) == [DSL]
    other.stock.go_by({FIBRE: Role.PRIMARY, LTE: Role.METERED}, Copying.CALLS)
    assert other.says(CONTROL) == [FIBRE, LTE], "the line that was followed is no more"
    other.hears(LTE)
    assert other.says(CONTROL) == [LTE]


def test_what_nobody_waited_for_is_counted() -> None:
    tunnel = Tunnel().opened()
    assert not tunnel.hears(7)
    assert tunnel.stock.heard(FIBRE, b"", tunnel.now) is None
    assert tunnel.stock.refused == 2


def test_of_each_line_is_told_what_is_known() -> None:
    tunnel = Tunnel().opened()
    tunnel.talk(2, answers=FIBRE)
    tunnel.talk(SILENT_FLOW_S + 0.2, answers=None)
    fibre, dsl, lte = tunnel.stock.told(tunnel.now)
    assert (fibre["followed"], dsl["followed"]) == (False, True)
    assert 0 < fibre["left_s"] <= LEFT_S
    assert dsl["left_s"] == 0
    assert lte["heard_s"] is None
