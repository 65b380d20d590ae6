"""A process that the tests of the store start, starve and kill: ``python store_child.py WHAT URL …``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from appliance.core.errors import CentralinoError, ConflictError
from appliance.organisation.model import Person
from appliance.store import Store


def write_for_ever(url: str) -> None:
    """Commit pairs of objects that must always be equal, and say each number once it is committed."""
    with Store(url) as store:
        count = store.head().number
        while True:
            count += 1
            pair = [Person(id=id, name=f"n{count}") for id in ("left", "right")]
            store.promote(store.propose(pair, base=store.head().number, author="child").number)
            print(count, flush=True)  # noqa: T201


def count_up(url: str, name: str, times: str) -> None:
    """Raise a counter that other processes raise too, and add an object of one's own each time."""
    with Store(url) as store:
        for number in range(int(times)):
            while True:
                head = store.head().number
                counter = store.document(head).find(Person, "counter")
                value = int(counter.name.split()[0]) if counter else 0
                put = [Person(id="counter", name=f"{value + 1} {name}"), Person(id=f"{name}-{number}", name="x")]
                try:
                    store.promote(store.rebase(store.propose(put, base=head, author=name).number).number)
                except ConflictError:
                    continue
                break


def fill_disk(directory: str) -> None:
    """On a disk of two megabytes of its own: commit until it is full, then make room and go on."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", directory], check=True)
    ballast = Path(directory) / "ballast"
    ballast.write_bytes(b"\x00" * 1_000_000)
    errors, done = [], 0
    with Store(f"sqlite:///{directory}/document.db") as store:
        for attempt in range(1000):
            people = [Person(id=f"p{attempt}-{number}", name="x" * 100) for number in range(100)]
            try:
                store.promote(store.propose(people, base=store.head().number, author="child").number)
                done += 1
            except CentralinoError as error:
                errors.append([error.error_id, error.hint])
                if len(errors) == 1:
                    store.check()
                    size = len(store.document())
                    ballast.unlink()
                if len(errors) == 2:
                    break
        store.check()
        head = store.document()
    with Store(f"sqlite:///{directory}/document.db") as store:
        same = len(store.document()) == len(head)
    print(json.dumps({"errors": errors, "done": done, "at_first": size, "objects": len(head), "same": same}))  # noqa: T201


def as_nobody(url: str) -> None:
    """Without any right to the directory."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        with Store(url) as store:
            store.propose([Person(id="x", name="x")], base=store.head().number, author="nobody")
    except CentralinoError as error:
        print(json.dumps([error.error_id, error.message, error.hint]))  # noqa: T201


if __name__ == "__main__":
    {"write": write_for_ever, "count": count_up, "fill": fill_disk, "nobody": as_nobody}[sys.argv[1]](*sys.argv[2:])
