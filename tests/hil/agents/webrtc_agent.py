"""The process behind `webrtc.WebPhone`: SIP over WebSocket (RFC 7118) with WebRTC media, driven by JSON lines.

Runs inside a namespace: `python -m tests.hil.agents.webrtc_agent`. Commands come on stdin, events go to stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import fractions
import json
import secrets
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import websockets
from aiortc import MediaStreamTrack, RTCConfiguration, RTCIceServer, RTCPeerConnection, RTCSessionDescription
from sipmessage import Message, Request, Response

from tests.hil.agents.audio import tone, write_wav
from tests.hil.agents.sip import Dialog, answer, authorize, new_request, wire

RATE, FRAME = 48000, 960


class Tone(MediaStreamTrack):
    """A sine in real time, 20 ms a frame."""

    kind = "audio"

    def __init__(self, hz: float) -> None:
        super().__init__()
        self._wave = (tone(round(hz / 50) * 50, 1.0, RATE) * 32767).astype(np.int16)  # whole periods: plays round
        self._sent = 0
        self._start = time.monotonic()

    async def recv(self) -> av.AudioFrame:
        due = self._start + self._sent / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        at = self._sent % RATE
        frame = av.AudioFrame.from_ndarray(self._wave[at : at + FRAME].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._sent, fractions.Fraction(1, RATE)
        self._sent += FRAME
        return frame


def candidates(sdp: str) -> list[str]:
    """The addresses that a description offers for voice (RFC 8839 section 5.1)."""
    lines = (line.removeprefix("a=candidate:") for line in sdp.splitlines() if line.startswith("a=candidate:"))
    return sorted({line.split()[4] for line in lines})


class Agent:
    """One account over one WebSocket, at most one call."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings
        self.peer: RTCPeerConnection | None = None
        self.dialog: Dialog | None = None
        self.invite: Request | None = None
        self.heard: list[np.ndarray[Any, Any]] = []
        self.recording = Path(settings["recording"])
        self.replies: dict[tuple[str, str], asyncio.Queue[Response]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.contact = f"<sip:{settings['user']}@{secrets.token_hex(6)}.invalid;transport=ws>"

    @staticmethod
    def tell(event: str, **more: Any) -> None:
        print(json.dumps({"event": event, "clock": time.time(), **more}), flush=True)  # noqa: T201 (the protocol)

    # --- signalling ---

    async def run(self) -> None:
        context = ssl.create_default_context(cafile=self.settings["trust"])
        async with websockets.connect(self.settings["url"], subprotocols=["sip"], ssl=context) as self.socket:  # type: ignore[list-item]
            self.tell("connected")
            reader = self.spawn(self.read())
            loop = asyncio.get_running_loop()
            stdin = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
            while line := await stdin.readline():
                command = json.loads(line)
                self.spawn(getattr(self, f"do_{command.pop('do')}")(**command))
            reader.cancel()
            if self.peer:
                await self.peer.close()

    def spawn(self, work: Any) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 (told to the test, which fails by it)
                self.tell("error", text=f"{type(error).__name__}: {error}")

        task = asyncio.create_task(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def send(self, message: Request | Response) -> None:
        await self.socket.send(wire(message).decode())

    async def read(self) -> None:
        async for raw in self.socket:
            print(raw, file=sys.stderr, flush=True)  # noqa: T201 (the log, for a test that fails)
            if not raw.strip():
                continue  # the engine keeps its connections alive by empty lines (RFC 5626), every 90 s
            message = Message.parse(raw.encode() if isinstance(raw, str) else raw)
            if isinstance(message, Response):
                queue = self.replies.get((message.call_id, message.cseq.method))
                if queue:
                    queue.put_nowait(message)
            else:
                self.spawn(self.requested(message))

    async def ask(self, request: Request) -> Response:
        """Send a request, authorize it when challenged, and return the final answer."""
        for _ in range(2):
            queue = self.replies[(request.call_id, request.cseq.method)] = asyncio.Queue()
            await self.send(request)
            while (response := await asyncio.wait_for(queue.get(), 60)).code < 200:
                if response.code > 100:
                    self.tell("progress", code=response.code)
            if response.code not in (401, 407):
                return response
            if request.method == "INVITE":
                await self.send(Dialog.ack(request, response))
            request = authorize(request, response, self.settings["user"], self.settings["password"])
        return response

    async def requested(self, request: Request) -> None:
        if request.method == "INVITE" and self.dialog is None:
            self.invite = request
            await self.send(answer(request, 180, "Ringing", self.contact, tag=self.settings["user"]))
            self.tell("incoming", peer=str(request.from_address.uri), name=request.from_address.name)
        elif request.method == "ACK":
            self.tell("established")
        elif request.method == "CANCEL" and self.invite:
            await self.send(answer(request, 200, "OK", self.contact))
            await self.send(answer(self.invite, 487, "Request Terminated", self.contact, tag=self.settings["user"]))
            self.tell("closed", reason="cancelled")
        else:
            await self.send(answer(request, 200, "OK", self.contact))
            if request.method == "BYE":
                await self.end("bye")

    # --- commands ---

    async def do_register(self) -> None:
        uri = f"sip:{self.settings['domain']}"
        me = f"<sip:{self.settings['user']}@{self.settings['domain']}>"
        request = new_request("REGISTER", uri, me, me, self.contact, transport="WSS")
        request.expires = 300
        response = await self.ask(request)
        self.tell("registered" if response.code == 200 else "register_failed", code=response.code)

    async def do_call(self, target: str) -> None:
        uri = f"sip:{target}@{self.settings['domain']}"
        me = f"<sip:{self.settings['user']}@{self.settings['domain']}>"
        request = new_request("INVITE", uri, me, f"<{uri}>", self.contact, transport="WSS")
        peer = self.media()
        await peer.setLocalDescription(await peer.createOffer())
        request.headers.set("Content-Type", "application/sdp")
        request.body = peer.localDescription.sdp.encode()
        response = await self.ask(request)
        if response.code != 200:
            await self.send(Dialog.ack(request, response))
            self.tell("closed", reason=f"{response.code} {response.phrase}")
            return
        self.dialog = Dialog.from_response(response, self.contact, transport="WSS")
        await self.send(self.dialog.request("ACK", cseq=response.cseq.sequence))
        described = response.body.decode()
        await peer.setRemoteDescription(RTCSessionDescription(described, "answer"))
        self.tell("established", candidates=candidates(described))

    async def do_answer(self) -> None:
        if self.invite is None:
            raise RuntimeError("nothing to answer")
        peer = self.media()
        await peer.setRemoteDescription(RTCSessionDescription(self.invite.body.decode(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        response = answer(self.invite, 200, "OK", self.contact, tag=self.settings["user"])
        response.headers.set("Content-Type", "application/sdp")
        response.body = peer.localDescription.sdp.encode()
        self.dialog = Dialog.from_request(self.invite, response, self.contact, transport="WSS")
        await self.send(response)

    async def do_hangup(self) -> None:
        if self.dialog:
            await self.ask(self.dialog.request("BYE"))
        await self.end("hung up")

    async def do_save(self) -> None:
        """Write what was heard until now."""
        samples = np.concatenate([np.zeros(0), *self.heard]) / 32768
        self.tell("saved", samples=len(write_wav(self.recording, samples, RATE).read_bytes()) // 2 - 22)

    # --- media ---

    def media(self) -> RTCPeerConnection:
        self.heard = []
        servers = [
            RTCIceServer(**each) for each in self.settings["ice_servers"]
        ]  # never None: aiortc would ask a public one
        peer = self.peer = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        peer.addTrack(Tone(self.settings["tone_hz"]))

        @peer.on("connectionstatechange")
        def state() -> None:
            self.tell("media", state=peer.connectionState)

        @peer.on("track")
        def track(remote: MediaStreamTrack) -> None:
            self.spawn(self.record(remote))

        return peer

    async def record(self, remote: MediaStreamTrack) -> None:
        with contextlib.suppress(Exception):  # the track ends by an exception
            while True:
                frame = await remote.recv()
                assert isinstance(frame, av.AudioFrame)
                samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0].astype(np.float64)
                self.heard.append(np.repeat(samples, RATE // frame.sample_rate))

    async def end(self, reason: str) -> None:
        peer, self.peer, self.dialog, self.invite = self.peer, None, None, None
        self.tell("closed", reason=reason)
        if peer:
            await peer.close()


if __name__ == "__main__":
    asyncio.run(Agent(json.loads(sys.stdin.readline())).run())
