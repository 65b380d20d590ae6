"""A SIP phone with audio: baresip, one process per phone, driven over its JSON control socket.

    alice = SoftPhone(host, work / "alice", "101", password, pbx.address, tone_hz=440).start()
    bob = SoftPhone(host, work / "bob", "102", password, pbx.address, tone_hz=600, media="srtp", transport="tls").start()
    alice.register(), bob.register()
    call = alice.call("102")
    call.ringing()
    bob.incoming().answer()
    call.established()
    at_alice, at_bob = converse(alice, bob)       # each must hear the other's tone
    assert at_alice.good() and at_bob.good()
    call.hangup()

Works with baresip 1.0 (Debian 12) and 1.1 (Debian 13). Every wait has a deadline and tells what it saw instead.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from sipmessage import Message, Request, Response

from appliance.engine.processes import urgent
from tests.hil.agents.audio import ToneReport, analyse, read_wav, silence
from tests.hil.agents.baresip import Control, Event, configuration
from tests.hil.agents.keys import events_in
from tests.hil.agents.network import Host
from tests.hil.agents.pcap import listen_in
from tests.hil.agents.process import DEADLINE_S, AgentError, eventually
from tests.hil.agents.tap import shared_tap

Transport = Literal["udp", "tcp", "tls"]
Media = Literal["none", "srtp", "dtls_srtp"]
CODECS = {"PCMA": "PCMA/8000/1", "PCMU": "PCMU/8000/1", "G722": "G722/16000/1", "opus": "opus/48000/2"}
MEDIA = {"none": "", "srtp": ";mediaenc=srtp-mand", "dtls_srtp": ";mediaenc=dtls_srtp"}
TRACE = re.compile(
    rb"\x1b\[36;1m#\n(?P<transport>\S+) (?P<source>\S+) -> (?P<target>\S+)\n(?P<message>.*?)\x1b\[;m\n", re.S
)
EVENT_TYPE = 101  # by which baresip takes key events, and the engine offers them
_slots = itertools.count()


class Mark(NamedTuple):
    """A moment in what a phone hears: newest recording, its samples so far, and the clock (seconds since 1970)."""

    recording: Path | None
    samples: int
    clock: float


class Call:
    """One call of one phone. `id` is the SIP Call-ID of this leg."""

    def __init__(self, phone: SoftPhone, event: Event | None = None) -> None:
        self.phone = phone
        self.id = event["id"] if event else ""
        self.peer = event.get("peeruri", "") if event else ""  # URI of the other side
        self.peer_name = event.get("peerdisplayname", "") if event else ""
        self._established = 0.0

    def _wait(self, *types: str, deadline_s: float = DEADLINE_S) -> Event:
        """The event of this call; a call that closes instead is a failure that tells the reason."""
        event = self.phone.control.wait(
            lambda e: e["type"] in {*types, "CALL_CLOSED"} and e.get("id") == self.id,
            f"{self.phone}: {' or '.join(types)} of call {self.id}",
            deadline_s,
        )
        if event["type"] not in types:
            raise AgentError(f"{self.phone}: call ended instead of {' or '.join(types)}: {event.get('param', '')}")
        return event

    def ringing(self, deadline_s: float = DEADLINE_S) -> Self:
        """Wait for 180 (or 183: also then the caller hears that it rings)."""
        self._wait("CALL_RINGING", "CALL_PROGRESS", deadline_s=deadline_s)
        return self

    def established(self, deadline_s: float = DEADLINE_S) -> Self:
        self._wait("CALL_ESTABLISHED", deadline_s=deadline_s)
        self._established = time.time()
        return self

    def closed(self, deadline_s: float = DEADLINE_S) -> str:
        """Wait for the end; the reason as baresip says it, such as `486 Busy Here` or `Connection reset by user`."""
        return str(self._wait("CALL_CLOSED", deadline_s=deadline_s).get("param", ""))

    @property
    def up(self) -> bool:
        """Answered and not ended, as far as heard until now."""
        types = [e["type"] for e in self.phone.control.events if e.get("id") == self.id]
        return "CALL_ESTABLISHED" in types and "CALL_CLOSED" not in types

    def _do(self, command: str, parameters: str = "") -> None:
        """A command for this call: baresip applies them to its current call, so make it that."""
        self.phone.control.request("callfind", self.id)
        self.phone.control.request(command, parameters)

    def answer(self) -> Self:
        self._do("accept")
        return self.established()

    def reject(self) -> None:
        """Refuse with 486."""
        self._do("hangup")

    hangup = reject

    def hold(self) -> None:
        self._do("hold")

    def resume(self) -> None:
        try:
            self._do("resume")
        except AgentError as error:  # 1.1 resumes, and then says no because no other call was there to be held
            if "Invalid argument" not in str(error):
                raise

    def dtmf(self, digits: str) -> None:
        """Send digits by RFC 4733 events (SIP INFO when the other side takes no events)."""
        self._do("sndcode", digits)

    def _talks(self) -> None:
        """Wait until voice comes in, two seconds at most: the engine can't transfer a call that it is just about to put
        through, and nobody presses keys that fast."""
        with contextlib.suppress(AgentError):
            eventually(lambda: self.phone.voice_since(self._established), "", 2.0)

    def transfer(self, target: str) -> None:
        """Blind transfer: REFER to a number or URI."""
        self._talks()
        self._do("transfer", self.phone.uri(target))

    def transfer_to(self, consultation: Call) -> None:
        """Attended transfer: REFER with Replaces (RFC 3891) for the phone's other call.

        baresip 1.x has no command for it, but sends any Refer-To: the dialog's tags come from the SIP trace.
        """
        self._talks()
        if consultation.up:
            consultation._talks()
        call_id, local, remote = consultation.dialog()
        escaped = (
            f"{call_id};to-tag={remote};from-tag={local}".replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
        )
        self._do("transfer", f"<{consultation.peer.split('?')[0]}?Replaces={escaped}>")

    def dialog(self) -> tuple[str, str, str]:
        """Call-ID, own tag and the other side's tag of the dialog, be it an early one (180) or established."""
        for message in self.phone.messages(self.id):
            if isinstance(message, Response) and 180 <= message.code < 300 and message.cseq.method == "INVITE":
                tags = (message.from_address.parameters["tag"], message.to_address.parameters["tag"])
                mine, theirs = tags if self.id in self.phone.placed else tags[::-1]
                return self.id, str(mine), str(theirs)
        raise AgentError(f"{self.phone}: call {self.id} has no dialog")

    def invite(self) -> Request:
        """The INVITE that began the call: what a callee reads From, P-Asserted-Identity, Diversion… from."""
        for message in self.phone.messages(self.id):
            if isinstance(message, Request) and message.method == "INVITE":
                return message
        raise AgentError(f"{self.phone}: no INVITE of call {self.id} in the trace")


