"""The console's process: ``python -m appliance.console``, Flask under gunicorn with threads, HTTPS only.

``CENTRALINO_PORTAL_ADDRESS`` (127.0.0.1) and ``CENTRALINO_PORTAL_PORT`` (8443) say where it listens; the certificate lies in
``STATE/console/portal.crt`` and ``.key`` and is read at start. One process: what its threads share (rate limits, what was read
of the document) is shared by all requests.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication

from appliance.console.app import create_app
from appliance.console.portal_address import portal_address, portal_port
from appliance.console.services import Services
from appliance.paths import Paths

THREADS: Final = 16
"""Requests at once; a commit takes one for as long as the applier works on it."""
KEEP_ALIVE_S: Final = 15
STOP_S: Final = 5


class Console(BaseApplication):  # type: ignore[misc]
    """gunicorn, set up by us and not by a file."""

    def __init__(self, make: Callable[[], Flask], settings: dict[str, Any]) -> None:
        self._make, self._settings = make, settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._make()


def tls(_config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """TLS 1.2 with forward secrecy, or 1.3."""
    context = default()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    return context


def settings(paths: Paths) -> dict[str, Any]:
    """gunicorn's."""
    host = portal_address()
    return {
        "bind": [f"[{host}]:{portal_port()}" if ":" in host else f"{host}:{portal_port()}"],
        "workers": 1,
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": KEEP_ALIVE_S,
        "timeout": 60,
        "graceful_timeout": STOP_S,
        "certfile": str(paths.console / "portal.crt"),
        "keyfile": str(paths.console / "portal.key"),
        "ssl_context": tls,
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,  # noqa: S108
        "limit_request_line": 8190,
        "limit_request_fields": 60,
        "limit_request_field_size": 8190,
        "accesslog": None,
        "errorlog": "-",
        "loglevel": "warning",
        "proc_name": "centralino-console",
        "control_socket_disable": True,
    }


def main() -> None:
    """Serve until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    paths = Paths.default()

    def make() -> Flask:
        return create_app(Services.open(paths))

    Console(make, settings(paths)).run()


if __name__ == "__main__":
    main()
