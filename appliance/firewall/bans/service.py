"""The judge's process: collects attempts, has them judged, follows commits, answers whoever asks.

All that judges runs in one thread of its own, for it waits for ``nft`` and the disk; feeds and questions are served meanwhile.

What happens when…

* this process dies: bans stand in the kernel until their time is over; the next one takes over what was kept;
* more attempts come than can be judged: those that don't fit are counted (``missed``) and forgotten;
* kernel or database don't take a ban: see :mod:`~appliance.firewall.bans.gate`; ``troubles`` tells;
* the engine, or another feed, is away: the others go on, and ``troubles`` tells;
* somebody connects and says nothing, or reads nothing: it is let go after two seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from appliance.clock import Clock, system_clock
from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.place import engine_namespace
from appliance.engine.unix import listening
from appliance.firewall.bans import answering
from appliance.firewall.bans.asking import QUESTION_MAX, canonical, network_of
from appliance.firewall.bans.followed import Followed, Situation
from appliance.firewall.bans.gate import Gate
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.keeper import Keeper
from appliance.firewall.bans.kernel import Kernel
from appliance.firewall.bans.model import Action, Attempt, Ban, Decision
from appliance.firewall.bans.opened import LateDatabase
from appliance.paths import Paths

_log = logging.getLogger("centralino.bans")
T = TypeVar("T")

COLLECT_S: Final = 0.1
"""Pause between two looks at what has come in: each costs a transaction of the kernel when somebody is banned."""
AT_ONCE: Final = 5000
WAITING_MAX: Final = 50_000
"""Attempts that wait to be judged, at most."""
FOLLOW_S: Final = 0.5
TICK_S: Final = 3.0
ASKED_S: Final = 2.0
ASKERS_MAX: Final = 32
SPARED_MAX: Final = 20
SOCKET_MODE: Final = 0o660


class Feed(Protocol):
    """Where attempts come from."""

    name: str
    trouble: CentralinoError | None
    """Why nothing comes now."""

    async def run(self) -> None:
        """Hand over attempts until it is cancelled."""


class Desk(Protocol):
    """Where feeds hand over what they have."""

    def times(self) -> tuple[int, int]:
        """An attempt's ``when`` and ``wall``, now."""

    def take(self, attempt: Attempt) -> None:
        """Have an attempt judged, soon. Never waits."""


