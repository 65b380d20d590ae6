"""Captures read back: packets made here must come out as streams, figures and sound."""

from __future__ import annotations

import ipaddress
import struct

import pytest

from tests.hil.agents.audio import analyse, encode_g711, tone
from tests.hil.agents.pcap import PcapReader, Streams, entropy, listen_in

A, B = "192.0.2.1", "192.0.2.2"


def frame(payload: bytes, source: str = A, target: str = B, ports: tuple[int, int] = (4000, 5000)) -> bytes:
    """An Ethernet frame with a UDP datagram."""
    udp = struct.pack("!HHHH", *ports, 8 + len(payload), 0) + payload
    addresses = ipaddress.ip_address(source).packed + ipaddress.ip_address(target).packed
    if ":" in source:
        return bytes(12) + b"\x86\xdd" + struct.pack("!IHBB", 0x60000000, len(udp), 17, 64) + addresses + udp
    return bytes(12) + b"\x08\x00" + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses + udp


def rtp(number: int, payload: bytes, kind: int = 8, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, number & 0xFFFF, number * 160, ssrc) + payload


def capture(packets: list[tuple[float, bytes]]) -> bytes:
    records = b"".join(struct.pack("<IIII", int(t), round(t % 1 * 1e6), len(f), len(f)) + f for t, f in packets)
    return struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1) + records


def stream(data: bytes) -> Streams:
    streams = Streams()
    streams.add(PcapReader().feed(data))
    return streams


def call(hz: float = 440, drop: range = range(0), late: dict[int, float] | None = None, first: int = 100) -> Streams:
    """Two seconds of G.711 from second 1,000 on."""
    sound = encode_g711(tone(hz, 2.0), "a")
    packets = [
        (1000 + 0.02 * n + (late or {}).get(n, 0.0), frame(rtp(first + n, sound[160 * n : 160 * n + 160])))
        for n in range(100)
        if n not in drop
    ]
    return stream(capture(packets))


def test_a_stream_has_its_figures() -> None:
    (one,) = call()
    assert (one.source, one.target, one.ssrc, one.count) == ((A, 4000), (B, 5000), 7, 100)
    assert one.payload_types == {8}
    assert one.lost == 0
    assert one.max_gap_ms() == pytest.approx(20, abs=0.1)
    assert one.max_gap_ms(999.5, 1002) == pytest.approx(500, abs=0.1)
    assert not one.looks_encrypted


def test_the_sound_is_heard_with_its_holes() -> None:
    assert analyse(listen_in(call(), 1000, 1002), 8000, 440).good()
    holed = call(drop=range(40, 45))
    assert analyse(listen_in(holed, 1000, 1002), 8000, 440).gaps_ms == [pytest.approx(100, abs=6)]
    (one,) = holed
    assert one.lost == 5
    assert one.max_gap_ms() == pytest.approx(120, abs=0.1)


def test_a_stream_that_stops_is_missing() -> None:
    report = analyse(listen_in(call(drop=range(50, 100)), 1000, 1002), 8000, 440)
    assert report.missing_ms == pytest.approx(1000, abs=15)


def test_jitter_is_played_over_and_lateness_is_not() -> None:
    assert analyse(listen_in(call(late={n: 0.01 * (n % 3) for n in range(100)}), 1000, 1002), 8000, 440).good()
    stalled = call(late={n: 0.5 - 0.02 * (n - 40) for n in range(40, 65)})  # half a second, then all at once
    assert analyse(listen_in(stalled, 1000, 1002), 8000, 440).longest_gap_ms > 400


def test_sequence_numbers_wrap() -> None:
    wrapped = call(first=65500)
    (one,) = wrapped
    assert one.lost == 0
    assert analyse(listen_in(wrapped, 1000, 1002), 8000, 440).good()


def test_other_packets_are_no_rtp() -> None:
    others = [
        b"SIP/2.0 200 OK\r\n" * 2,
        bytes([0x80, 200]) + bytes(30),
        bytes([0, 1]) + bytes(30),
        bytes([22]) + bytes(30),
        b"",
    ]
    assert list(stream(capture([(1.0, frame(payload)) for payload in others]))) == []


def test_ipv6_and_a_capture_that_grows() -> None:
    data = capture([(1.0 + n / 50, frame(rtp(n, bytes(160)), "2001:db8::1", "2001:db8::2")) for n in range(10)])
    reader, streams = PcapReader(), Streams()
    for at in range(0, len(data), 97):
        streams.add(reader.feed(data[at : at + 97]))
    (one,) = streams
    assert (one.count, one.source[0]) == (10, "2001:db8::1")


def test_entropy_tells_noise_from_a_tone() -> None:
    assert entropy(bytes(range(256)) * 20) == 8
    assert entropy(b"") == 0
    assert entropy(encode_g711(tone(450, 1.0), "a")) < 6


def test_another_file_is_refused() -> None:
    with pytest.raises(ValueError, match="not a little-endian pcap"):
        list(PcapReader().feed(b"\x0a\x0d\x0d\x0a" + bytes(40)))
