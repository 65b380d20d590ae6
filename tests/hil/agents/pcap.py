"""Reading what tcpdump wrote: packets, RTP streams, and the sound in them. Pure: bytes in, figures out."""

from __future__ import annotations

import ipaddress
import itertools
import math
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from tests.hil.agents.audio import Samples, decode_g711, silence

LATE_S = 0.06  # a packet later than this is lost for a listener: his jitter buffer has run dry
SETTLED_S = 5.0  # after so long it no longer matters when somebody began to listen
LAWS = {8: "a", 0: "u"}  # static RTP payload types of G.711 (RFC 3551)


@dataclass(frozen=True, slots=True)
class Packet:
    """One UDP datagram or TCP segment. `time` is the kernel's clock, seconds since 1970."""

    time: float
    protocol: str  # "udp" or "tcp"
    source: tuple[str, int]
    target: tuple[str, int]
    payload: bytes


RAW = 101
"""Link type of a capture of a tunnel: IP packets without frames."""


class PcapReader:
    """Packets of a growing capture of Ethernet frames, or of a tunnel: `feed` bytes, get the packets that are complete."""

    def __init__(self) -> None:
        self._buffer = b""
        self._header = False
        self._raw = False

    def feed(self, data: bytes) -> Iterator[Packet]:
        buffer = self._buffer + data
        at = 0
        if not self._header:
            if len(buffer) < 24:
                self._buffer = buffer
                return
            if buffer[:4] != b"\xd4\xc3\xb2\xa1":
                raise ValueError("not a little-endian pcap file with microseconds")
            self._header, at = True, 24
            self._raw = struct.unpack_from("<I", buffer, 20)[0] == RAW
        while at + 16 <= len(buffer):
            seconds, micros, size, _ = struct.unpack_from("<IIII", buffer, at)
            if at + 16 + size > len(buffer):
                break
            packet = _packet(seconds + micros / 1e6, self._frame(buffer[at + 16 : at + 16 + size]))
            at += 16 + size
            if packet:
                yield packet
        self._buffer = buffer[at:]

    def _frame(self, data: bytes) -> bytes:
        if not self._raw:
            return data
        return bytes(12) + (b"\x86\xdd" if data[:1] >= b"\x60" else b"\x08\x00") + data


def _packet(time: float, frame: bytes) -> Packet | None:
    kind = int.from_bytes(frame[12:14], "big")
    if kind == 0x0800:
        start = 14 + (frame[14] & 15) * 4
        end = 14 + int.from_bytes(frame[16:18], "big")
        protocol, source, target = frame[23], frame[26:30], frame[30:34]
    elif kind == 0x86DD:
        start, end = 54, 54 + int.from_bytes(frame[18:20], "big")
        protocol, source, target = frame[20], frame[22:38], frame[38:54]
    else:
        return None
    if protocol not in (6, 17) or len(frame) < start + 8:
        return None
    body = start + (8 if protocol == 17 else (frame[start + 12] >> 4) * 4)
    ports = struct.unpack_from("!HH", frame, start)
    name = {17: "udp", 6: "tcp"}[protocol]
    return Packet(time, name, (_address(source), ports[0]), (_address(target), ports[1]), frame[body:end])


@cache
def _address(raw: bytes) -> str:
    return str(ipaddress.ip_address(raw))


@dataclass(slots=True)
class Rtp:
    """One RTP packet (RFC 3550 §5.1)."""

    time: float
    payload_type: int
    sequence: int
    timestamp: int
    payload: bytes


