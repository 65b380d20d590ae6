"""Document → configuration of the TURN server, coturn (pure). Versions: Debian 12 has 4.6.1; what later ones don't know they pass over.

No secret is in it: those lie in a database that coturn looks into at each request (:mod:`appliance.turn.keys`), so they change without a
restart, and the generation, which the engine's user can read, doesn't hold them.

UDP comes in at *auxiliary* endpoints. The main one is on the loopback, for the gate: coturn speaks the PROXY protocol at
all main TCP endpoints or at none, and from outside somebody could lie in it about where he is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from appliance.core.document import Document
from appliance.turn.addresses import GATE_PORT, RELAY_ADDRESS, listen_addresses, peers, turn_server
from appliance.turn.model import TurnServer

FILE: Final = "host/turn/turnserver.conf"
"""Within a generation."""
REALM: Final = "centralino"
PLACE: Final = "/run/turn"
"""Where coturn sees what it reads, in its sandbox."""
DATABASE: Final = "secrets.db"
NONCE_S: Final = 600
UNPROVEN_S: Final = 20
"""Who has no relay by then is forgotten, s: each takes 16 kB. A client asks at once, and again for ten seconds at most."""
LONGEST_S: Final = 3600
"""Longest that a relay may be asked for at once, s; it is refreshed while it is used."""


def files(document: Document) -> dict[str, str]:
    """Files of a generation, by name; none without a TURN server in use."""
    server = turn_server(document)
    return {} if server is None else {FILE: "\n".join(_lines(document, server)) + "\n"}


def _lines(document: Document, server: TurnServer) -> Iterator[str]:
    yield f"# Made from {server.path()}; edits are lost."
    yield from (f"listening-ip={RELAY_ADDRESS}", f"listening-port={GATE_PORT}", f"tcp-proxy-port={GATE_PORT}")
    for address in listen_addresses(document, server):
        host = f"[{address}]" if ":" in address else address
        yield f"aux-server={host}:{server.port}"
    # TLS is ended by the gate; DTLS nobody needs: what TURN carries is encrypted already.
    yield from ("no-tls", "no-dtls", "no-tcp-relay")
    yield from (f"relay-ip={RELAY_ADDRESS}", f"min-port={server.relay_first}", f"max-port={server.relay_last}")
    # Whom a relay may send to: the engine's voice, and nobody else. An allowed address outweighs a denied range.
    yield from ("denied-peer-ip=0.0.0.0-255.255.255.255", f"denied-peer-ip=::-{':'.join(['ffff'] * 8)}")
    yield from (f"allowed-peer-ip={address}" for address in peers(document))
    yield from ("no-multicast-peers", "no-dynamic-ip-list", "no-dynamic-realms")
    yield from ("use-auth-secret", f"realm={REALM}", f"userdb={PLACE}/{DATABASE}", "fingerprint")
    yield from (f"stale-nonce={NONCE_S}", f"max-allocate-lifetime={LONGEST_S}")
    yield f"max-allocate-timeout={UNPROVEN_S}"
    yield from (f"user-quota={server.user_relays}", f"total-quota={server.relays}", f"max-bps={server.kilobits * 125}")
    # Plain STUN stays: Chromium asks for its address at the same port, and waits ten seconds for an answer. It has twice the
    # question's octets, without these older attributes.
    yield from ("no-rfc5780", "no-stun-backward-compatibility", "response-origin-only-with-rfc5780")
    yield from (
        "no-software-attribute",
        "no-cli",
        "log-file=stdout",
        "simple-log",
        "new-log-timestamp",
        "pidfile=/dev/null",
    )
    # One of each is enough for hundreds of calls, and leaves the processors to the engine.
    yield "relay-threads=1"