class SoftPhone:
    """One baresip. A context manager; `stop()` ends it, and so does the end of the test run."""

    def __init__(
        self,
        host: Host,
        work: Path,
        user: str,
        password: str,
        registrar: str,
        *,
        port: int | None = None,
        transport: Transport = "udp",
        media: Media = "none",
        codecs: Sequence[str] = ("PCMA",),
        tone_hz: int = 440,
        name: str = "",
        auto_answer: bool = False,
        trust: Path | None = None,
        expires_s: int = 60,
        tapped: bool = True,
        sip_port: int | None = None,
    ) -> None:
        """`registrar` is an IP address (v4 or v6) reached at `port` (5060, TLS 5061). `trust`: CA for TLS, else unchecked.

        `tapped`: what comes over its cable is kept, as long as the network is there. `sip_port`: of its own, else any.
        """
        self.host, self.work, self.user, self.tone_hz, self._own_port = host, work, user, tone_hz, sip_port
        self.transport: Transport = transport
        self.domain = f"[{registrar}]" if ":" in registrar else registrar
        self.port = port or (5061 if transport == "tls" else 5060)
        self.address = host.address6 if ":" in registrar else next(
            (v4 for v4, _ in host.legs.values() if v4.rsplit(".", 1)[0] == registrar.rsplit(".", 1)[0]), host.address
        )  # fmt: skip
        self._account = (
            f"{name or user} <sip:{user}@{self.domain}:{self.port};transport={transport}>"
            f";auth_user={user};auth_pass={password};regint={expires_s}"
            f";audio_codecs={','.join(CODECS[codec] for codec in codecs)}"
            f";answermode={'auto' if auto_answer else 'manual'}{MEDIA[media]}"
        )
        self._trust = trust
        self._tap = shared_tap(host) if tapped and media == "none" and set(codecs) <= {"PCMA", "PCMU"} else None
        self.placed: list[str] = []  # Call-IDs of the calls it made
        self._taken: set[str] = set()  # Call-IDs of the incoming calls already handed to the test
        self._traced: list[Request | Response] = []
        self._traced_to = 0  # up to here the trace is read
        self._tracing = threading.Lock()

    def __str__(self) -> str:
        return f"phone {self.user}"

    @property
    def voice_ports(self) -> range:
        """Ports of its RTP."""
        return self._rtp_ports

    def start(self) -> Self:
        """Start baresip and connect to it; nothing is registered yet."""
        self.work.mkdir(mode=0o700, parents=True)
        slot = next(_slots) % 1000
        self.sip_port, control_port = self._own_port or 16000 + 2 * slot, 14000 + slot
        self._rtp_ports = range(30000 + 30 * slot, 30030 + 30 * slot)
        local = f"[{self.address}]" if ":" in self.address else self.address
        text = configuration(
            listen=f"{local}:{self.sip_port}",
            control_port=control_port,
            rtp_ports=self._rtp_ports,
            recordings=self.work,
            tone_hz=self.tone_hz,
            trust=self._trust,
        )
        (self.work / "config").write_text(text)
        (self.work / "accounts").touch(0o600)
        # The trace goes to stdout, which a file would make block-buffered.
        argv = [*urgent(), "stdbuf", "-oL", "-eL", "baresip", "-s", "-f", str(self.work)]
        self.child = self.host.start(argv, self.work / "log", cwd=self.work, env={"HOME": str(self.work)})
        try:
            self.control = Control(self.host, control_port, self.child)
        except AgentError:
            self.child.stop()
            raise
        return self

    def register(self, deadline_s: float = DEADLINE_S) -> Self:
        """Register; AgentError with the answer when it is refused."""
        code = self.try_register(deadline_s)
        if code != "200 OK":
            raise AgentError(f"{self}: registration refused: {code}")
        return self

    def try_register(self, deadline_s: float = DEADLINE_S) -> str:
        """Register and return the final answer: `200 OK`, `401 Unauthorized`, `Connection refused`…"""
        since = len(self.control.events)
        self.control.request("uanew", self._account)
        event = self.control.wait(
            lambda e: e["type"] in {"REGISTER_OK", "REGISTER_FAIL"}, f"{self}: answer to REGISTER", deadline_s, since
        )
        return str(event.get("param", "200 OK" if event["type"] == "REGISTER_OK" else "failed"))

    def unregistered(self) -> Self:
        """Have an account without registering it: calls can be placed, as an intruder would."""
        self.control.request("uanew", re.sub(r"regint=\d+", "regint=0", self._account))
        return self

    def uri(self, target: str) -> str:
        """A number as a URI at the registrar; a URI stays. (baresip adds its account's transport itself.)"""
        return target if ":" in target else f"sip:{target}@{self.domain}:{self.port}"

    def call(self, target: str) -> Call:
        """Place a call to a number or URI; returns when the INVITE is on its way."""
        since = len(self.messages())
        self.control.request("dial", self.uri(target))

        def sent() -> Request | None:
            new = self.messages()[since:]
            return next((m for m in new if isinstance(m, Request) and m.method == "INVITE" and self._mine(m)), None)

        call = Call(self)
        invite = eventually(sent, f"{self}: INVITE to {target}")
        call.id, call.peer = invite.call_id, self.uri(target)
        self.placed.append(call.id)
        return call

    def _mine(self, message: Request) -> bool:
        return f":{self.sip_port}" in str(message.via[0]) or message.call_id not in self._seen_incoming()

    def _seen_incoming(self) -> set[str]:
        return {e["id"] for e in self.control.events if e["type"] == "CALL_INCOMING"}

    def incoming(self, deadline_s: float = DEADLINE_S) -> Call:
        """Wait for the next call that comes in."""

        def new(event: Event) -> bool:  # a call answered by itself isn't announced as incoming
            kinds = {"CALL_INCOMING", "CALL_ESTABLISHED"}
            return event["type"] in kinds and event.get("direction") == "incoming" and event["id"] not in self._taken

        event = self.control.wait(new, f"{self}: an incoming call", deadline_s)
        self._taken.add(event["id"])
        return Call(self, event)

    def digits(self) -> str:
        """The DTMF digits received so far, as events (RFC 4733).

        Those of plain G.711 calls are taken from the phone's cable: baresip 1.1 never reads the end of a key, and so
        takes one that is pressed twice for one.
        """
        if self._tap:
            streams = self._tap.streams(to=self.address, ports=self._rtp_ports)
            return "".join(key for _, key in sorted(k for s in streams for k in events_in(s.packets, EVENT_TYPE)))
        return "".join(e.get("param", "") for e in self.control.events if e["type"] == "CALL_DTMF_START")

    def messages(self, call_id: str | None = None) -> list[Request | Response]:
        """The SIP messages sent and received so far, of one call or all; what can't be parsed is left out."""
        with self._tracing, self.child.log.open("rb") as log:
            log.seek(self._traced_to)
            end = 0
            for match in TRACE.finditer(log.read()):
                end = match.end()
                with contextlib.suppress(ValueError, KeyError):
                    self._traced.append(Message.parse(match["message"]))
            self._traced_to += end
            return [m for m in self._traced if call_id is None or m.headers.get("Call-ID") == call_id]

    def recordings(self, direction: Literal["dec", "enc"] = "dec") -> list[Path]:
        """WAV files of what it heard (`dec`) or said (`enc`), oldest first; one per call and per hold or resume."""
        found = self.work.glob(f"dump-*-{direction}.wav")
        return sorted(found, key=lambda p: (p.name, p.stat().st_mtime))

    def forget(self) -> None:
        """Remove the recordings so far; one that is being written goes on unseen."""
        for path in (*self.recordings("dec"), *self.recordings("enc")):
            path.unlink()

    def mark(self) -> Mark:
        """This moment of what it hears."""
        newest = next(reversed(self.recordings()), None)
        return Mark(newest, len(read_wav(newest)[0]) if newest else 0, time.time())

    def since(self, mark: Mark, hz: float, until: float | None = None) -> ToneReport:
        """What was heard of `hz` since `mark` and until that time (now), against the clock: a stream that stops shows as missing.

        Plain G.711 is taken from the phone's cable, with every packet where it came in time. Other media come from
        the recorder, which knows no time (lost packets shorten it) and in baresip 1.x ends at the first hold.
        """
        end = time.time() - 0.04 if until is None else until  # packets under way
        expected_ms = max(1000 * (end - mark.clock), 1.0)
        if self._tap:
            streams = self._tap.streams(to=self.address, ports=self._rtp_ports)
            return analyse(listen_in(streams, mark.clock, end), 8000, hz, expected_ms)
        newest = next(reversed(self.recordings()), None)
        if newest is None:
            return analyse(silence(0), 8000, hz, expected_ms)
        samples, rate = read_wav(newest)
        return analyse(samples[mark.samples :] if newest == mark.recording else samples, rate, hz, expected_ms)

    def voice_since(self, clock: float) -> bool:
        """Whether any voice has come in since that time."""
        if self._tap:
            streams = self._tap.streams(to=self.address, ports=self._rtp_ports)
            return any(packet.time > clock for stream in streams for packet in stream.packets[-1:])
        return any(len(read_wav(path)[0]) > 0 for path in self.recordings() if path.stat().st_mtime > clock)

    def hears(self, hz: float, deadline_s: float = DEADLINE_S) -> Self:
        """Wait until half a second of the tone has come in."""
        mark = self.mark()
        last = [ToneReport(hz, 0, 0, 0)]

        def heard() -> bool:
            last[0] = self.since(mark, hz)
            return last[0].heard_ms >= 500

        try:
            eventually(heard, "", deadline_s, every_s=0.1)
        except AgentError:
            raise AgentError(f"{self} doesn't hear {hz} Hz within {deadline_s:g} s, but: {last[0]}") from None
        return self

    def hears_no_more(self, hz: float, deadline_s: float = DEADLINE_S) -> Self:
        """Wait until the tone has been away for half a second."""

        def away() -> bool:
            mark = self.mark()
            time.sleep(0.5)  # the span that is looked at
            return self.since(mark, hz).heard_ms == 0

        eventually(away, f"{self} no longer hears {hz} Hz", deadline_s)
        return self

    def listen(self, hz: float, seconds: float = 2.0) -> ToneReport:
        """Wait until the tone is there, then listen for so many seconds."""
        mark = self.hears(hz).mark()
        time.sleep(seconds)  # the span that is measured
        return self.since(mark, hz)

    def stop(self) -> None:
        """End it: baresip hangs up and unregisters."""
        if hasattr(self, "control"):  # not when it never came up
            self.control.close()
            self.child.stop()

    def kill(self) -> None:
        """Pull its plug: no BYE, no unregistration."""
        self.child.signal(signal.SIGKILL)
        self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


def converse(one: SoftPhone, other: SoftPhone, seconds: float = 2.0) -> tuple[ToneReport, ToneReport]:
    """Both listen to each other's tone for the same so many seconds; what each heard."""
    one.hears(other.tone_hz)
    other.hears(one.tone_hz)
    marks = one.mark(), other.mark()
    time.sleep(seconds)  # the span that is measured
    return one.since(marks[0], other.tone_hz), other.since(marks[1], one.tone_hz)
