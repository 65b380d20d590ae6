"""Who tries user names learns nothing: those that exist and those that don't are answered alike, in content and in time.

By the network that phones sit in: from elsewhere the firewall answers nothing at all.
"""

from __future__ import annotations

import random
import re
import socket
import ssl
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import Final, Literal, Self

import pytest
from sipmessage import Request, Response

from tests.hil.agents.network import Host, Network
from tests.hil.agents.peer import SipPeer
from tests.hil.agents.sip import authorize
from tests.hil.system import System, office

KNOWN: Final = ("201-1", "202-1", "203-1")
UNKNOWN: Final = ("291-1", "292-1", "293-1", "201", "root")
"""The last ones: a number that exists and is no user's name, and what dictionaries begin with."""
METHODS: Final = (
    "REGISTER",
    "INVITE",
    "SUBSCRIBE",
    "OPTIONS",
    "MESSAGE",
    "PUBLISH",
    "REFER",
    "UPDATE",
    "INFO",
    "NOTIFY",
)
TIMED: Final = ("REGISTER", "INVITE", "SUBSCRIBE", "OPTIONS")
TIMES: Final = 300
GUESSES_RIGHT: Final = {False: 0.65, True: 0.8}
"""Without and with a wrong password: whoever tells known from unknown by the time of one answer may be right so often. Half is chance,
0.024 its standard deviation. A wrong password is compared, which takes 2 to 9 µs (docs/decisions/0040): he is right up to 0.67 of
the time without any network between, and banned before he could ask a tenth as often as it would take to be sure."""
HEADERS: Final = {
    "SUBSCRIBE": {"Event": "dialog"}, "PUBLISH": {"Event": "presence"}, "NOTIFY": {"Event": "presence"},
    "REFER": {"Refer_To": "<sip:203@pbx.example.com>"},
}  # fmt: skip
RANDOM: Final = re.compile(
    rb'(nonce|opaque)="[^"]*"|;(?:tag|branch|rport)=[^;\r\n>]*|^(?:Call-ID|CSeq|Content-Length): [^\r\n]*|;alias',
    re.MULTILINE,
)


class Guesser(SipPeer):
    """Sends one request as some user, with a wrong password if wanted."""

    def __enter__(self) -> Self:
        super().__enter__()
        if self.transport != "udp":  # else an ACK holds the next request up, until its own is acknowledged
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    def guess(self, method: str, user: str, *, password: bool) -> tuple[bytes, float]:
        """The last answer without what is random in it, and the seconds that it took."""
        request = self.request(method, user, None if method == "REGISTER" else "202", **HEADERS.get(method, {}))
        answer, text, took = self._asked(request)
        if password:
            answer, text, took = self._asked(authorize(request, answer, user, "a wrong password"))
        return RANDOM.sub(b"", text).replace(user.encode(), b"USER"), took

    def _asked(self, request: Request) -> tuple[Response, bytes, float]:
        since, began = len(self.received), time.perf_counter()
        answer = self.ask(request)
        took = time.perf_counter() - began
        return answer, self.raw[self.received.index(answer, since)], took


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Host]]:
    transports = ("udp", "tcp", "tls")
    with Network() as net:
        pbx, attacker = net.host("pbx", number=10), net.host("attacker")
        rows = office(pbx.address, len(KNOWN), transports=transports)
        rows = [(kind, row | {"allowed_transports": transports} if kind == "device" else row) for kind, row in rows]
        with System(pbx, tmp_path_factory.mktemp("enumeration"), rows) as system:
            yield system, attacker


@pytest.fixture(params=["udp", "tcp", "tls"])
def guesser(attacked: tuple[System, Host], request: pytest.FixtureRequest) -> Iterator[Guesser]:
    system, host = attacked
    transport: Literal["udp", "tcp", "tls"] = request.param
    trust = None
    if transport == "tls":
        trust = ssl.create_default_context(cafile=str(system.paths.engine.tls / "appliance.crt"))
    with Guesser(host, system.host.address, transport=transport, trust=trust) as peer:
        yield peer


@pytest.mark.parametrize("password", [False, True], ids=["no password", "wrong password"])
def test_users_that_exist_and_others_get_the_same_answer(guesser: Guesser, password: bool) -> None:
    """To the byte, but for what is random."""
    for method in METHODS:
        answers = {user: guesser.guess(method, user, password=password)[0] for user in (KNOWN[0], *UNKNOWN)}
        assert len(set(answers.values())) == 1, (method, answers)
        assert b" 401 " in answers[KNOWN[0]]


@pytest.mark.parametrize("password", [False, True], ids=["no password", "wrong password"])
def test_the_time_of_an_answer_tells_nothing(guesser: Guesser, password: bool) -> None:
    """Known and unknown users by turns, in random order; of one each, the slower one is the known one half of the time."""
    rng = random.Random(1)
    for method in TIMED if guesser.transport == "udp" else TIMED[:2]:
        times: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(TIMES):
            for exists in rng.sample((True, False), 2):
                user = rng.choice(KNOWN if exists else UNKNOWN[:3])
                times[exists].append(guesser.guess(method, user, password=password)[1])
            guesser.received.clear()
            guesser.raw.clear()
        right = slower(times[True], times[False])
        assert 1 - GUESSES_RIGHT[password] < right < GUESSES_RIGHT[password], (method, right)


def slower(some: list[float], others: list[float]) -> float:
    """The share of pairs of which the first took longer (a tie counts half): Mann and Whitney's U by the number of pairs."""
    others = sorted(others)
    wins = sum((bisect_left(others, each) + bisect_right(others, each)) / 2 for each in some)
    return wins / (len(some) * len(others))


def test_the_measure_sees_what_it_is_for() -> None:
    rng = random.Random(2)
    some, same = ([rng.gauss(300, 30) for _ in range(TIMES)] for _ in range(2))
    assert 1 - GUESSES_RIGHT[False] < slower(some, same) < GUESSES_RIGHT[False]
    assert slower([each + 30 for each in some], same) > GUESSES_RIGHT[False]
    assert slower([each + 60 for each in some], same) > GUESSES_RIGHT[True]
