"""Requests to the API and pages of the portal with 5,000 extensions: how many a second, how late, and what the processes cost.

Through the gate by HTTPS, as programs do it, with eight connections that are kept: one object (``get``), a page of fifty (``list``), both
with an API key. ``page_ms`` is the portal's list of extensions as the console itself answers it, without gate and TLS, one request at a
time, for somebody who signed in. Baseline: the same server and gate with an application that always answers the same 200 bytes.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from appliance.access import sessions as browser_sessions
from appliance.access.access import Access
from appliance.access.sessions import COOKIE, Stage
from appliance.engine.processes import descendants
from appliance.engine.unix import connect
from appliance.organisation.model import Person
from appliance.paths import Paths
from appliance.run import gate, web
from appliance.run.certificate import ensure_certificate
from appliance.store import Store
from bench import Result, Say
from bench.processes import rss_mb
from tests.hil.agents.process import Child, eventually
from tests.hil.system import objects, office

EXTENSIONS: Final = 5000
CONNECTIONS: Final = 8
SECONDS: Final = 15.0
PAGES: Final = 60
ROOT: Final = Path(__file__).parents[1]
TARGETS: Final = {"page_p95_ms": "<= 150", "start_s": "<= 3"}


def run(smoke: bool, say: Say) -> Result:
    """Measure; ``smoke``: 200 extensions, one second each."""
    extensions, seconds, pages = (200, 1.0, 5) if smoke else (EXTENSIONS, SECONDS, PAGES)
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths(Path(folder) / "state", Paths.default().cache)
        key, cookie = prepared(paths, extensions)
        say(f"{extensions} extensions are committed")
        figures: dict[str, Any] = {"extensions": extensions, "connections": CONNECTIONS}
        with served(paths, "ours") as (port, child, started_s):
            figures["start_s"] = round(started_s, 2)
            figures |= asked(port, key, extensions, seconds, say)
            figures |= page(paths, cookie, pages, extensions // 50)
            figures["console_mb"] = round(
                sum(rss_mb(pid) for pid in (child.process.pid, *descendants(child.process.pid))), 1
            )
            say(f"portal's list: {figures['page_p95_ms']} ms (95 %), console {figures['console_mb']} MB")
        with served(paths, "bare") as (port, _child, started_s):
            baseline = {"start_s": round(started_s, 2)} | asked(port, key, extensions, seconds, say)
    figures["get_to_bare_ratio"] = round(figures["get_per_second"] / baseline["get_per_second"], 2)
    return Result("api", figures, baseline, TARGETS)


def prepared(paths: Paths, extensions: int) -> tuple[str, str]:
    """A document, and somebody who may everything: an API key, and the cookie of a browser's session."""
    web.make_places(paths)
    ensure_certificate(paths.gate, "portal", ("localhost",))
    person = Person(id="boss", name="Administrator", roles=("administrator",))
    with Store.default(paths) as store:
        rows = objects(office("192.0.2.10", extensions, first=10_000))
        store.promote(store.propose([*rows, person], (), base=0, author="bench", message="bench").number)
    with Access.open(paths) as access:
        key = access.keys.make("boss", "bench", ["*:edit"])[1]
        with access.database.write() as connection:
            token = browser_sessions.create(connection, access.clock(), "boss", Stage.FULL, "127.0.0.1", "bench")[1]
    return key, token


@contextmanager
def served(paths: Paths, kind: str) -> Iterator[tuple[int, Child, float]]:
    """The port of a gate before a console (or the baseline), the console, and the seconds that it took to answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    gate.prepare(paths, "127.0.0.1", port)
    env = {**os.environ, "CENTRALINO_STATE": str(paths.state), "CENTRALINO_PORTAL_URL": f"https://localhost:{port}"}
    began = time.monotonic()
    with (
        Child(
            [sys.executable, "-m", "bench.api_process", kind], paths.state / f"{kind}.log", env=env, cwd=ROOT
        ) as console,
        Child(gate.command(paths), paths.state / "gate.log") as before,
    ):

        def up() -> bool:
            assert console.running, console.text()
            assert before.running, before.text()
            try:
                return status(port, "/api/v1/openapi.json") == 200
            except OSError:
                return False

        eventually(up, "it answers", 60)
        yield port, console, time.monotonic() - began


def connection(port: int) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection("127.0.0.1", port, context=ssl._create_unverified_context(), timeout=30)  # noqa: S323


def status(port: int, path: str) -> int:
    asking = connection(port)
    try:
        asking.request("GET", path)
        return asking.getresponse().status
    finally:
        asking.close()


def asked(port: int, key: str, extensions: int, seconds: float, say: Say) -> dict[str, Any]:
    """Requests a second and their times, of single objects and of lists."""
    paths: dict[str, Callable[[int], str]] = {
        "get": lambda n: f"/api/v1/objects/extension/ext-{10_000 + n % extensions}",
        "list": lambda n: f"/api/v1/objects/extension?limit=50&offset={50 * n % extensions}",
    }
    found: dict[str, Any] = {}
    for name, path in paths.items():
        times = hammered(port, key, path, seconds)
        found[f"{name}_per_second"] = round(len(times) / seconds, 1)
        found[f"{name}_p50_ms"], found[f"{name}_p99_ms"] = percentile(times, 0.5), percentile(times, 0.99)
        say(
            f"{name}: {found[f'{name}_per_second']}/s, {found[f'{name}_p50_ms']} ms (half), {found[f'{name}_p99_ms']} ms (99 %)"
        )
    return found


def hammered(port: int, key: str, path: Callable[[int], str], seconds: float) -> list[float]:
    """Milliseconds of each request that several connections made one after the other."""
    times: list[float] = []
    faults: list[str] = []
    end = time.monotonic() + seconds

    def work(first: int) -> None:
        asking, number = connection(port), first
        try:
            while (began := time.monotonic()) < end:
                asking.request("GET", path(number), headers={"Authorization": f"Bearer {key}"})
                answer = asking.getresponse()
                answer.read()
                if answer.status != 200:
                    faults.append(f"{path(number)}: {answer.status}")
                    return
                times.append(1000 * (time.monotonic() - began))
                number += CONNECTIONS
        finally:
            asking.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults[0]
    return times


def page(paths: Paths, cookie: str, pages: int, last: int) -> dict[str, Any]:
    """Milliseconds that the console takes for a page of the portal's list."""
    times = []
    for number in range(pages):
        asking = http.client.HTTPConnection("console", timeout=30)
        asking.sock = socket.socket(socket.AF_UNIX)
        connect(asking.sock, paths.console_socket)
        began = time.monotonic()
        asking.request(
            "GET",
            f"/objects/extension?page={number % last + 1}",
            headers={"Cookie": f"{COOKIE}={cookie}", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https"},
        )
        answer = asking.getresponse()
        text = answer.read()
        assert answer.status == 200, answer.status
        assert b"ext-" in text
        times.append(1000 * (time.monotonic() - began))
        asking.close()
    return {"page_p50_ms": percentile(times, 0.5), "page_p95_ms": percentile(times, 0.95)}


def percentile(times: Sequence[float], share: float) -> float:
    """In ms."""
    return round(sorted(times)[min(len(times) - 1, int(len(times) * share))], 1)
