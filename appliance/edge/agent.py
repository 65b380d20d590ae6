"""Keeps an edge: its tunnel up, its slice the centre's, its certificate renewed, its clock right; and goes back by itself from what doesn't work.

Two tasks. One tends: every half second it looks which state is in force, that OpenVPN runs as that one wants it, and whether a
trial is over. The other talks with the centre through the tunnel of that state: its first answer proves the state.

What happens when…

* a slice cuts the edge off (wrong addresses, say): no answer comes within the trial's time, and the state before is in force again; the centre is told when it
  is reached, and that slice is tried again after an hour, two, four …;
* the agent is killed within a trial: the next one goes on with it, and goes back if its time is over; if nobody starts it, the tunnel goes on trying;
* the machine starts anew within a trial: see :mod:`appliance.edge.trials`;
* the centre is away: nothing changes, for as long as it takes;
* what the centre says is garbage, of another release, or not signed: it is told, and nothing changes;
* the disk is full: nothing changes, and it is tried again;
* the centre keeps somebody out: so does the edge, within a minute and a half (:mod:`appliance.edge.bans`);
* the certificate is revoked: the centre says so; only another enrolment helps, and is noticed when it comes;
* somebody enrols the edge anew meanwhile: the new state is in force at the next round.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from appliance.clock import Clock, system_clock
from appliance.core.errors import CentralinoError, CorruptError, RefusedError
from appliance.edge import trials
from appliance.edge.bans import EdgeBans
from appliance.edge.centre import Centre
from appliance.edge.clock import EdgeClock
from appliance.edge.identity import RENEWAL, Identity
from appliance.edge.journal import Journal
from appliance.edge.links.network import Network
from appliance.edge.measuring import Measuring
from appliance.edge.news import News
from appliance.edge.orders import Orders
from appliance.edge.paths import EdgePaths
from appliance.edge.states import State, Trial
from appliance.edge.tunnel import Tunnel
from appliance.edge.why import why
from appliance.engine.keeping import in_words
from appliance.engine.unix import listening
from appliance.vpn.inside.reports import Report, Standing, Way
from appliance.vpn.pki import certificates
from appliance.vpn.pki.chains import root_of
from appliance.vpn.pki.lifetimes import due
from appliance.vpn.slices import FORMATS, Remote, Slice, opened

_log = logging.getLogger("centralino.edge")
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ROUND_S: Final = 0.5
WAIT_S: Final = 20.0
"""How long the centre may keep us waiting for another slice."""
RETRY_S: Final = (0.5, 1.0, 2.0, 5.0)
"""Pauses before the centre is asked again that didn't answer; the last one for ever."""
REFUSED_S: Final = 30.0
HOURLY_S: Final = 3600.0
EVENTS_OCTETS: Final = 24 * 1024
"""Told at once: a request has 32 KiB at most."""
BANS_S: Final = 60.0
"""Between two looks at whom the centre keeps out."""
SOCKET_MODE: Final = 0o660
TALK_IS_OVER: Final = frozenset(("centre_away", "certificate_over"))
"""Errors of the whole talk with the centre, whatever was asked."""


