"""Turns pages of a history until SIGTERM, then prints how many and how long 95 of 100 took at most, in milliseconds.

The database's URL comes by the environment variable ``BENCH_HISTORY_URL``.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time

from appliance.history.filter import CallFilter
from appliance.history.model import Outcome
from appliance.history.service import History
from appliance.store.history import open_history


def main() -> None:
    """Read on and on, at a pace: ten pages a second, what a few people at their portals make."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    database = open_history(os.environ["BENCH_HISTORY_URL"])
    history = History(database)
    filters = (
        CallFilter(),
        CallFilter(number="2037"),
        CallFilter(trunk="trunk-1"),
        CallFilter(outcome=Outcome.BUSY, site="site-7"),
        CallFilter(number_prefix="+39020"),
    )
    times: list[float] = []
    while not stop.wait(0.1):
        began = time.perf_counter()
        history.calls(filters[len(times) % len(filters)])
        times.append(time.perf_counter() - began)
        if len(times) == 1:
            print("reading", flush=True)
    database.close()
    slowest = statistics.quantiles([*times, *times], n=20, method="inclusive")[-1]
    print(len(times), round(1000 * slowest, 1), flush=True)


if __name__ == "__main__":
    main()
