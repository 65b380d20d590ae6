"""``python -m appliance.vpn.enrolment LISTENING LINK``: the gate's front (:mod:`.front`); only :mod:`.gate` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from appliance.vpn.enrolment.front import serve


def main() -> int:
    """Exit code 0; 2: not started by the gate."""
    try:
        listening, link = map(int, sys.argv[1:])
    except ValueError:
        return 2
    with contextlib.suppress(KeyboardInterrupt, ConnectionError):
        asyncio.run(serve(listening, link))
    return 0


if __name__ == "__main__":
    sys.exit(main())
