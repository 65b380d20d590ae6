"""Key tones (DTMF) in a call's voice: as RFC 4733 events or as tones, sent and read by the test itself.

voice = Voice(socket, event_type=101)     # before the call: its port goes into the SDP
voice.to(sdp_of_the_other_side)           # silence from now on, 50 packets a second
voice.press("159", events=True)
voice.events(), voice.tones()             # the digits that came in
"""

from __future__ import annotations

import contextlib
import itertools
import re
import secrets
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from tests.hil.agents.audio import FLOOR, Samples, decode_g711, encode_g711, silence, tone
from tests.hil.agents.pcap import Packet, Rtp, parse_rtp

KEYS: Final = "123A456B789C*0#D"
EVENTS: Final = "0123456789*#ABCD"  # by event number (RFC 4733 §3.2)
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
PACKET_S: Final = 0.02
SAMPLES: Final = 160
KEY_PACKETS, PAUSE_PACKETS = 5, 5
"""100 ms each: twice what ITU-T Q.24 asks a receiver to take."""
_PAIRS: Final = [(low, high) for low in LOW for high in HIGH]


def key_tone(keys: str, seconds: float = KEY_PACKETS * PACKET_S, pause_s: float = PAUSE_PACKETS * PACKET_S) -> Samples:
    """The tones of some keys, one after the other."""
    parts = []
    for key in keys:
        low, high = _PAIRS[KEYS.index(key)]
        parts += [tone(low, seconds, amplitude=0.25) + tone(high, seconds, amplitude=0.25), silence(pause_s)]
    return np.concatenate(parts)


def keys_in(samples: Samples) -> str:
    """The keys whose two tones, and nothing else, are heard for 40 ms and more. Samples at 8,000/s."""
    size, hop = SAMPLES, SAMPLES // 2
    if len(samples) < size:
        return ""
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop].T
    energy = np.einsum("ij,ij->j", windows, windows)
    heard = np.full(windows.shape[1], -1)
    for key, pair in enumerate(_PAIRS):
        phases = [2 * np.pi * hz * np.arange(size) / 8000 for hz in pair]
        basis = np.stack([wave(phase) for phase in phases for wave in (np.cos, np.sin)]).T
        fit = np.linalg.lstsq(basis, windows, rcond=None)[0]
        share = np.einsum("ij,ij->j", basis @ fit, windows) / np.maximum(energy, 1e-9)
        loud = (np.hypot(fit[0], fit[1]) > 4 * FLOOR) & (np.hypot(fit[2], fit[3]) > 4 * FLOOR)
        heard[loud & (share > 0.9)] = key
    edges = np.flatnonzero(np.diff(np.concatenate([[-2], heard, [-2]])))
    runs = [(int(heard[start]), int(end - start)) for start, end in itertools.pairwise(edges)]
    return "".join(KEYS[key] for key, length in runs if key >= 0 and length >= 3)


def events_in(packets: Iterable[Rtp], event_type: int | None) -> list[tuple[float, str]]:
    """When each key came in one stream, and which: all packets of a key have the timestamp of its beginning."""
    begun: dict[int, tuple[float, str]] = {}
    for packet in packets:
        if packet.payload_type == event_type and len(packet.payload) >= 4:
            begun.setdefault(packet.timestamp, (packet.time, EVENTS[packet.payload[0]]))
    return list(begun.values())


class Voice:
    """One side of one call's RTP in A-law. Closed by ``close()``."""

    def __init__(self, sock: socket.socket, event_type: int | None) -> None:
        """``sock``: bound; ``event_type``: payload type of events in the SDP, None: takes none."""
        self._socket, self.event_type = sock, event_type
        self.heard: list[Rtp] = []
        self._target: tuple[str, int] | None = None
        self._queue: deque[Callable[[], tuple[bool, int, int, bytes]]] = deque()
        self._sequence, self._time, self._event_time = 0, 0, 0
        self._ssrc = secrets.randbits(32)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    def to(self, sdp: bytes) -> None:
        """Talk to the side whose SDP this is."""
        address, port = re.search(rb"^c=IN IP[46] (\S+)", sdp, re.M), re.search(rb"^m=audio (\d+)", sdp, re.M)
        assert address, sdp
        assert port, sdp
        self._target = (address[1].decode(), int(port[1]))

    def press(self, keys: str, *, events: bool) -> None:
        """Press keys; returns at once."""
        for key in keys:
            if events:
                self._queue.extend(self._event(EVENTS.index(key), n) for n in range(KEY_PACKETS + 3))
                self._queue.extend([self._silence] * PAUSE_PACKETS)
            else:
                sound = encode_g711(key_tone(key), "a")
                self._queue.extend(self._sound(sound[at : at + SAMPLES]) for at in range(0, len(sound), SAMPLES))

    def events(self) -> str:
        """The keys that came as events, by their distinct beginnings."""
        return "".join(key for _, key in events_in(list(self.heard), self.event_type))

    def tones(self) -> str:
        """The keys that came as tones."""
        sounds = [decode_g711(packet.payload, "a") for packet in list(self.heard) if packet.payload_type == 8]
        return keys_in(np.concatenate(sounds)) if sounds else ""

    def close(self) -> None:
        self._over.set()
        self._thread.join(3)
        self._socket.close()

    def _silence(self) -> tuple[bool, int, int, bytes]:
        return False, 8, self._time, b"\xd5" * SAMPLES

    def _sound(self, payload: bytes) -> Callable[[], tuple[bool, int, int, bytes]]:
        return lambda: (False, 8, self._time, payload)

    def _event(self, number: int, nth: int) -> Callable[[], tuple[bool, int, int, bytes]]:
        """The nth packet of a key; the last one comes three times (RFC 4733 §2.5.1.4)."""

        def made() -> tuple[bool, int, int, bytes]:
            if nth == 0:
                self._event_time = self._time
            end = 0x80 if nth >= KEY_PACKETS else 0
            duration = min(nth + 1, KEY_PACKETS) * SAMPLES
            assert self.event_type is not None
            return nth == 0, self.event_type, self._event_time, struct.pack("!BBH", number, end | 10, duration)

        return made

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            wait = max(due - time.monotonic(), 0)
            if select.select([self._socket], [], [], wait)[0]:
                data, source = self._socket.recvfrom(2048)
                parsed = parse_rtp(Packet(time.time(), "udp", source[:2], ("", 0), data))
                if parsed is not None:
                    self.heard.append(parsed[1])
            if time.monotonic() < due:
                continue
            due += PACKET_S
            if self._target is not None:
                self._send()

    def _send(self) -> None:
        marker, kind, at, payload = (self._queue.popleft() if self._queue else self._silence)()
        header = struct.pack("!BBHII", 0x80, kind | (0x80 if marker else 0), self._sequence, at, self._ssrc)
        self._sequence, self._time = (self._sequence + 1) & 0xFFFF, self._time + SAMPLES
        assert self._target is not None
        with contextlib.suppress(OSError):  # the other side may have gone
            self._socket.sendto(header + payload, self._target)
