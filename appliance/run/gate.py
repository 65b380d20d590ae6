"""The gate: HAProxy in front of console and hub, the only process that browsers and programs reach.

It ends TLS, keeps the browser's address (``X-Forwarded-For``, what the browser says of it is thrown away), gives ``/live`` to the
hub and everything else to the console, and says so when one of them is down. It sees neither document nor databases.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from appliance.console.portal_address import portal_address, portal_port
from appliance.paths import Paths

HAPROXY: Final = "/usr/sbin/haproxy"
LIVE: Final = "/live"
"""The hub's only path that is reached from outside; see docs/hub.md."""
CONNECTIONS: Final = 4000
"""At once, browsers' sockets included: each takes two descriptors."""
ANSWER_S: Final = 300
"""Longest that an answer may take: a commit of a large document that waits for the engine."""
SILENCE_S: Final = 60
"""A browser's socket with nothing on it for so long is dead: the hub beats every five seconds."""

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


def configuration(paths: Paths, address: str, port: int) -> str:
    """Text of the gate's configuration. ``address``: IPv4 or IPv6, without brackets."""
    host = f"[{address}]" if ":" in address else address
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
    # A request's head and the beginning of its body must come in time, before the console spends a thread on it.
    option http-buffer-request
    timeout http-request 10s
    timeout http-keep-alive 15s
    timeout connect 3s
    timeout queue 10s
    timeout client {ANSWER_S}s
    timeout server {ANSWER_S}s
    timeout tunnel {SILENCE_S}s

frontend portal
    bind {host}:{port} ssl crt {paths.gate / "portal.crt"} alpn h2,http/1.1
    http-request del-header X-Forwarded- -m beg
    http-request del-header Forwarded
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-response del-header Server
    use_backend hub if {{ path {LIVE} }}
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
"""


def prepare(paths: Paths, address: str | None = None, port: int | None = None) -> None:
    """Write the gate's files; its directory, certificate and key are there already.

    :param address: where it listens; None: as :mod:`appliance.console.portal_address` says; so is ``port``.
    """
    for name, text in {
        "haproxy.cfg": configuration(paths, address or portal_address(), port or portal_port()),
        "down.html": _PAGE,
        "down.json": json.dumps(_PROBLEM),
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
