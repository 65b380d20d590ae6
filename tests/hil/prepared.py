"""``python -m tests.hil.prepared MODULE``: a daemon that has its imports done, and starts when it is told to.

It is told by one line on standard input: JSON of further environment. Without one it ends.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def wait(module: str) -> int:
    """Import the daemon's ``__main__``, wait for the line, run it."""
    main = importlib.import_module(f"{module}.__main__").main
    line = sys.stdin.readline()
    if not line:
        return 0
    os.environ.update(json.loads(line))
    code: int = main()
    return code


if __name__ == "__main__":
    sys.exit(wait(sys.argv[1]))
