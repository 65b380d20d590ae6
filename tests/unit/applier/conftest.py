"""An applier without an engine: real store, real files, real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.applier.__main__ import make
from appliance.applier.client import ApplierClient
from appliance.applier.link import Settings
from appliance.applier.server import Server
from appliance.applier.service import Service
from appliance.paths import Paths
from appliance.store import Store

NOBODY_LISTENS = 1
"""A port on which nothing answers (RFC 1078's, retired)."""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(state=tmp_path / "state", cache=tmp_path / "cache")
    made.engine.top.mkdir(parents=True)
    made.engine.ami_secret.write_text("of-the-test")
    return made


@pytest.fixture
def store(paths: Paths) -> Iterator[Store]:
    paths.document_db.parent.mkdir(parents=True)
    with Store(f"sqlite:///{paths.document_db}") as opened:
        yield opened


@pytest.fixture
def service(paths: Paths, store: Store) -> Service:
    made = make(paths, Settings(port=NOBODY_LISTENS), store)
    made.converge()
    return made


@pytest.fixture
def server(paths: Paths, service: Service) -> Iterator[Path]:
    """The path of a socket that is served."""
    running = Server(paths.applier_socket, service, line_s=1.0)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not paths.applier_socket.exists():
            assert thread.is_alive()
        yield paths.applier_socket
    finally:
        running.stop()
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture
def client(server: Path) -> ApplierClient:
    return ApplierClient(server)
