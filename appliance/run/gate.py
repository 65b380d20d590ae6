"""The gate: HAProxy in front of console and hub, the only process that browsers and programs reach.

It ends TLS, keeps the browser's address (``X-Forwarded-For``, what the browser says of it is thrown away), gives ``/live`` to the
hub, browsers' SIP (``/ws``, RFC 7118) to the engine and everything else to the console, and says so when one of them is down. It sees
neither document nor databases: the engine's end never moves, and is there when the document has a listener for browsers.

Where the TURN server runs, it hands on to it whatever begins like a STUN message (RFC 8489 section 5: its third and fourth pair of octets
are a constant) once TLS is off. So one address, port, name and certificate are enough for both (docs/decisions/0042).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from appliance.console.portal_address import portal_address, portal_port
from appliance.engine.place import has_firewall, has_turn
from appliance.engine.stand_ins import HOST, PORT
from appliance.paths import Paths
from appliance.pbx.media.doors import SIGNALLING
from appliance.turn.addresses import GATE_PORT

HAPROXY: Final = "/usr/sbin/haproxy"
LIVE: Final = "/live"
"""The hub's only path that is reached from outside; see docs/hub.md."""
CONNECTIONS: Final = 4000
"""At once, browsers' sockets included: each takes two descriptors."""
ANSWER_S: Final = 300
"""Longest that an answer may take: a commit of a large document that waits for the engine."""
SILENCE_S: Final = 60
"""A browser's socket with nothing on it for so long is dead: the hub beats every five seconds."""
SIGNALLING_SILENCE_S: Final = 300
"""The engine asks each phone whether it is there every minute, so five questions went without an answer, or without being asked.
Who never signs in is put out by the engine itself, after half a minute."""
UNANSWERED_S: Final = 120
"""A client that acknowledges nothing for so long is gone, or banned. A line may be away for 60 s and come back."""
SOCKETS: Final = 300
"""Browsers' SIP connections of one address (of one /64) at once: as many TCP connections as the firewall lets it have, for with HTTP/2
one of those may hold a hundred."""
UPGRADES: Final = 300
"""And new ones within ten seconds: all of those behind one address may come back at once."""
GARBAGE: Final = 50
"""Of which so many may be such that the engine refuses them."""
FIRST_S: Final = 5
"""Whoever says nothing for so long after TLS is the portal's to turn away."""
TURN_SILENCE_S: Final = 900
COOKIE: Final = "2112A442"
"""Octets 5 to 8 of every STUN message. No HTTP request can have them: it is text, and HTTP/2 begins with text (RFC 9113 section 3.4)."""
INNER: Final = "portal.sock"
"""The portal's own end, between the two halves of the gate. Only the gate can write where it lies."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Centralino</title>
<style>
:root { color-scheme: light dark; font: 100%/1.5 system-ui, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 34rem; margin: 3rem auto; padding: 0 1rem; }
body { background: Canvas; color: CanvasText; }
a { color: inherit; }
h1 { font-size: 1.1rem; }
h2 { font-size: 1.5rem; line-height: 1.25; margin: 2rem 0 0.5rem; }
</style></head>
<body><main>
<h1>Centralino</h1>
<section><h2>The portal is not running</h2>
<p>Calls are not affected. The portal is started again by itself: <a href="">load this page again</a> in some seconds.</p>
<p>If it stays away, <code>centralino doctor</code> on the appliance's console tells why.</p></section>
<section lang="it"><h2>Il portale non è in funzione</h2>
<p>Le telefonate continuano. Il portale si riavvia da solo: <a href="">ricarica la pagina</a> tra qualche secondo.</p>
<p>Se non torna, <code>centralino doctor</code> sulla console dell'impianto dice perché.</p></section>
</main></body>
</html>
"""
_PROBLEM: Final = {
    "type": "urn:centralino:error:portal_down",
    "title": "Service Unavailable",
    "status": 503,
    "detail": "the portal is not running; calls are not affected",
    "hint": "try again in some seconds; if it stays away: centralino doctor",
    "error_id": "portal_down",
}
_NO_SIGNALLING: Final = {
    "type": "urn:centralino:error:signalling_down",
    "title": "Service Unavailable",
    "status": 503,
    "detail": "the telephone system takes no browsers now: it is being started, or no listener is for them",
    "hint": "try again in some seconds; if it stays so: centralino doctor",
    "error_id": "signalling_down",
}


