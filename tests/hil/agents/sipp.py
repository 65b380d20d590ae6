"""SIPp: many calls, and peers that behave in one exact way. Works with SIPp 3.6 (Debian 12) and 3.7 (Debian 13).

sipp = Sipp(host, work / "uas", pbx.address).register([User("102", password)])
with sipp.answering(tone_hz=600, ring_ms=200) as uas:            # or ringing(), refusing("486 Busy Here"), …
    run = Sipp(host, work / "uac", pbx.address).calls([User("101", password, "102")], count=2000, rate=40)
    run.wait(120)
    books = run.books()                                          # one record per call, in SIPp's own words
    assert [b.result for b in books] == ["answered"] * 2000
uas.invites()[0].headers["P-Asserted-Identity"]
"""

from __future__ import annotations

import contextlib
import csv
import datetime
import itertools
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from sipmessage import Message, Request, Response

from tests.hil.agents import sipp_scenarios as scenarios
from tests.hil.agents.audio import encode_g711, tone
from tests.hil.agents.network import Host
from tests.hil.agents.process import DEADLINE_S, AgentError, Child, eventually

COMPLAINT = re.compile(r"^(?=\d{4}-\d\d-\d\d\t)", re.M)
MESSAGE = re.compile(
    rb"^-{20,} [^\n]+\n(?:UDP|TCP) message (?P<way>sent|received)[^\n]*:\n\n(?P<text>.*?)(?=^-{20,} |\Z)", re.S | re.M
)
_ports = itertools.count()


@dataclass(frozen=True)
class User:
    """Who calls whom: SIP user, password (empty: none asked for), number to call, and authentication name if another."""

    user: str
    password: str = ""
    target: str = ""
    auth_name: str = ""

    def row(self) -> str:
        if re.search(r"[;\]\n ]", self.user + self.password + self.target + self.auth_name):
            raise ValueError("SIPp's CSV takes no ';', ']', space or new line")
        return f"{self.user};[authentication username={self.auth_name or self.user} password={self.password}];{self.target}"


@dataclass
class BookEntry:
    """One call in SIPp's books. Times in seconds since 1970."""

    call_id: str
    caller: str = ""
    target: str = ""
    start: float = 0.0
    answer: float | None = None
    end: float | None = None
    refused: int | None = None  # status code
    referred: bool = False

    @property
    def result(self) -> str:
        """`answered` (and ended in order), `refused 486`, or `failed` (SIPp met what the scenario doesn't have)."""
        if self.refused is not None:
            return f"refused {self.refused}"
        return "answered" if self.answer and self.end else "failed" if not self.end else "cancelled"