class Service:
    """See this module. ``group``: numeric group whose members may ask and report, None: ours."""

    def __init__(
        self,
        paths: Paths,
        group: int | None = None,
        feeds: Iterable[Callable[[Desk], Feed]] = (),
        clock: Clock = system_clock,
    ) -> None:
        self._paths, self._group, self._clock = paths, group, clock
        self._database = LateDatabase(paths)
        self._gate: Gate | None = None
        self._counters = answering.Counters(engine_namespace())
        self._followed = Followed(paths)
        self._feeds = [make(self) for make in feeds]
        self._waiting: deque[Attempt] = deque()
        self._missed = 0
        self._spared: deque[Ban] = deque(maxlen=SPARED_MAX)
        self._trouble: CentralinoError | None = None
        self._asked = 0
        self._thread = ThreadPoolExecutor(1, "judge")

    def times(self) -> tuple[int, int]:
        """See :class:`Desk`."""
        moment = self._clock()
        return (self._gate.now(moment) if self._gate is not None else 0), moment.wall

    def take(self, attempt: Attempt) -> None:
        """See :class:`Desk`. Before there is a document nobody is judged."""
        if self._gate is None or len(self._waiting) >= WAITING_MAX:
            self._missed += 1
        else:
            self._waiting.append(attempt)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. :raises RefusedError: ``already_running``."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        self._paths.run.mkdir(parents=True, exist_ok=True)
        with listening(self._paths.bans_socket, SOCKET_MODE) as listener:
            listener.listen(ASKERS_MAX)
            if self._group is not None:
                os.chown(self._paths.bans_socket, -1, self._group)
            server = await asyncio.start_unix_server(self._answer, sock=socket.socket(fileno=os.dup(listener.fileno())))
            tasks = [
                asyncio.create_task(each)
                for each in (
                    self._again(self._follow, FOLLOW_S),
                    self._again(self._judge, COLLECT_S),
                    self._again(self._tick, TICK_S),
                    *(feed.run() for feed in self._feeds),
                )
            ]
            ending = asyncio.create_task(stopping.wait())
            try:
                done, _ = await asyncio.wait([ending, *tasks], return_when=asyncio.FIRST_COMPLETED)
                for task in done - {ending}:
                    task.result()  # none of them ends by itself
            finally:
                server.close()
                for task in (ending, *tasks):
                    task.cancel()
                await asyncio.gather(ending, *tasks, return_exceptions=True)
                await self._in_thread(self._close)
                self._thread.shutdown()

    # -- what goes on --------------------------------------------------------------------------------------------------

    async def _again(self, step: Callable[[], Awaitable[None]], pause_s: float) -> None:
        while True:
            await step()
            await asyncio.sleep(pause_s)

    async def _follow(self) -> None:
        """Go by the document in force. Nobody is judged before it was read once: nobody would be protected."""
        try:
            await self._in_thread(self._adopt)
            self._trouble = None
        except CentralinoError as error:
            if self._trouble is None:
                _log.error("the document: %s (%s)", error.message, error.hint)
            self._trouble = error

    def _adopt(self) -> None:
        found = self._followed.changed()
        if found is None:
            return
        if self._gate is None:
            self._begin(found)
        else:
            self._note(self._gate.adopt(found.policy, found.doors))

    def _begin(self, found: Situation) -> None:
        kernel = Kernel(found.doors, engine_namespace())
        gate = Gate(Judge(found.policy), kernel, Keeper(self._database), self._clock)
        self._note(gate.start())
        self._gate = gate
        gc.collect()
        gc.freeze()  # what is there now stays: nobody looks through it again while attempts come in

    async def _judge(self) -> None:
        gate = self._gate
        while gate is not None and self._waiting:
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            self._note(await self._in_thread(lambda: gate.take(some)))  # noqa: B023 (done before the next round)

    async def _tick(self) -> None:
        if self._gate is not None:
            await self._in_thread(self._gate.tick)

    def _note(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            ban = decision.ban
            if decision.action is Action.SPARE:
                self._spared.append(ban)
            _log.info("%s %s, %d s: %s", decision.action, ban.network, (ban.until - ban.since) // 1000, ban.words)

    def _close(self) -> None:
        self._followed.close()
        self._database.close()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    # -- questions -----------------------------------------------------------------------------------------------------

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._asked += 1
        try:
            if self._asked <= ASKERS_MAX:
                async with asyncio.timeout(ASKED_S):
                    said = await reader.readline()
                answer = await self._in_thread(lambda: self._answered(said))
                writer.write(answer)
                async with asyncio.timeout(ASKED_S):
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            writer.transport.abort()
        finally:
            self._asked -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(ASKED_S):
                    await writer.wait_closed()

    def _answered(self, said: bytes) -> bytes:
        question = _question(said)
        try:
            match question.get("ask"):
                case "told":
                    return canonical(self._told(question))
                case "lift":
                    return canonical(self._lift(str(question.get("network", ""))))
                case "shared":
                    gate, moment = self._ready(), self._clock()
                    return canonical(answering.shared(gate.judge.standing, gate.now(moment), moment.wall))
        except CentralinoError as error:
            return _error(error.error_id, error.message, error.hint)
        return _error("bad_question", "this isn't a question that the judge of bans knows", "told, lift or shared")

    def _told(self, question: dict[str, Any]) -> dict[str, Any]:
        gate = self._gate
        now = gate.now() if gate is not None else 0
        return {
            **answering.listed(gate.judge.standing if gate is not None else (), now, question),
            "spared": [answering.row(ban, now) for ban in reversed(self._spared)],
            "counters": self._counters.rows(),
            "troubles": [[where, error.message, error.hint] for where, error in sorted(self._troubles().items())],
            "missed": self._missed + (gate.judge.unheard if gate is not None else 0),
        }

    def _troubles(self) -> dict[str, CentralinoError]:
        found = dict(self._gate.troubles) if self._gate is not None else {}
        if self._trouble is not None:
            found["document"] = self._trouble
        return found | {feed.name: feed.trouble for feed in self._feeds if feed.trouble is not None}

    def _lift(self, text: str) -> dict[str, Any]:
        decisions = self._ready().lift(network_of(text))
        self._note(decisions)
        return {"lifted": [str(decision.ban.network) for decision in decisions]}

    def _ready(self) -> Gate:
        if self._gate is None:
            raise UnavailableError(
                "the judge of bans hasn't read the document yet", "try again in a moment", error_id="bans_not_ready"
            )
        return self._gate


def _question(said: bytes) -> dict[str, Any]:
    """What is asked; empty: nothing that can be read."""
    try:
        found = json.loads(said) if len(said) <= QUESTION_MAX else None
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _error(id: str, message: str, hint: str) -> bytes:
    return canonical({"error": {"id": id, "message": message, "hint": hint}})
