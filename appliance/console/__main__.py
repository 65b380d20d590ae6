"""The console's process: ``python -m appliance.console``, Flask under gunicorn with threads, on a Unix socket behind the gate
(:mod:`appliance.run.gate`), which ends TLS and tells the browser's address.

One process: what its threads share (rate limits, what was read of the document) is shared by all requests.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from flask import Flask
from gunicorn.app.base import BaseApplication
from werkzeug.middleware.proxy_fix import ProxyFix

from appliance.console.app import create_app
from appliance.console.limits import Buckets
from appliance.console.services import Services
from appliance.engine.unix import listening
from appliance.paths import Paths

THREADS: Final = 16
"""Requests at once; a commit takes one for as long as the applier works on it."""
SOCKET_MODE: Final = 0o600
BACKLOG: Final = 256
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


def settings(listener: socket.socket) -> dict[str, Any]:
    """gunicorn's."""
    return {
        "bind": [f"fd://{listener.fileno()}"],
        "workers": 1,
        "worker_class": "gthread",
        "threads": THREADS,
        "keepalive": KEEP_ALIVE_S,
        "timeout": 60,
        "graceful_timeout": STOP_S,
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


def main(limits: Buckets | None = None) -> None:
    """Serve until SIGTERM. ``limits``: how often one address may ask, if not as everywhere."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    paths = Paths.default()

    def make() -> Flask:
        app = create_app(Services.open(paths), limits)
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)  # type: ignore[method-assign]
        return app

    with listening(paths.console_socket, SOCKET_MODE) as listener:
        listener.listen(BACKLOG)
        Console(make, settings(listener)).run()


if __name__ == "__main__":
    main()
