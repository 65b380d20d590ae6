"""The one runner of external commands: argument lists only, each logged with duration and exit code."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from appliance.core.errors import CentralinoError, UnavailableError
from appliance.engine.processes import held_together

_log = logging.getLogger("centralino.runner")

NOT_FOUND = 127
TAIL_LINES = 12
_GRACE_S = 5.0


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command: ``output`` is its standard output and error, in order, as text."""

    argv: tuple[str, ...]
    exit_code: int
    output: str
    seconds: float

    @property
    def tail(self) -> str:
        """The last lines of the output: enough for an error message."""
        return "\n".join(self.output.strip().splitlines()[-TAIL_LINES:])


class CommandError(CentralinoError):
    """A command ended with an exit code other than zero; ``completed`` has its output."""

    error_id = "command_failed"

    def __init__(self, completed: Completed, hint: str = "") -> None:
        self.completed = completed
        last = completed.output.strip().splitlines()[-1:] or ["no output"]
        super().__init__(f"{completed.argv[0]} ended with exit code {completed.exit_code}: {last[0]}", hint)


def run(
    argv: Sequence[str],
    *,
    timeout_s: float = 60.0,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    input_text: str | None = None,
    on_line: Callable[[str], None] | None = None,
    redact: Sequence[str] = (),
) -> Completed:
    """Run ``argv`` to its end and return its output; never through a shell.

    :param timeout_s: seconds until it is ended (SIGTERM, then SIGKILL to its whole process group).
    :param check: raise :class:`CommandError` when the exit code isn't 0.
    :param env: the whole environment; ``None`` keeps ours.
    :param on_line: called with each line as it comes.
    :param redact: texts that the log must not show.
    :raises UnavailableError: the program isn't there (``program_missing``) or took too long (``command_timeout``).
    """
    began = time.monotonic()
    process: subprocess.Popen[bytes] | None = None
    try:
        with held_together():
            process = _begin(argv, env, input_text)
        output = _collect(process, began + timeout_s, on_line)
        exit_code = process.wait(max(0.1, began + timeout_s - time.monotonic()))
    except FileNotFoundError as error:
        _record(argv, NOT_FOUND, 0.0, redact)
        raise UnavailableError(
            f"{argv[0]} is not installed", f"apt install {argv[0]}", error_id="program_missing"
        ) from error
    except BaseException as error:
        if process is not None:
            end(process)
        if not isinstance(error, TimeoutError | subprocess.TimeoutExpired):
            raise
        _record(argv, process.returncode if process else None, time.monotonic() - began, redact)
        raise UnavailableError(f"{argv[0]} didn't end within {timeout_s:g} s", error_id="command_timeout") from error
    finally:
        if process is not None and process.stdout is not None:
            process.stdout.close()
    completed = Completed(tuple(argv), exit_code, output, time.monotonic() - began)
    _record(argv, exit_code, completed.seconds, redact)
    if check and exit_code != 0:
        raise CommandError(completed)
    return completed


def _begin(argv: Sequence[str], env: Mapping[str, str] | None, input_text: str | None) -> subprocess.Popen[bytes]:
    with _input(input_text) as stdin:
        return subprocess.Popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            start_new_session=True,
        )


@contextlib.contextmanager
def _input(text: str | None) -> Iterator[int]:
    """What a program reads from: memory rather than a pipe, so that one that never reads, or talks first, hangs nobody."""
    if text is None:
        yield subprocess.DEVNULL
        return
    with os.fdopen(os.memfd_create("input"), "wb") as file:
        file.write(text.encode())
        file.flush()
        file.seek(0)
        yield file.fileno()


def _collect(process: subprocess.Popen[bytes], deadline: float, on_line: Callable[[str], None] | None) -> str:
    assert process.stdout is not None  # noqa: S101 (narrows the type: we asked for a pipe)
    whole, line = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            chunk = os.read(process.stdout.fileno(), 65536)
            if not chunk:
                break
            whole += chunk
            line += chunk
            while on_line and b"\n" in line:
                first, _, rest = bytes(line).partition(b"\n")
                line = bytearray(rest)
                on_line(first.decode(errors="replace"))
    return whole.decode(errors="replace")


def end(process: subprocess.Popen[bytes], grace_s: float = _GRACE_S) -> None:
    """End a process that was started with ``start_new_session``, politely, then by force; and its children by force."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _record(argv: Sequence[str], exit_code: int | None, seconds: float, redact: Sequence[str]) -> None:
    text = shlex.join(argv)
    for secret in redact:
        text = text.replace(secret, "•••")
    level = logging.DEBUG if exit_code == 0 else logging.INFO
    _log.log(level, "ran %s: exit code %s in %.3f s", text, exit_code, seconds)