class Sipp:
    """One SIPp on a host, talking to `remote`. Start it with one of the scenario methods; each starts at once."""

    def __init__(
        self,
        host: Host,
        work: Path,
        remote: str,
        *,
        remote_port: int = 5060,
        port: int | None = None,
        tcp: bool = False,
    ) -> None:
        work.mkdir(parents=True, exist_ok=True)
        slot = next(_ports) % 300
        self.host, self.work, self.remote, self.remote_port = host, work, remote, remote_port
        self.port = port or 7000 + slot
        self._media_port = 40000 + 80 * slot
        self._tcp = tcp
        self.address = next(
            (leg for pair in host.legs.values() for leg in pair if leg.rpartition("." if "." in remote else "::")[0]
             == remote.rpartition("." if "." in remote else "::")[0]), host.address
        )  # fmt: skip

    # --- callers ---

    def calls(
        self,
        users: Sequence[User],
        count: int | None = None,
        *,
        rate: float = 10,
        at_once: int = 200,
        talk_ms: int | None = 500,
        tone_hz: float | None = None,
        headers: str = "",
        refer_to: str = "",
        trace: bool | None = None,
    ) -> Self:
        """Place `count` calls (one per user by default), `rate` a second, at most `at_once` up; users take turns.

        `talk_ms` None: until the other side hangs up.
        """
        count = count or len(users)
        text = scenarios.caller(talk_ms, self._tone(tone_hz), headers, refer_to)
        more = ["-inf", str(self._csv(users)), "-m", str(count), "-r", f"{rate:g}", "-l", str(at_once)]
        more += ["-aa"] if talk_ms is None else []
        return self._start(text, more, count <= 100 if trace is None else trace)

    def register(self, users: Sequence[User], *, expires_s: int = 3600) -> Self:
        """Register users from and at this SIPp's port. Before it answers there: engines note the port they see."""
        helper = Sipp(
            self.host, self.work / "register", self.remote, remote_port=self.remote_port, port=self.port, tcp=self._tcp
        )
        more = ["-inf", str(helper._csv(users)), "-m", str(len(users)), "-r", "100", "-l", "50"]
        helper._start(scenarios.register(self.port, expires_s), more, trace=len(users) <= 100).wait()
        return self

    # --- callees: run until stopped ---

    def answering(
        self, *, ring_ms: int = 0, tone_hz: float | None = None, early: bool = False, trace: bool = True
    ) -> Self:
        return self._start(scenarios.answering(ring_ms, self._tone(tone_hz), early), ["-aa"], trace)

    def ringing(self) -> Self:
        return self._start(scenarios.ringing(), ["-aa"], True)

    def refusing(self, status: str, headers: str = "") -> Self:
        return self._start(scenarios.refusing(status, headers), ["-aa"], True)

    def redirecting(self, target: str) -> Self:
        """302 to a number or URI."""
        uri = target if ":" in target else f"sip:{target}@{self.remote}"
        return self.refusing("302 Moved Temporarily", f"Contact: <{uri}>")

    # --- running ---

    def _tone(self, hz: float | None) -> str:
        """A second of the tone as raw A-law, whole periods only, played round and round."""
        if hz is None:
            return ""
        path = self.work / "tone.al"
        path.write_bytes(encode_g711(tone(round(hz / 50) * 50, 1.0), "a"))
        return str(path)

    def _csv(self, users: Sequence[User]) -> Path:
        path = self.work / "users.csv"
        path.touch(0o600)
        path.write_text("SEQUENTIAL\n" + "".join(user.row() + "\n" for user in users))
        return path

    def _start(self, text: str, more: Sequence[str], trace: bool) -> Self:
        file = self.work / "scenario.xml"
        file.write_text(text)
        remote = f"[{self.remote}]" if ":" in self.remote else self.remote
        argv = ["sipp", "-sf", str(file), "-i", self.address, "-p", str(self.port), "-mi", self.address]
        argv += [
            "-mp",
            str(self._media_port),
            "-t",
            "t1" if self._tcp else "u1",
            "-nostdin",
            "-skip_rlimit",
            "-recv_timeout",
            "200000",
        ]
        argv += [
            "-trace_logs",
            "-log_file",
            str(self.work / "books"),
            "-trace_err",
            "-error_file",
            str(self.work / "errors"),
        ]
        argv += ["-trace_stat", "-stf", str(self.work / "statistics.csv"), "-fd", "1"]
        if trace:
            argv += ["-trace_msg", "-message_file", str(self.work / "messages")]
        self.child: Child = self.host.start(
            [*argv, *more, f"{remote}:{self.remote_port}"], self.work / "screen", cwd=self.work
        )
        eventually(lambda: not self.child.running or self._listening(), f"SIPp listens on port {self.port}")
        if not self.child.running and self.child.wait() not in (0, 1):
            raise AgentError(f"SIPp did not start: {self.errors() or self.child.text()[-1500:]}")
        return self

    def _listening(self) -> bool:
        table = "tcp" if self._tcp else "udp"
        with contextlib.suppress(OSError):  # it has just ended
            tables = [Path(f"/proc/{self.child.process.pid}/net/{table}{v}").read_text() for v in ("", "6")]
            return f":{self.port:04X} " in "".join(tables)
        return False

    def wait(self, deadline_s: float = 60) -> Self:
        """Wait for the end of its calls; AgentError when any of them failed."""
        if self.child.wait(deadline_s) != 0:
            raise AgentError(f"SIPp: {self.statistics()}\n{self.errors()[-3000:] or self.child.text()[-1000:]}")
        return self

    def finish(self, deadline_s: float = 60) -> int:
        """Wait for the end of its calls, however they went: SIPp's exit code."""
        return self.child.wait(deadline_s)

    def stop(self, grace_s: float = 5.0) -> None:
        """End it; calls that are up get the grace time."""
        if hasattr(self, "child"):  # not when nothing was started
            if self.child.running:
                self.child.signal(signal.SIGUSR1)
            self.child.stop(grace_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    # --- what it wrote ---

    def books(self) -> list[BookEntry]:
        """One entry per call, in order of their start."""
        path = self.work / "books"
        entries: dict[str, BookEntry] = {}
        for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
            event, call_id, stamp, caller, target, *_ = [*line.split(";"), "", ""]
            entry = entries.setdefault(call_id, BookEntry(call_id, caller, target))
            clock = _epoch(stamp)
            if event == "start":
                entry.start = clock
            elif event == "answer":
                entry.answer = clock
            elif event == "referred":
                entry.referred = True
            else:
                entry.end = clock
                entry.refused = int(event.split()[1]) if event.startswith("refused") else None
        return sorted(entries.values(), key=lambda e: e.start)

    def statistics(self) -> dict[str, int]:
        """Total calls, successful, failed, retransmissions and lost, from the last line of its own statistics."""
        path = self.work / "statistics.csv"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = list(csv.DictReader(lines, delimiter=";"))
        names = {"total": "TotalCallCreated", "successful": "SuccessfulCall(C)", "failed": "FailedCall(C)",
                 "retransmissions": "Retransmissions(C)"}  # fmt: skip
        return {key: int(rows[-1].get(name) or 0) for key, name in names.items()} if rows else {}

    def errors(self) -> str:
        """What it complained about; OPTIONS of the engine, which belong to none of its calls, are left out."""
        path = self.work / "errors"
        text = path.read_text(errors="replace") if path.exists() else ""
        return "".join(part for part in COMPLAINT.split(text) if "can't be mapped to a known SIPp call" not in part)

    def messages(self, way: str | None = None) -> list[Request | Response]:
        """The SIP messages it `sent` or `received` (or both), in order."""
        path = self.work / "messages"
        found: list[Request | Response] = []
        for match in MESSAGE.finditer(path.read_bytes()) if path.exists() else ():
            if way is None or match["way"] == way.encode():
                found.append(Message.parse(match["text"].strip(b"\n").rstrip(b"\r\n") + b"\r\n\r\n"))
        return found

    def invites(self) -> list[Request]:
        """The INVITEs it received: From, P-Asserted-Identity, Diversion, Alert-Info… as the callee saw them."""
        return [m for m in self.messages("received") if isinstance(m, Request) and m.method == "INVITE"]

    def invited(self, deadline_s: float = DEADLINE_S) -> Request:
        """Wait for an INVITE and return the newest."""
        return eventually(lambda: self.invites()[-1:], f"INVITE at {self.address}:{self.port}", deadline_s, 0.1)[0]


def _epoch(stamp: str) -> float:
    """SIPp's [timestamp] (local time, microseconds; a third column since 1970 in some versions) as epoch seconds."""
    words = stamp.split()
    if len(words) >= 3:
        return float(words[2])
    moment = datetime.datetime.strptime(" ".join(words[:2])[:26], "%Y-%m-%d %H:%M:%S.%f")
    return moment.astimezone().timestamp()
