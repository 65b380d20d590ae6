"""A name server that says what it is told to: also nothing, or lies.

    with NameServer(host, "sip.example.com. 60 IN A 198.51.100.21") as names:
        names.says("sip.example.com. 60 IN A 198.51.100.22")
        names.silent = True

Real DNS over UDP, port 53 of a host of the test network.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.hil.agents.network import Host

PLACES = Path("/etc/netns")
"""Files that hide those of /etc from processes of a network namespace (ip-netns(8))."""


class NameServer:
    """Answers with the records that it was given last; names of which it has none don't exist. ``asked``: all questions.

    ``garbled``: answers are noise. ``failing``: it can't say anything of that type.
    """

    def __init__(self, host: Host | None, *records: str) -> None:
        """``host``: None for this machine's loopback, at a free port."""
        self.silent = self.garbled = False
        self.failing: str | None = None
        self.asked: list[tuple[str, str]] = []
        self._records: dict[tuple[dns.name.Name, int], dns.rrset.RRset] = {}
        self._socket = host.socket() if host is not None else socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host.address, 53) if host is not None else ("127.0.0.1", 0))
        self.address, self.port = self._socket.getsockname()
        self._socket.settimeout(0.2)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="name server")
        self.says(*records)

    def says(self, *records: str) -> None:
        """Records in the form of a zone file: ``name. TTL IN TYPE data``."""
        found: dict[tuple[dns.name.Name, int], dns.rrset.RRset] = {}
        for record in records:
            name, ttl, _, kind, data = record.split(maxsplit=4)
            made = dns.rrset.from_text(name, int(ttl), "IN", kind, data)
            there = found.setdefault((made.name, int(made.rdtype)), made)
            there.update(made)  # type: ignore[no-untyped-call]
        self._records = found

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                data, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            with contextlib.suppress(Exception):  # whatever is no question gets no answer
                question = dns.message.from_wire(data)
                asked = question.question[0]
                self.asked.append((asked.name.to_text(), dns.rdatatype.to_text(asked.rdtype)))
                if self.garbled:
                    self._socket.sendto(data[:2] + b"\x81\x80\x00\x01\xff\xff noise", client)
                elif not self.silent:
                    self._socket.sendto(self._answer(question).to_wire(), client)

    def _answer(self, question: dns.message.Message) -> dns.message.Message:
        asked, records = question.question[0], self._records
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA | dns.flags.RA
        if (found := records.get((asked.name, int(asked.rdtype)))) is not None:
            answer.answer.append(found)
        elif asked.rdtype == dns.rdatatype.CNAME or (alias := records.get((asked.name, dns.rdatatype.CNAME))) is None:
            known = any(name == asked.name for name, _ in records)
            answer.set_rcode(dns.rcode.NOERROR if known else dns.rcode.NXDOMAIN)
        else:
            answer.answer += [alias, *filter(None, [records.get((alias[0].target, int(asked.rdtype)))])]
        if self.failing == dns.rdatatype.to_text(asked.rdtype):
            answer.answer.clear()
            answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(5)
        self._socket.close()


@contextlib.contextmanager
def resolv_conf(host: Host, server: NameServer) -> Iterator[None]:
    """Processes that are started on a host ask this server."""
    place = PLACES / host.namespace
    place.mkdir(parents=True)
    try:
        (place / "resolv.conf").write_text(f"nameserver {server.address}\n")
        yield
    finally:
        shutil.rmtree(place)
        with contextlib.suppress(OSError):
            PLACES.rmdir()
