"""One relay, until it is told to end; with ``--held``, below a process that keeps its sockets (:mod:`.holder`).

All that is its own lies in one directory: what it goes by (``config.json``, written by whoever starts it), what its successor needs, how it stands.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.failover.relay.centre_process import CentreProcess
from appliance.failover.relay.edge_process import EdgeProcess
from appliance.failover.relay.holder import Holder
from appliance.failover.relay.process import Process
from appliance.failover.relay.stock_process import StockProcess

ENDS: Final[Mapping[str, type[Process]]] = {"edge": EdgeProcess, "centre": CentreProcess, "stock": StockProcess}


def main(words: list[str]) -> int:
    """:return: 0, or 2 and a word on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m appliance.failover.relay", description=__doc__)
    parser.add_argument("end", choices=tuple(ENDS))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--held", action="store_true", help="its sockets outlive it")
    parser.add_argument("--user", help="whom the relay becomes; the process that holds its sockets doesn't")
    parser.add_argument("--pid", type=Path, help="file that names the relay, out of its own reach")
    parser.add_argument(
        "--client", type=Path, help="PID file of OpenVPN's client, which begins anew with another server"
    )
    given = parser.parse_args(words)
    if given.held:
        return Holder(lambda: _run(given.end), given.directory, given.user, given.client, given.pid).run()
    os.chdir(given.directory)
    return _run(given.end)


def _run(end: str) -> int:
    """In its directory: whoever it has become needn't get into those above."""
    try:
        ENDS[end](Path()).run()
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
