"""A name server that knows the centre's name, and lies to some. As a process:

    python -m lab.resolver ADDRESS CONTROL

``CONTROL``: a file of JSON, ``{"name": …, "address": …, "lie": …, "lied_to": [addresses]}``; read again for each question.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

PORT: Final = 53
TTL_S: Final = 30


def answered(question: dns.message.Message, control: dict[str, object], sender: str) -> dns.message.Message:
    """What is said to a question: the address of the name, to some a wrong one; that other names don't exist."""
    answer = dns.message.make_response(question)
    answer.flags |= dns.flags.RA
    lied_to = control["lied_to"]
    assert isinstance(lied_to, list)
    address = control["lie"] if sender in lied_to else control["address"]
    for asked in question.question:
        if asked.name.to_text(omit_final_dot=True).lower() != control["name"]:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif asked.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(asked.name, TTL_S, "IN", "A", str(address)))
    return answer


def run(address: str, control: Path) -> None:
    """For ever."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.bind((address, PORT))
        while True:
            data, sender = end.recvfrom(4096)
            try:
                question = dns.message.from_wire(data)
            except dns.exception.DNSException:
                continue
            end.sendto(answered(question, json.loads(control.read_text()), sender[0]).to_wire(), sender)


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
