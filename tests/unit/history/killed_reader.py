"""Reads a spool and is killed in the middle, again and again: python -m tests.unit.history.killed_reader DIR URL KILLS

Prints as JSON how many readers were killed while at work, and how many of them had got further than the one before.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from sqlalchemy import func, select

from appliance.history.ingest import Ingest
from appliance.history.spool import Spool
from appliance.store import history as table
from appliance.store.database import Database

CHUNK = 1500


def read_on(directory: Path, url: str) -> None:
    database = table.open_history(url)
    Ingest(database, Spool(directory, CHUNK)).drain()


def place(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(func.coalesce(func.sum(table.spool_file.c.offset), 0))).scalar_one())


def main(directory: Path, url: str, kills: int) -> None:
    rng = random.Random(7)
    killed = further = before = 0
    database = table.open_history(url)
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            read_on(directory, url)
            os._exit(0)
        end = time.monotonic() + 10
        while place(database) == before and time.monotonic() < end:
            time.sleep(0.0005)
        time.sleep(rng.random() * 0.01)  # a random moment of its work
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        now = place(database)
        further += now > before
        before = now
    database.close()
    size = (directory / "events.csv").stat().st_size
    print(json.dumps({"killed": killed, "further": further, "read": before, "size": size}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