def configuration(paths: Paths, address: str, port: int, *, turn: bool = False, stand_ins: bool = False) -> str:
    """Text of the gate's configuration.

    :param address: IPv4 or IPv6, without brackets; ``::``: all of both families.
    :param turn: what is TURN goes to the TURN server.
    :param stand_ins: the engine is told who the clients are, see :mod:`appliance.engine.stand_ins`; it takes the routes there.
    """
    options = f"ssl crt {paths.gate / 'portal.crt'} alpn h2,http/1.1 tcp-ut {UNANSWERED_S}s"
    bind = "\n    ".join(f"bind {place} {options}" for place in _places(address, port))
    inner = f"../{paths.door.name}/{INNER}"  # from the directory of the sockets
    return f"""\
# Written by Centralino at each start; changes are lost.
global
    maxconn {CONNECTIONS}
    nbthread 1
    log stderr format raw local0 notice
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers ECDHE+AESGCM:ECDHE+CHACHA20
    ssl-load-extra-del-ext
    ssl-load-extra-files key

defaults
    mode http
    log global
    option dontlog-normal
    timeout http-request 10s
    timeout http-keep-alive 15s
    timeout connect 3s
    timeout queue 10s
    timeout client {ANSWER_S}s
    timeout server {ANSWER_S}s
    timeout tunnel {SILENCE_S}s
{_door(bind, inner) if turn else ""}
frontend portal
    {f"bind unix@{inner} mode 600 accept-proxy" if turn else bind}
    # A request's head and the beginning of its body must come in time, before the console spends a thread on it.
    option http-buffer-request
    http-request del-header X-Forwarded- -m beg
    http-request del-header Forwarded
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-response del-header Server
    use_backend hub if {{ path {LIVE} }}
    use_backend signalling if {{ path {SIGNALLING} }} {{ hdr(upgrade) -i websocket }} {{ hdr(sec-websocket-protocol) -i sip }}
    use_backend programs if {{ path_beg /api/ }}
    default_backend people

backend people
    http-error status 503 content-type text/html file {paths.gate / "down.html"}
    server console unix@{paths.console_socket.name}

backend programs
    http-error status 503 content-type application/problem+json file {paths.gate / "down.json"}
    server console unix@{paths.console_socket.name}

backend hub
    server hub unix@{paths.hub_socket.name}

{_signalling(paths, stand_ins=stand_ins)}"""


def _places(address: str, port: int) -> tuple[str, ...]:
    """A socket for each family: by one for both, IPv4 clients would have addresses of IPv6 (``::ffff:192.0.2.1``)."""
    if address == "::":
        return f"0.0.0.0:{port}", f"[::]:{port} v6only"
    return (f"[{address}]:{port}" if ":" in address else f"{address}:{port}",)


def _signalling(paths: Paths, *, stand_ins: bool) -> str:
    """Browsers' SIP. Sockets that are open stay so whatever is committed: the engine's end is always the same."""
    return f"""\
backend signalling
    http-error status 503 content-type application/problem+json file {paths.gate / "signalling.json"}
    timeout tunnel {SIGNALLING_SILENCE_S}s
    retries 0
    stick-table type ipv6 size 100k expire 1m store conn_cur,http_req_rate(10s),http_err_rate(10s)
    http-request track-sc0 src,ipmask(32,64)
    http-request deny deny_status 429 if {{ sc_conn_cur(0) gt {SOCKETS} }} or {{ sc_http_req_rate(0) gt {UPGRADES} }}
    http-request deny deny_status 429 if {{ sc_http_err_rate(0) gt {GARBAGE} }}
    # The engine echoes to who asks for that, and needs to know nobody's session.
    http-request set-header Sec-WebSocket-Protocol sip
    http-request del-header Cookie
    http-request del-header Authorization
{_FROM_STAND_INS if stand_ins else ""}\
    http-reuse never
    server engine [{HOST}]:{PORT}
"""


_FROM_STAND_INS: Final = """\
    http-request set-var(txn.client) src
    http-request set-src var(txn.client),regsub(^2,a),regsub(^3,b),regsub(^f,7) if { var(txn.client) -m sub : }
    http-request set-src str(8000::ffff:),concat(,txn.client) unless { var(txn.client) -m sub : }
    source 0.0.0.0 usesrc clientip
"""
"""As :func:`appliance.engine.stand_ins.stand_in`, on the address as it is written: all that clients have begin with 2, 3 or f."""


def _door(bind: str, inner: str) -> str:
    """What stands before the portal then. It waits for the first octets only: both kinds of clients speak first.

    The time-outs are longer than those behind it: who is silent is theirs to judge. A browser refreshes its relay within ten minutes.
    """
    return f"""
frontend door
    mode tcp
    {bind}
    tcp-request inspect-delay {FIRST_S}s
    tcp-request content accept if {{ req.len ge 8 }}
    use_backend turn if {{ req.payload(4,4) -m bin {COOKIE} }}
    default_backend web

backend web
    mode tcp
    timeout tunnel {ANSWER_S + 30}s
    server portal unix@{inner} send-proxy-v2

backend turn
    mode tcp
    timeout tunnel {TURN_SILENCE_S}s
    server turn 127.0.0.1:{GATE_PORT} send-proxy-v2
"""


def prepare(paths: Paths, address: str | None = None, port: int | None = None) -> None:
    """Write the gate's files; its directory, certificate and key are there already.

    :param address: where it listens; None: as :mod:`appliance.console.portal_address` says; so is ``port``.
    """
    for name, text in {
        "haproxy.cfg": configuration(
            paths, address or portal_address(), port or portal_port(), turn=has_turn(), stand_ins=has_firewall()
        ),
        "down.html": _PAGE,
        "down.json": json.dumps(_PROBLEM),
        "signalling.json": json.dumps(_NO_SIGNALLING),
    }.items():
        _write(paths.gate / name, text)


def _write(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    fresh.replace(file)


def command(paths: Paths) -> list[str]:
    """Its command line: to be run in the directory of the sockets (their paths may be too long for it)."""
    return [HAPROXY, "-db", "-C", str(paths.web), "-f", str(paths.gate / "haproxy.cfg")]
