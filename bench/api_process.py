"""``python -m bench.api_process [ours|bare]``: the console without its limit of requests, or the baseline in its place.

The baseline is the same server with an application that answers every request with the same 200 bytes: what is left when neither
document nor rights nor pages are there.
"""

from __future__ import annotations

import sys

from flask import Flask, Response

from appliance.console.__main__ import BACKLOG, SOCKET_MODE, Console, main, settings
from appliance.console.limits import Buckets
from appliance.engine.unix import listening
from appliance.paths import Paths


def bare() -> Flask:
    """Knows nothing."""
    app = Flask("bare")

    @app.get("/<path:path>")
    def answer(path: str) -> Response:  # noqa: ARG001
        return Response("{" + " " * 198 + "}", mimetype="application/json")

    return app


if __name__ == "__main__":
    if sys.argv[1:] == ["bare"]:
        with listening(Paths.default().console_socket, SOCKET_MODE) as listener:
            listener.listen(BACKLOG)
            Console(bare, settings(listener)).run()
    else:
        main(Buckets(1e6, 1_000_000))
