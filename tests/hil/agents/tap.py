"""A tap on a host's cable: what really goes over the wire.

with Tap(phones, work / "tap.pcap") as tap:
    ...
    assert tap.clear_text(b"INVITE sip:") == 0            # TLS hides the signalling
    for stream in tap.streams(to=phones.address):
        assert stream.looks_encrypted                     # SRTP hides the tone
        assert stream.max_gap_ms() < 60
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.hil.agents.network import Host
from tests.hil.agents.pcap import Packet, PcapReader, Stream, Streams
from tests.hil.agents.process import eventually


class Tap:
    """tcpdump on one leg of a host until the end of the `with`; can be read at any time.

    With `afterwards` it can only be read when it is stopped, but keeps up with thousands of packets a second.
    """

    def __init__(
        self, host: Host, file: Path, *, leg: str = "eth0", bpf: str = "udp or tcp", afterwards: bool = False
    ) -> None:
        self.host, self.file = host, file
        self._argv = ["tcpdump", "-i", leg, "-n", "-B", "16384", "-s", "0", "-Z", "root"]
        self._argv += [] if afterwards else ["-U", "--immediate-mode"]
        self._argv += ["-w", str(file), bpf]
        self._reader, self._streams = PcapReader(), Streams()
        self._packets: list[Packet] = []
        self._offset = 0

    def __enter__(self) -> Self:
        self.child = self.host.start(self._argv, self.file.with_suffix(".log"))
        eventually(lambda: "listening on" in self.child.text(), f"tcpdump listens on {self.host.name}")
        return self

    def read(self) -> None:
        """Take in what was captured since the last time."""
        with self.file.open("rb") as capture:
            capture.seek(self._offset)
            data = capture.read()
        self._offset += len(data)
        new = list(self._reader.feed(data))
        self._packets += [p for p in new if p.protocol == "tcp" or p.payload[:1].isalpha()]  # signalling only
        self._streams.add(new)

    def streams(
        self, *, to: str | None = None, ports: range | None = None, source: str | None = None, codec: int | None = None
    ) -> list[Stream]:
        """RTP streams so far: to an address, to a range of its ports, from an address, holding a payload type."""
        self.read()
        return [
            s
            for s in self._streams
            if (to is None or s.target[0] == to)
            and (ports is None or s.target[1] in ports)
            and (source is None or s.source[0] == source)
            and (codec is None or codec in s.payload_types)
        ]

    def clear_text(self, needle: bytes) -> int:
        """How many packets of signalling hold `needle` readably."""
        self.read()
        return sum(needle in p.payload for p in self._packets)

    def first(self, source: str) -> float:
        """When the first packet of signalling from an address passed, seconds since 1970."""
        self.read()
        return next(p.time for p in self._packets if p.source[0] == source)

    def tls_records(self, port: int) -> int:
        """How many TCP segments from or to `port` begin with a TLS record (handshake or data, RFC 8446 §5.1)."""
        self.read()
        return sum(
            p.protocol == "tcp" and port in (p.source[1], p.target[1]) and p.payload[:2] in (b"\x16\x03", b"\x17\x03")
            for p in self._packets
        )

    def dropped(self) -> int:
        """Packets the kernel could not hand over; known after the end. Not 0: don't trust the figures."""
        words = [line.split() for line in self.child.text().splitlines() if "dropped by kernel" in line]
        return int(words[-1][0]) if words else 0

    @staticmethod
    def now() -> float:
        """The capture's clock: seconds since 1970."""
        return time.time()

    def stop(self) -> None:
        if self.child.running:
            self.child.signal(signal.SIGINT)
        self.child.stop()
        self.read()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()


_shared: dict[str, Tap] = {}


def shared_tap(host: Host) -> Tap:
    """The one tap that all phones of a host listen through; started at first use, ended with the network."""
    if host.namespace not in _shared:
        tap = _shared[host.namespace] = Tap(host, host.net.work / f"{host.namespace}.pcap").__enter__()

        def close() -> None:
            tap.stop()
            del _shared[host.namespace]

        host.net.at_close(close)
    return _shared[host.namespace]
