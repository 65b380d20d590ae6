"""People who talk, all the time: each conversation is begun anew when it has lasted a while, and judged while it goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.failover.quality import BUFFER_MS, mos
from lab.ear import Ear, Heard
from lab.plan import BRANCHES, OUTSIDE, PHONES
from lab.topology import Lab
from tests.hil.agents.network import Host
from tests.hil.agents.process import AgentError
from tests.hil.agents.softphone import SoftPhone

LASTS_S: Final = 120.0
PAUSE_S: Final = 2.0
LOOK_S: Final = 0.2
DIALLED_OUTSIDE: Final = "0" + OUTSIDE.removeprefix("+39")


@dataclass
class Conversation:
    """Who calls whom, and how it goes."""

    caller: str
    callee: str
    state: str = "waiting"
    trouble: str = ""
    since: float = field(default_factory=time.monotonic)

    def becomes(self, state: str, trouble: str = "") -> None:
        """It is in another state from now on."""
        self.state, self.trouble, self.since = state, trouble, time.monotonic()


class Talk:
    """Conversations in a lab, each on a thread of its own while the ``with`` lasts."""

    def __init__(self, lab: Lab, pairs: Sequence[tuple[str, str]], lasts_s: float = LASTS_S) -> None:
        """:param pairs: numbers of caller and callee; :data:`lab.plan.OUTSIDE` is the telephone company."""
        self._lab, self._lasts_s = lab, lasts_s
        self.conversations = [Conversation(caller, callee) for caller, callee in pairs]
        self._ears: dict[str, Ear] = {}
        self._stack = contextlib.ExitStack()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._talk, args=(each,), daemon=True) for each in self.conversations]

    def __enter__(self) -> Talk:
        for each in self.conversations:
            for number in (each.caller, each.callee):
                self._ear(self._phone(number).host)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._stack.close()

    def _phone(self, number: str) -> SoftPhone:
        return self._lab.outside() if number == OUTSIDE else self._lab.phone(number)

    def _ear(self, host: Host) -> Ear:
        if host.name not in self._ears:
            self._ears[host.name] = self._stack.enter_context(Ear(host))
        return self._ears[host.name]

    def _talk(self, conversation: Conversation) -> None:
        while not self._ended.is_set():
            try:
                self._once(conversation)
            except AgentError as error:
                conversation.becomes("failed", str(error))
            self._ended.wait(PAUSE_S)

    def _once(self, conversation: Conversation) -> None:
        caller, callee = self._phone(conversation.caller), self._phone(conversation.callee)
        for phone in (caller, callee):
            self._ear(phone.host).forget(phone.voice_ports)
        conversation.becomes("dialling")
        call = caller.call(DIALLED_OUTSIDE if conversation.callee == OUTSIDE else conversation.callee)
        try:
            callee.incoming().answer()
            call.established()
            conversation.becomes("talking")
            until = time.monotonic() + self._lasts_s
            while call.up and time.monotonic() < until and not self._ended.is_set():
                self._ended.wait(LOOK_S)
            if not call.up:
                conversation.becomes("cut off")
                return
            conversation.becomes("over")
        finally:
            with contextlib.suppress(AgentError):
                call.hangup()
            for phone in (caller, callee):
                phone.forget()

    def heard(self, number: str) -> Heard | None:
        """What somebody has heard in the call that goes on; None: nothing yet."""
        phone = self._phone(number)
        return self._ear(phone.host).heard(phone.voice_ports)

    def told(self) -> list[dict[str, Any]]:
        """Every conversation, and what each end hears."""
        found = []
        for each in self.conversations:
            ends = {}
            for end, number in (("caller", each.caller), ("callee", each.callee)):
                heard = self.heard(number) if each.state == "talking" else None
                ends[end] = {"number": number, "heard": self._judged(each, heard)}
            for_s = time.monotonic() - each.since
            found.append({**ends, "state": each.state, "trouble": each.trouble, "for_s": round(for_s)})
        return found

    def _judged(self, conversation: Conversation, heard: Heard | None) -> dict[str, Any] | None:
        if heard is None:
            return None
        one_way_ms = BUFFER_MS + sum(self._one_way_ms(number) for number in (conversation.caller, conversation.callee))
        judged = round(mos(one_way_ms, heard.missing), 2)
        return {"packets": heard.packets, "lost": heard.lost, "missing": round(heard.missing, 4), "mos": judged}

    def _one_way_ms(self, number: str) -> float:
        """Of the fastest line that is up at the branch of a number: half of its round trip."""
        for branch in BRANCHES:
            if number != OUTSIDE and branch.first <= int(number) < branch.first + PHONES:
                lines = self._lab.branch(branch.site).get("lines", ())
                return min(
                    (each["rtt_ms"] / 2 for each in lines if each["up"] and each["rtt_ms"] is not None), default=0.0
                )
        return 0.0
