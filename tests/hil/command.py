"""The ``centralino`` command under test: run as people and programs run it, on a host of the test network.

with Command(host, system.environment, work) as command:
    command("plan")  # what it says; it must succeed
    command.json("status")  # the same as data
    command.refused("commit")  # the one line of its error
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.hil.agents.network import Host
from tests.hil.agents.process import Child

PROGRAM: Final = str(Path(sys.executable).with_name("centralino"))


class Command:
    """Each run is a process forked from one that has the imports done.

    :param host: ``None``: where the tests are.
    :param environment: holds CENTRALINO_STATE and _CACHE, unless each run is told of them.
    :param under: what it is run by, to be another user, say.
    """

    def __init__(
        self, host: Host | None, environment: Mapping[str, str], work: Path, under: Sequence[str] = ()
    ) -> None:
        self.host = host
        self._under = under
        self.environment = {**environment, "LC_ALL": "C.UTF-8", "COLUMNS": "200"}
        self._work = work

    def __enter__(self) -> Self:
        argv = [*self._under, sys.executable, "-m", "tests.hil.command_server"]
        start = Child if self.host is None else self.host.start
        self._server: Child = start(argv, self._work / "command.log", env=self.environment, pipes=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()

    def run(self, author: str, words: tuple[str, ...], typed: str | None, env: Mapping[str, str]) -> Run:
        """Run it to its end, whatever that is."""
        request = {"words": words, "typed": typed, "env": {"CENTRALINO_AUTHOR": author, **env}}
        pipes = self._server.process
        assert pipes.stdin is not None
        assert pipes.stdout is not None
        pipes.stdin.write(json.dumps(request).encode() + b"\n")
        pipes.stdin.flush()
        line = pipes.stdout.readline()
        assert line, self._server.text()
        return Run(words, **json.loads(line))


@dataclass(frozen=True)
class Run:
    """One run that has ended."""

    words: tuple[str, ...]
    code: int
    stdout: str
    stderr: str

    def __str__(self) -> str:
        return f"centralino {' '.join(self.words)}: {self.code}\n{self.stdout}{self.stderr}"


@dataclass(frozen=True)
class As:
    """The command as one person runs it: what they stage is their own."""

    command: Command
    author: str = "tester"

    def run(self, *words: str, typed: str | None = None, **env: str) -> Run:
        """Run it to its end, whatever that is."""
        return self.command.run(self.author, words, typed, env)

    def __call__(self, *words: str, typed: str | None = None, **env: str) -> str:
        """What it says; it must succeed."""
        done = self.run(*words, typed=typed, **env)
        assert done.code == 0, done
        return done.stdout

    def json(self, *words: str, typed: str | None = None, **env: str) -> Any:
        """What it says with ``--json``: exactly one JSON document."""
        return json.loads(self(*words, "--json", typed=typed, **env))

    def refused(self, *words: str, typed: str | None = None, **env: str) -> str:
        """The one line of its error; exit code 1, nothing on standard output."""
        done = self.run(*words, typed=typed, **env)
        assert done.code == 1, done
        assert done.stdout == ""
        assert done.stderr.startswith("error "), done
        assert done.stderr.count("\n") == 1, done
        return done.stderr.removeprefix("error ").rstrip("\n")

    def process(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A process from the installed script, with nothing prepared."""
        environment = {**self.command.environment, "CENTRALINO_AUTHOR": self.author, **env}
        argv = [PROGRAM, *words]
        if self.command.host is not None:
            argv = self.command.host.argv(argv)
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