@dataclass
class Stream:
    """The RTP packets from one port to one port with one SSRC."""

    source: tuple[str, int]
    target: tuple[str, int]
    ssrc: int
    packets: list[Rtp] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.packets)

    @property
    def payload_types(self) -> set[int]:
        return {p.payload_type for p in self.packets}

    @property
    def lost(self) -> int:
        """Packets that the sequence numbers say are missing."""
        seen = {p.sequence for p in self.packets}
        first = self.packets[0].sequence
        span = max((s - first) & 0xFFFF for s in seen) + 1
        return max(0, span - len(seen))

    def max_gap_ms(self, start: float | None = None, end: float | None = None) -> float:
        """Longest time between two packets; with `start` and `end` (epoch seconds) also from and to these."""
        times = [p.time for p in self.packets if (start is None or p.time >= start) and (end is None or p.time <= end)]
        times = [*([start] if start else []), *times, *([end] if end else [])]
        return 1000 * max((b - a for a, b in itertools.pairwise(times)), default=0.0)

    def entropy(self, packets: int = 50) -> float:
        """Bits per byte of the last payloads: about 8 when encrypted, well under 6 for a tone in G.711."""
        return entropy(b"".join(p.payload for p in self.packets[-packets:]))

    @property
    def looks_encrypted(self) -> bool:
        """Whether G.711 tones are hidden. (Plain Opus also has high entropy: ask this of G.711 calls.)"""
        return self.entropy() > 7.5

    def paint(self, canvas: Samples, start: float) -> None:
        """Add this stream's G.711 sound to `canvas` (8,000 samples/s from `start`, epoch seconds), as a listener hears it.

        Packets in sequence are played one after the other, lost ones leave their hole. One that comes over 60 ms off
        its turn is played when it comes, so that what a listener misses is a hole here too. RTP timestamps don't
        decide: Asterisk's waver by milliseconds when it transcodes (steps of 128–176 samples were seen), and phones
        play over that.
        """
        turn: float | None = None  # when the next packet is due
        sequence = 0
        first = bisect_left(self.packets, start - SETTLED_S, key=lambda p: p.time)
        for p in itertools.islice(self.packets, first, None):
            if p.payload_type not in LAWS:
                continue
            length = len(p.payload) / 8000
            skipped = (p.sequence - sequence - 1 + 0x8000) % 0x10000 - 0x8000
            if turn is not None:
                turn += skipped * length
            if turn is None or not -LATE_S < p.time - turn < LATE_S:
                turn = p.time
            at = round((turn - start) * 8000)
            low, high = max(at, 0), min(at + len(p.payload), len(canvas))
            if low < high:
                canvas[low:high] = decode_g711(p.payload, LAWS[p.payload_type])[low - at : high - at]
            turn, sequence = turn + length, p.sequence


def entropy(data: bytes) -> float:
    """Shannon entropy, bits per byte."""
    counts = Counter(data)
    return -sum(n / len(data) * math.log2(n / len(data)) for n in counts.values()) if data else 0.0


def parse_rtp(packet: Packet) -> tuple[int, Rtp] | None:
    """SSRC and RTP packet of a datagram; None for RTCP, STUN, DTLS, SIP and the like (RFC 7983)."""
    raw = packet.payload
    if packet.protocol != "udp" or len(raw) < 12 or raw[0] >> 6 != 2 or 192 <= raw[1] <= 223:
        return None
    _, kind, sequence, timestamp, ssrc = struct.unpack_from("!BBHII", raw)
    start = 12 + 4 * (raw[0] & 15)
    if raw[0] & 0x10:  # header extension
        if len(raw) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(raw[start + 2 : start + 4], "big")
    end = len(raw) - (raw[-1] if raw[0] & 0x20 else 0)
    return ssrc, Rtp(packet.time, kind & 127, sequence, timestamp, raw[start:end])


class Streams:
    """RTP streams gathered from packets."""

    def __init__(self) -> None:
        self._streams: dict[tuple[tuple[str, int], tuple[str, int], int], Stream] = {}

    def add(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            if (parsed := parse_rtp(packet)) is not None:
                ssrc, rtp = parsed
                key = (packet.source, packet.target, ssrc)
                self._streams.setdefault(key, Stream(*key)).packets.append(rtp)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())


def listen_in(streams: Iterable[Stream], start: float, end: float) -> Samples:
    """The G.711 sound of several streams on one clock, 8,000 samples/s from `start` to `end` (epoch seconds)."""
    mix = silence(max(0.0, end - start))
    for stream in streams:
        one = np.zeros_like(mix)
        stream.paint(one, start)
        mix += one
    return mix
