"""The command in this process, against a real store and a real applier without an engine."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from appliance.cli import main
from appliance.commands import common
from appliance.organisation.model import Company, Secret
from appliance.paths import Paths
from appliance.store import Store
from tests.unit.applier.conftest import client, paths, server, service, store

__all__ = ["client", "paths", "server", "service", "store"]


@dataclass
class Command:
    """``run("history")`` gives what it says; ``run.refused(…)`` its error; ``run.json(…)`` its data."""

    monkeypatch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]

    def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        self.monkeypatch.setattr(sys, "argv", ["centralino", *words])
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        self.capture.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = self.capture.readouterr()
        return code, said.out, said.err

    def __call__(self, *words: str, typed: str = "") -> str:
        code, out, err = self.run(*words, typed=typed)
        assert code == 0, err
        return out

    def json(self, *words: str, typed: str = "") -> Any:
        return json.loads(self(*words, "--json", typed=typed))

    def refused(self, *words: str, typed: str = "") -> str:
        code, out, err = self.run(*words, typed=typed)
        assert (code, out) == (1, ""), (code, out)
        return err


@pytest.fixture
def run(
    server: object, paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    for name, value in (("STATE", paths.state), ("CACHE", paths.cache), ("AUTHOR", "tester"), ("LANGUAGE", "en")):
        monkeypatch.setenv(f"CENTRALINO_{name}", str(value))
    monkeypatch.delenv("CENTRALINO_STORE_URL", raising=False)
    for console in (common.out, common.err):  # made at their import, with the width that the environment had then
        monkeypatch.setattr(console, "width", 200)
    monkeypatch.setenv("COLUMNS", "200")
    with capture_logs():  # the applier of this process logs to standard output
        yield Command(monkeypatch, capsys)


@pytest.fixture
def demo(run: Command, store: Store, paths: Paths) -> Store:
    """A committed document: a company, and two secrets."""
    keyring = store.keyring(paths.secret_key)
    put = (
        Company(id="demo", name="Demo Srl"),
        *(Secret(id=id, value=keyring.seal(id, f"clear text of {id}")) for id in ("one", "two")),
    )
    store.stage("tester", put)
    run("commit", "--offline")
    return store
