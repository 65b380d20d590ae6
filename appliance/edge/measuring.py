"""A call's worth of packets to the centre and back, through the tunnel and over whatever lines it has; and the drill: the same, while one of the lines is cut.

Packets are as long, as many and as marked as a call's (G.711, EF), so relays treat them as one; what was lost each way is told by both ends (:mod:`appliance.failover.stamp`).

What happens when…

* the centre can't be reached, or is of a release that doesn't answer: it is said, and no line is cut;
* the line that isn't cut dies within a drill: the relay joins the other again at once, and the result says for how long it was really cut;
* whoever ordered is gone: it ends by itself, and the last result waits for whoever asks;
* the agent is killed: the relay joins the line again when its time is over, the next agent at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from appliance.core.errors import CentralinoError, Fault, InvalidError, RefusedError
from appliance.edge.centre import Centre
from appliance.edge.relay import EdgeRelay
from appliance.edge.states import State
from appliance.engine.keeping import in_words
from appliance.failover.stamp import packets
from appliance.failover.stamp.packets import ForeignError, Probe
from appliance.failover.stamp.reflected import EVERY_MS, OCTETS, Reflected, Result

_log = logging.getLogger("centralino.edge")

CALL_S: Final = (3.0, 60.0)
CUT_S: Final = (5.0, 60.0)
"""How long a test call and a cut may last."""
AROUND_S: Final = 5.0
"""Of a drill, before the line is cut and after it is joined again: how it is otherwise."""
LAST_S: Final = 1.0
"""Answers may come so long after the last packet."""
SAMPLE_S: Final = 1.0
EF: Final = 46 << 2


@dataclass(slots=True)
class Measurement:
    """One, as it stands. ``cut``: line that is cut, None: it is a call alone. ``samples``: once a second, how each line was.

    :param cut_s: seconds for which the relay has said that the line was cut.
    """

    lasts_s: float
    cut: int | None = None
    begun: float = field(default_factory=time.monotonic)
    sent: int = 0
    reflected: Reflected = field(default_factory=Reflected)
    samples: list[dict[str, Any]] = field(default_factory=list)
    cut_s: float = 0.0
    result: Result | None = None
    fault: CentralinoError | None = None
    over: bool = False

    def told(self) -> dict[str, Any]:
        """For whoever shows it."""
        fault = self.fault
        return {
            "over": self.over, "share": 1.0 if self.over else min(1.0, (time.monotonic() - self.begun) / self.lasts_s),
            "cut": self.cut, "cut_s": round(self.cut_s, 1), "sent": self.sent, "returned": self.reflected.count,
            "samples": list(self.samples), "result": None if self.result is None else asdict(self.result),
            "fault": None if fault is None else {"error_id": fault.error_id, "message": fault.message, "hint": fault.hint},
        }  # fmt: skip


class Measuring:
    """See this module. ``relay``: whose lines are cut. ``state``: the one in force, None: this edge isn't enrolled."""

    def __init__(self, relay: EdgeRelay, state: Callable[[], State | None]) -> None:
        self._relay, self._state = relay, state
        self._task: asyncio.Task[None] | None = None
        self._last: Measurement | None = None

    @property
    def last(self) -> Measurement | None:
        """The one that runs, or the last one."""
        return self._last

    def begin(self, seconds: float, cut: int | None = None) -> Measurement:
        """A call of so long; with ``cut``, a line that is cut for so long within it.

        :raises InvalidError: ``seconds``. :raises RefusedError: ``busy``, ``not_enrolled``, ``only_line``. :raises NotFoundError: ``line``.
        """
        least, most = CALL_S if cut is None else CUT_S
        if not least <= seconds <= most:
            raise InvalidError([Fault("seconds", f"is {seconds:g}", f"{least:g} to {most:g} seconds", "range")])
        if self._task is not None and not self._task.done():
            raise RefusedError("something is being measured already", "wait until it is over", error_id="busy")
        state = self._state()
        if state is None:
            raise RefusedError("this edge isn't enrolled", "enrol it: centralino edge enrol", error_id="not_enrolled")
        if cut is not None:
            self._relay.check_cut(cut)
        made = Measurement(seconds + (2 * AROUND_S if cut is not None else 0) + LAST_S, cut)
        self._last = made
        self._task = asyncio.create_task(self._run(made, state, seconds))
        return made

    async def end(self) -> None:
        """At once; a line that is cut is joined again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self, made: Measurement, state: State, seconds: float) -> None:
        try:
            async with Centre(state) as centre:
                session, key = await centre.measure()
                watching = asyncio.create_task(self._watch(made, seconds))
                try:
                    await _talk(made, state.slice.inside[0], state.slice.inside_port, session, key)
                finally:
                    watching.cancel()
                received, gap_ms = await centre.measured()
                made.result = made.reflected.result(made.sent, received, gap_ms)
        except CentralinoError as error:
            made.fault = error
        except OSError as error:
            made.fault = RefusedError(
                f"nothing can be sent to the centre: {in_words(error)}", "centralino edge status", error_id="not_sent"
            )
        finally:
            made.over = True
            self._join(made)

    async def _watch(self, made: Measurement, seconds: float) -> None:
        """Cut the line when it is time, and note once a second how lines stand."""
        begun = time.monotonic()
        waiting = made.cut is not None
        while True:
            if waiting and time.monotonic() - begun >= AROUND_S and made.cut is not None:
                waiting = False
                try:
                    self._relay.cut(made.cut, seconds)
                    _log.warning("line %d is cut for %.0f s: a drill", made.cut, seconds)
                except CentralinoError as error:  # the other one died meanwhile
                    made.fault = error
            await asyncio.sleep(SAMPLE_S)
            lines = await asyncio.to_thread(self._relay.told)
            made.samples.append({"at_s": round(time.monotonic() - begun, 1), "lines": [_shown(line) for line in lines]})
            if any(line["cut"] for line in lines):
                made.cut_s += SAMPLE_S

    def _join(self, made: Measurement) -> None:
        if made.cut is not None:
            with contextlib.suppress(CentralinoError):
                self._relay.cut(made.cut, 0)


async def _talk(made: Measurement, host: str, port: int, session: int, key: bytes) -> None:
    """Fifty packets a second, until it is over."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        if family == socket.AF_INET6:
            line.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, EF)
        else:
            line.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EF)
        line.connect((host, port))
        loop.add_reader(line, _take, line, made, key)
        try:
            made.begun = time.monotonic()
            until = made.begun + made.lasts_s - LAST_S
            while (now := time.monotonic()) < until:
                with contextlib.suppress(OSError):  # no way for a moment: it is lost, and that is what is measured
                    line.send(packets.probe(key, Probe(made.sent, time.monotonic_ns(), session), OCTETS))
                made.sent += 1
                await asyncio.sleep(max(0.0, made.begun + made.sent * EVERY_MS / 1000 - now))
            await asyncio.sleep(LAST_S)
        finally:
            loop.remove_reader(line)


def _take(line: socket.socket, made: Measurement, key: bytes) -> None:
    """All answers that wait."""
    with contextlib.suppress(OSError):
        while True:
            datagram = line.recv(2048)
            now = time.monotonic_ns()
            with contextlib.suppress(ForeignError):
                made.reflected.take(packets.read_answer(key, datagram), now)


def _shown(line: dict[str, Any]) -> dict[str, Any]:
    ways = [line[way] for way in ("to_centre", "from_centre")]
    return {
        "line": line["line"], "up": line["up"], "cut": line["cut"], "best": line["best"],
        "mos": [None if way is None else way["mos"] for way in ways],
    }  # fmt: skip
