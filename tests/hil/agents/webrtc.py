"""A browser's phone: SIP over secure WebSocket (RFC 7118), ICE, DTLS-SRTP and Opus, by aiortc in a process of its own.

    with WebPhone(host, work / "web", "171", password, f"wss://{pbx.address}:8089/ws", trust=certificate) as web:
        web.register()
        web.call("101").established()
        assert web.listen(440).good()

No jitter buffer: the recording holds the packets as they come; its time is the test's clock, as in `SoftPhone`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.hil.agents.audio import ToneReport, analyse, read_wav
from tests.hil.agents.network import Host
from tests.hil.agents.process import DEADLINE_S, AgentError

CHECKOUT = Path(__file__).parents[3]


class WebPhone:
    """One account on one WebSocket, one call at a time."""

    def __init__(
        self,
        host: Host,
        work: Path,
        user: str,
        password: str,
        url: str,
        *,
        trust: Path,
        tone_hz: int = 500,
        domain: str = "",
        ice_servers: Sequence[Mapping[str, Any]] = (),
        ice_trust: Path | None = None,
    ) -> None:
        """`url`: wss://…; `trust`: the CA of its certificate; `domain`: SIP domain, the URL's host by default.

        `ice_servers`: as browsers take them; `ice_trust`: the CA of a TURN server's certificate.
        """
        self.host, self.work, self.user, self.tone_hz = host, work, user, tone_hz
        self.events: list[dict[str, Any]] = []
        self._recording = work / "heard.wav"
        self._settings = {
            "user": user,
            "password": password,
            "url": url,
            "domain": domain or urlsplit(url).hostname,
            "trust": str(trust),
            "tone_hz": tone_hz,
            "recording": str(self._recording),
            "ice_servers": [dict(each) for each in ice_servers],
        }
        self._environment = None if ice_trust is None else {**os.environ, "SSL_CERT_FILE": str(ice_trust)}
        self._news = threading.Condition()
        self._since = 0
        self.offered: list[str] = []
        """Addresses that the engine's last answer to a call offered for voice."""

    def __str__(self) -> str:
        return f"web phone {self.user}"

    def start(self) -> Self:
        """Open the WebSocket."""
        self.work.mkdir(mode=0o700, parents=True)
        argv = [sys.executable, "-m", "tests.hil.agents.webrtc_agent"]
        self.child = self.host.start(argv, self.work / "log", env=self._environment, cwd=CHECKOUT, pipes=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._send(self._settings)
        self._wait("connected")
        return self

    def _read(self) -> None:
        assert self.child.process.stdout
        for line in self.child.process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self.events.append({"event": "ended"})
            self._news.notify_all()

    def _send(self, message: dict[str, Any]) -> None:
        assert self.child.process.stdin
        self.child.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.child.process.stdin.flush()

    def _do(self, command: str, **parameters: Any) -> None:
        with self._news:
            self._since = len(self.events)
        self._send({"do": command, **parameters})

    def _wait(
        self, *names: str, match: Callable[[dict[str, Any]], bool] = lambda _: True, deadline_s: float = DEADLINE_S
    ) -> dict[str, Any]:
        stop = {*names, "error", "ended"}

        def find() -> dict[str, Any] | None:
            return next((e for e in self.events[self._since :] if e["event"] in stop and match(e)), None)

        with self._news:
            event = self._news.wait_for(find, deadline_s)
            if event is not None and event["event"] not in names:
                raise AgentError(f"{self}: {event} instead of {' or '.join(names)}\n{self.child.text()[-1500:]}")
            if event is None:
                raise AgentError(f"{self}: no {' or '.join(names)}: {self.events[-8:]}\n{self.child.text()[-1500:]}")
            return event

    def register(self) -> Self:
        """Register; AgentError when refused."""
        code = self.try_register()
        if code != 200:
            raise AgentError(f"{self}: registration refused: {code}")
        return self

    def try_register(self) -> int:
        """Register and return the final status code."""
        self._do("register")
        return int(self._wait("registered", "register_failed")["code"])

    def call(self, target: str) -> Self:
        self._do("call", target=target)
        return self

    def incoming(self, deadline_s: float = DEADLINE_S) -> Self:
        self.peer = str(self._wait("incoming", deadline_s=deadline_s)["peer"])
        return self

    def answer(self) -> Self:
        self._send({"do": "answer"})
        return self.established()

    def ringing(self) -> Self:
        self._wait("progress")
        return self

    def established(self, deadline_s: float = DEADLINE_S) -> Self:
        """Wait until the call is answered and media flows (ICE and DTLS are through)."""
        self.offered = self._wait("established", deadline_s=deadline_s).get("candidates", [])
        self._wait("media", match=lambda e: e.get("state") in (None, "connected", "failed"), deadline_s=deadline_s)
        return self

    def closed(self, deadline_s: float = DEADLINE_S) -> str:
        """Wait for the end; `bye`, `hung up`, `cancelled` or the refusal."""
        return str(self._wait("closed", deadline_s=deadline_s)["reason"])

    def hangup(self) -> None:
        self._do("hangup")
        self.closed()

    def heard(self) -> tuple[Any, int]:
        """Samples heard in this call until now, and their rate."""
        known = sum(e["event"] == "saved" for e in self.events)
        self._send({"do": "save"})
        with self._news:
            if not self._news.wait_for(lambda: sum(e["event"] == "saved" for e in self.events) > known, DEADLINE_S):
                raise AgentError(f"{self} saves no recording")
        return read_wav(self._recording)

    def listen(self, hz: float, seconds: float = 2.0) -> ToneReport:
        """Wait until half a second of the tone has come, then listen for so many seconds."""
        start, (samples, rate) = time.monotonic(), self.heard()
        report = analyse(samples, rate, hz)
        while report.heard_ms < 500:
            if time.monotonic() > start + DEADLINE_S:
                raise AgentError(f"{self} doesn't hear {hz} Hz: {report}")
            time.sleep(0.1)
            samples, rate = self.heard()
            report = analyse(samples, rate, hz)
        begin, at = time.monotonic(), len(samples)
        time.sleep(seconds)  # the span that is measured
        samples, rate = self.heard()
        return analyse(samples[at:], rate, hz, 1000 * (time.monotonic() - begin) - 40)

    def stop(self) -> None:
        if self.child.running and self.child.process.stdin:
            self.child.process.stdin.close()  # end of commands: it ends by itself
            self._reader.join(3)
        self.child.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()
