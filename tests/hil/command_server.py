"""Runs the ``centralino`` command many times over: imports it once, then forks a process per run.

A run of its own takes half a second of importing; tests make hundreds. One JSON object per line: ``{"words", "env",
"typed"}`` in; ``{"code", "stdout", "stderr"}`` out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from typing import Any, NoReturn

import typer.rich_utils  # noqa: F401 (imported by the first run otherwise)

import appliance.applier.client
import appliance.applier.plan
import appliance.commands.doctor
import appliance.history.service
import appliance.run.status
import appliance.store.history  # noqa: F401
from appliance.cli import main


def run(request: dict[str, Any]) -> dict[str, Any]:
    """One run of the command in a process of its own."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write((request["typed"] or "").encode())
        stdin.seek(0)
        child = os.fork()
        if child == 0:
            for number, file in enumerate((stdin, stdout, stderr)):
                os.dup2(file.fileno(), number)
            _become(request)
        _pid, status = os.waitpid(child, 0)
        stdout.seek(0)
        stderr.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "stdout": stdout.read().decode(),
            "stderr": stderr.read().decode(),
        }


def _become(request: dict[str, Any]) -> NoReturn:
    os.environ.update(request["env"])
    sys.argv = ["centralino", *request["words"]]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as error:
        code = int(error.code or 0) if not isinstance(error.code, str) else 1
    except BaseException:  # noqa: BLE001 (as the interpreter does it)
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)  # noqa: T201
