"""baresip's side of a soft phone: its configuration file, and its control socket (netstrings of JSON, module ctrl_tcp)."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.hil.agents.network import Host
from tests.hil.agents.process import DEADLINE_S, AgentError, Child, eventually

Event = dict[str, Any]
MODULES = ["g711", "g722", "opus", "ausine", "sndfile", "srtp", "dtls_srtp"]
APPLICATIONS = ["menu", "ctrl_tcp"]


def module_path() -> Path:
    """Where the distribution keeps baresip's modules."""
    for pattern in ("/usr/lib/baresip/modules", "/usr/lib/*/baresip/modules", "/usr/local/lib/baresip/modules"):
        for found in Path("/").glob(pattern[1:]):
            return found
    raise AgentError("baresip's modules not found: apt-get install baresip-core")


def configuration(
    *, listen: str, control_port: int, rtp_ports: range, recordings: Path, tone_hz: int, trust: Path | None
) -> str:
    """The text of its `config`: a sine as microphone, no loudspeaker, both directions recorded, no sound files."""
    lines = [
        f"sip_listen {listen}",
        *([f"sip_cafile {trust}"] if trust else []),
        "call_local_timeout 180",
        "call_max_calls 8",
        f"audio_source ausine,{tone_hz}",
        "audio_path /nonexistent",
        "ringback_disabled yes",
        "menu_bell no",
        "ausrc_srate 48000",  # all that ausine makes; baresip resamples to the codec's rate
        "ausrc_channels 2",
        f"rtp_ports {rtp_ports.start}-{rtp_ports.stop - 1}",
        "rtp_timeout 0",
        # None: the engine may change a stream's SSRC and numbers when it joins two legs (RFC 3550 §8.2), and the buffer of baresip 1.0 takes
        # what comes after that for late, for ever, when the new numbers are lower.
        "jitter_buffer_delay 0-0",
        "audio_jitter_buffer_type off",  # the same, as later releases call it
        f"module_path {module_path()}",
        *(f"module {name}.so" for name in MODULES),
        *(f"module_app {name}.so" for name in APPLICATIONS),
        f"ctrl_tcp_listen 127.0.0.1:{control_port}",
        f"snd_path {recordings}",
    ]
    return "\n".join(lines) + "\n"


class Control:
    """The control connection: requests answered one by one, events kept in `events` in the order they came."""

    def __init__(self, host: Host, port: int, child: Child) -> None:
        self._child = child
        self.events: list[Event] = []
        self._replies: dict[str, Event] = {}
        self._news = threading.Condition()
        self._token = 0

        def connect() -> Any:
            if not child.running:
                raise AgentError(f"baresip ended\n{child.text()[-2000:]}")
            with contextlib.suppress(OSError):
                return host.connect("127.0.0.1", port)
            return None

        self._socket = eventually(connect, "baresip's control port opens")
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        buffer = b""
        while True:
            try:
                data = self._socket.recv(65536)
            except OSError:
                return
            if not data:
                return
            buffer += data
            while (parsed := _netstring(buffer)) is not None:
                text, buffer = parsed
                message = json.loads(text.decode(errors="replace"), strict=False)
                with self._news:
                    if message.get("response"):
                        self._replies[message.get("token", "")] = message
                    else:
                        self.events.append({**message, "clock": time.monotonic()})
                    self._news.notify_all()

    def request(self, command: str, parameters: str = "") -> str:
        """Run one of baresip's commands; its text. AgentError when it says no."""
        self._token += 1
        token = str(self._token)
        body: Event = {"command": command, "token": token}
        if parameters:
            body["params"] = parameters
        text = json.dumps(body).encode()
        self._socket.sendall(str(len(text)).encode() + b":" + text + b",")
        with self._news:
            if not self._news.wait_for(lambda: token in self._replies, DEADLINE_S):
                raise AgentError(f"baresip doesn't answer {command!r}\n{self._child.text()[-2000:]}")
            reply = self._replies.pop(token)
        if not reply["ok"]:
            raise AgentError(f"baresip refuses {command!r}: {reply.get('data')}")
        return str(reply.get("data", ""))

    def wait(self, match: Callable[[Event], bool], what: str, deadline_s: float = DEADLINE_S, since: int = 0) -> Event:
        """The first event from number `since` on that matches, already seen or still to come."""

        def find() -> Event | None:
            return next((event for event in self.events[since:] if match(event)), None)

        with self._news:
            event = self._news.wait_for(find, deadline_s)
            seen = [(e["type"], e.get("param", "")) for e in self.events[-8:]]
        if event is None:
            raise AgentError(f"not within {deadline_s:g} s: {what}; last events: {seen}")
        return event

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(2)
        self._socket.close()
        self._reader.join(2)


def _netstring(buffer: bytes) -> tuple[bytes, bytes] | None:
    """The first netstring of `buffer` and the rest; None while it is incomplete."""
    head, colon, rest = buffer.partition(b":")
    if not colon or len(rest) <= int(head):
        return None
    return rest[: int(head)], rest[int(head) + 1 :]