class Agent:
    """See this module.

    :param trial_s: seconds that a change has to prove itself; None: by the number of the centre's addresses.
    :param tunnel: by which the centre is reached; None: OpenVPN.
    """

    def __init__(
        self,
        paths: EdgePaths,
        clock: EdgeClock,
        *,
        trial_s: float | None = None,
        uptime: Clock = system_clock,
        tunnel: Tunnel | None = None,
        bans: EdgeBans | None = None,
    ) -> None:
        self._paths, self._clock, self._uptime = paths, clock, uptime
        self._identity = Identity(paths)
        self._network = Network(paths, uptime, trial_s=trial_s)
        self._tunnel = tunnel or Tunnel(paths, servers=self._network.links.name_servers)
        self._refused = trials.Refused(paths.refused)
        self._trial_s = trial_s
        self._state: State | None = None
        self._talk: asyncio.Task[None] | None = None
        self._faults: dict[str, str] = {}
        self._reached = False
        self._way: Remote | None = None
        """By which of the centre's addresses it was reached, as it was told last."""
        self._renew_at = 0.0
        self._bans, self._bans_at = bans or EdgeBans(), 0.0
        self._journal = Journal(paths.journal)
        self._news = News(self._journal)
        self._events_at = 0.0
        self._measuring = Measuring(self._tunnel.relay, lambda: self._state)
        self._orders = Orders(paths, self.told, self._journal, self._measuring, self._tunnel.relay, self._network)

    async def run(self) -> None:
        """Until SIGTERM or SIGINT; the tunnel ends with it. :raises RefusedError: ``already_running``."""
        stopping = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        self._paths.run.mkdir(mode=0o710, parents=True, exist_ok=True)
        self._paths.run.chmod(0o710)
        with contextlib.ExitStack() as stack:
            servers = [
                await _served(stack.enter_context(listening(path, SOCKET_MODE)), answer)
                for path, answer in ((self._paths.socket, self._answer), (self._paths.orders, self._orders.answer))
            ]
            try:
                with self._telling("clock"):
                    self._clock.start(None, None)
                while not stopping.is_set():
                    await self._round()
                    self._restart_talk()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ROUND_S):
                            await stopping.wait()
            finally:
                for each in servers:
                    each.close()
                await self._measuring.end()
                await self._hush()
                self._network.links.close()
                if stopping.is_set():  # an error of ours is no reason to end the tunnel
                    await asyncio.to_thread(self._tunnel.stop)
                self._clock.save()

    def told(self) -> dict[str, Any]:
        """What whoever asks is told."""
        state, refusal, chosen = self._state, self._refused.last, self._tunnel.relay.chosen
        return {
            "enrolled": state is not None,
            "site": state.site if state else None,
            "state": state.name if state else None,
            "revision": state.slice.revision if state else None,
            "on_trial": state is not None and state.trial is not None,
            "centre_reached": self._reached,
            "networks": list(state.slice.networks) if state else [],
            "remotes": [f"{each.host} {each.port}" for each in state.slice.remotes] if state else [],
            **self._network.told(),
            "lines": self._tunnel.relay.told() if state and state.slice.paths else [],
            "chosen": None if chosen is None else chosen.told(),
            "changes": self._tunnel.relay.changes() if state and state.slice.paths else [],
            "certificate": certificates.name_of(state.certificate) if state else None,
            "certificate_ends": state.certificate.not_valid_after_utc.isoformat() if state else None,
            "clock_sure": self._clock.sure,
            "kept_out": self._bans.count,
            "refused": None
            if refusal is None
            else {"revision": refusal.revision, "times": refusal.times, "why": refusal.why},
            "faults": list(self._faults.values()),
        }

    # The state in force, and its tunnel

    async def _round(self) -> None:
        with self._telling("trial"):
            await asyncio.to_thread(self._end_trial)
        with self._telling("state"):
            name = self._identity.states.name
            if self._state is None or self._state.name != name:
                await self._enter(await asyncio.to_thread(lambda: self._identity.current))
        with self._telling("links"):  # the tunnel goes over them
            await asyncio.to_thread(self._network.tend, self._state, self._tunnel.relay.told)
        if self._state is not None:
            state = self._state
            if self._clock.sure:
                self._tunnel.relay.now_is(self._uptime().wall)
            with self._telling("tunnel"):
                await asyncio.to_thread(self._tunnel.tend, state)
                if self._talk is None:  # not through a former state's tunnel
                    self._talk = asyncio.create_task(self._talking(state))
        await asyncio.to_thread(self._look_for_news)
        self._clock.save(often=True)

    def _look_for_news(self) -> None:
        """Why the centre isn't reached is said in other words each time that it is tried: once is enough."""
        faults = [text for what, text in list(self._faults.items()) if what != "centre"]
        self._news.look({**self.told(), "faults": faults, "away": self._faults.get("centre")}, self._uptime())

    async def _enter(self, state: State | None) -> None:
        """Another state is in force: nothing of the former's talk goes on."""
        await self._hush()
        if state is None or self._state is None or state.certificate != self._state.certificate:
            self._faults.pop(
                "renewal", None
            )  # the talk that would have said so ended with the state that it has replaced
        self._state, self._reached = state, False
        if state is not None:
            _log.info("state %s: site %s, revision %d%s", state.name, state.site, state.slice.revision,
                      ", on trial" if state.trial else "")  # fmt: skip
            with self._telling("clock"):  # before OpenVPN: without a possible time no certificate is good
                self._clock.start(state.certificate.not_valid_before_utc, state.certificate.not_valid_after_utc)

    def _restart_talk(self) -> None:
        """A talk never ends by itself; if it does, that is our fault, and it begins again."""
        if self._talk is not None and self._talk.done():
            error = None if self._talk.cancelled() else self._talk.exception()
            _log.error("the talk with the centre ended", exc_info=error)
            self._talk = None

    async def _hush(self) -> None:
        if self._talk is not None:
            self._talk.cancel()
            await asyncio.gather(self._talk, return_exceptions=True)
            self._talk = None

    def _end_trial(self) -> None:
        """Carry a trial on after a start of the machine; go back when its time is over, or what is on trial can't be read."""
        states = self._identity.states
        name = states.name
        trial = states.trial(name) if name is not None else None
        if name is None or trial is None:
            return
        now = self._uptime()
        state, why = None, "the centre wasn't reached through it in time"
        try:
            state = states.read(name)
        except CorruptError as error:
            why = error.message
        more = trials.carried_on(trial, self._lasts(state), now)
        if more is not None:
            with states.lock():
                states.note_trial(name, more)
            trial = more
        if state is None or trials.over(trial, now):
            self._go_back(name, trial, state, why)

    def _go_back(self, name: str, trial: Trial, state: State | None, why: str) -> None:
        states = self._identity.states
        with states.lock():
            if states.name != name or states.trial(name) is None:
                return  # it has been confirmed, or replaced, meanwhile
            states.roll_back(trial)
        _log.error("back from state %s to %s: %s", name, trial.previous, why)
        self._renew_at = self._uptime().uptime / 1000 + HOURLY_S
        before = states.read(trial.previous)
        if state is not None and state.slice.digest != before.slice.digest:
            self._refused.add(state.slice, why, self._uptime())

    def _lasts(self, state: State | None) -> int:
        if self._trial_s is not None:
            return int(1000 * self._trial_s)
        return trials.LONGEST if state is None else trials.time_for(state.slice)

    # The centre

    async def _talking(self, state: State) -> None:
        """As long as this state is in force."""
        failures = 0
        async with Centre(state) as centre:
            while True:
                pause = 0.0
                try:
                    await self._ask(centre, state)
                    failures = 0
                    self._faults.pop("centre", None)
                except CentralinoError as error:
                    pause = self._pause(error, failures)
                    failures += 1
                except OSError as error:
                    self._tell("centre", in_words(error))
                    pause = REFUSED_S
                await asyncio.sleep(pause)

    def _pause(self, error: CentralinoError, failures: int) -> float:
        if error.error_id == "centre_away":
            self._reached = False
            self._faults["centre"] = why(self._tunnel.said()) or error.message
            return RETRY_S[min(failures, len(RETRY_S) - 1)]
        self._tell("centre", in_words(error))
        return REFUSED_S

    async def _ask(self, centre: Centre, state: State) -> None:
        """One visit: prove the state, tell, and then wait for another slice for as long as the centre keeps us."""
        if not self._reached:
            await self._knock(centre, state)
            await self._prove(state)
            self._reached = True
            self._faults.pop("centre", None)
            await self._tell_time(centre)
            await self._report(centre, state)
        state = self._state or state
        if await self._way_of(state) not in (None, self._way):
            await self._report(centre, state)
        await self._renew(centre, state)
        await self._keep_out(centre, state)
        await self._tell_events(centre)
        content = await centre.slice(self._shown(state), WAIT_S)
        if content is not None:
            await self._take(centre, state, content)
        elif not self._clock.sure:
            await self._tell_time(centre)

    async def _knock(self, centre: Centre, state: State) -> None:
        """Whether the centre lets us in; what else it may refuse us, it has been reached."""
        try:
            await centre.slice(state.slice.digest, 0)
        except RefusedError as error:
            if error.error_id == "certificate_over":
                raise

    def _shown(self, state: State) -> str:
        """The digest that we name: of the slice in force, or of the one that we won't try now."""
        refusal = self._refused.last
        if refusal is not None and self._refused.waits(refusal.digest, self._uptime()):
            return refusal.digest
        return state.slice.digest

    async def _prove(self, state: State) -> None:
        """The centre has answered through this state's tunnel: it stays."""
        trial = state.trial
        if trial is None:
            return

        def confirm() -> bool:
            """Whether it has another slice than the state before; what was renewed has the same."""
            states = self._identity.states
            with states.lock():
                if states.name != state.name:
                    return False
                try:
                    other = states.read(trial.previous).slice.digest != state.slice.digest
                except CentralinoError:
                    other = False
                states.confirm(state.name)
            return other

        if await asyncio.to_thread(confirm):
            self._refused.forget()  # what came after the one that wasn't good is
        _log.info("state %s has proven itself", state.name)
        if self._state is not None and self._state.name == state.name:
            self._state = replace(self._state, trial=None)

    async def _tell_time(self, centre: Centre) -> None:
        with self._telling("clock"):
            asked = self._uptime().uptime
            wall = await centre.time()
            await asyncio.to_thread(self._clock.told, wall, asked, self._uptime().uptime)

    async def _report(self, centre: Centre, state: State) -> None:
        """How we stand: with the slice in force, and with the last one that wasn't good."""
        remote = await self._way_of(state)
        way = None if remote is None else Way(host=remote.host, port=remote.port)
        await centre.report(_report(state.slice, Standing.CONFIRMED, way=way))
        self._way = remote
        last = self._refused.last
        if last is not None:
            await centre.report(
                Report(
                    digest=last.digest, revision=last.revision, standing=Standing.ROLLED_BACK, why=last.why[:500],
                    version=_version(), formats=FORMATS,
                )
            )  # fmt: skip

    async def _way_of(self, state: State) -> Remote | None:
        return await asyncio.to_thread(self._tunnel.way, state.slice)

    async def _take(self, centre: Centre, state: State, content: bytes) -> None:
        """A slice that isn't ours: on trial, if it is signed, ours to take, and not one that we have just gone back from."""
        slice = opened(content, root_of(state.material.root))
        if slice.digest == state.slice.digest:
            self._refused.forget()
            return
        if self._refused.waits(slice.digest, self._uptime()):
            return
        if slice.site != state.site:
            raise CorruptError(
                "the centre sent another site's slice", "see the centre's log", error_id="centre_garbled"
            )
        with contextlib.suppress(CentralinoError):
            await centre.report(_report(slice, Standing.TRIAL))
        fresh = replace(state, slice=slice)
        trial = trials.begun(state.name, self._lasts(fresh), self._uptime())

        def put() -> None:
            states = self._identity.states
            with states.lock():
                if states.name == state.name:
                    states.put(replace(state.material, slice=content), trial)

        await asyncio.to_thread(put)

    async def _renew(self, centre: Centre, state: State) -> None:
        """At two thirds of its life; what fails is tried again in an hour."""
        now = self._uptime()
        begins, ends = state.certificate.not_valid_before_utc, state.certificate.not_valid_after_utc
        wall = datetime.fromtimestamp(now.wall / 1000, UTC)
        if (
            not self._clock.sure
            or wall < due(begins, ends)
            or now.uptime / 1000 < self._renew_at
            or state.trial is not None
        ):
            return
        self._renew_at = now.uptime / 1000 + HOURLY_S
        with self._telling("renewal"):
            request = await asyncio.to_thread(self._identity.prepare, RENEWAL)
            certificate, tunnel_key = await centre.renew(request)
            trial = trials.begun(state.name, self._lasts(state), self._uptime())
            await asyncio.to_thread(self._identity.renewed, certificate, tunnel_key, trial)

    async def _tell_events(self, centre: Centre) -> None:
        """What happened, in its order, until the centre has all of it."""
        if self._uptime().uptime / 1000 < self._events_at:
            return
        with self._telling("events"):
            while True:
                name, events = await asyncio.to_thread(self._journal.waiting, EVENTS_OCTETS)
                if not events:
                    return
                try:
                    taken = await centre.events(name, events)
                except CentralinoError as error:
                    if error.error_id != "nothing_here":
                        raise
                    self._events_at = self._uptime().uptime / 1000 + HOURLY_S  # of a release before there were any
                    return
                await asyncio.to_thread(self._journal.delivered, taken)
                if taken < events[0].number:
                    return  # it has taken none

    async def _keep_out(self, centre: Centre, state: State) -> None:
        """Whom the centre keeps out. The list ends by the time of day: not before the clock is sure."""
        now = self._uptime()
        if not self._clock.sure or now.uptime / 1000 < self._bans_at:
            return
        self._bans_at = now.uptime / 1000 + BANS_S
        with self._telling("bans"):
            content = await centre.bans(self._bans.etag)
            if content is not None:
                await asyncio.to_thread(self._bans.put, content, state.slice, self._uptime().wall)

    # Telling

    @contextlib.contextmanager
    def _telling(self, what: str) -> Any:
        """What fails is told, and hinders nothing else."""
        try:
            yield
        except CentralinoError as error:
            if error.error_id in TALK_IS_OVER:
                raise
            self._tell(what, in_words(error))
        except OSError as error:
            self._tell(what, in_words(error))
        else:
            self._faults.pop(what, None)

    def _tell(self, what: str, message: str) -> None:
        if self._faults.get(what) != message:
            _log.error("%s", message)
        self._faults[what] = message

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            writer.write(json.dumps(self.told()).encode() + b"\n")
            async with asyncio.timeout(2):
                await writer.drain()
        writer.close()


async def _served(listener: socket.socket, answer: Answer) -> asyncio.Server:
    listener.listen(8)
    return await asyncio.start_unix_server(answer, sock=socket.socket(fileno=os.dup(listener.fileno())))


def _report(slice: Slice, standing: Standing, way: Way | None = None) -> Report:
    return Report(
        digest=slice.digest, revision=slice.revision, standing=standing, way=way, version=_version(), formats=FORMATS
    )


def _version() -> str:
    try:
        return version("centralino")
    except PackageNotFoundError:
        return ""
