"""An engine of the product's own making, started by the product's own launcher, for tests of the engine itself."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from appliance.engine.launch import Engine, EngineLauncher
from appliance.engine.plan import EngineParams, static_files
from appliance.engine.root import EngineRoot
from appliance.history import legs
from appliance.paths import EnginePaths

PJSIP = """\
[loopback]
type=transport
protocol=udp
bind=127.0.0.1:{sip_port}

[200]
type=endpoint
context=test
disallow=all
allow=alaw,g722,opus
aors=200

[200]
type=aor
max_contacts=2
"""
EXTENSIONS = """\
[test]
exten => _2XX,hint,PJSIP/${EXTEN}
exten => _2XX,1,Dial(PJSIP/${EXTEN})
exten => 300,1,Answer()
same => n,Wait(600)
"""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback that nobody uses right now."""
    with socket.socket(socket.AF_INET, kind) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def write_generation(launcher: EngineLauncher, files: dict[str, str], number: int = 1) -> Path:
    """Lay down a configuration and put it in force, as the applier does."""
    generation = launcher.paths.config / f"gen-{number:06}"
    generation.mkdir()
    for name, text in files.items():
        (generation / name).write_text(text)
    launcher.grant(generation)
    link = launcher.paths.config / "next"
    link.symlink_to(generation.name)
    link.rename(launcher.paths.current)
    return generation


def prepared(root: EngineRoot, top: Path, **changes: object) -> EngineLauncher:
    """A launcher whose installation below ``top`` has a small configuration."""
    launcher = EngineLauncher(root, EnginePaths(top), ami_port=free_port())
    launcher.prepare()
    params = EngineParams(ami_secret=launcher.read_ami_secret(), ami_port=launcher.ami_port, **changes)  # type: ignore[arg-type]
    dialplan = EXTENSIONS + "\n".join(section.text() for section in legs.contexts())
    small = {"pjsip.conf": PJSIP.format(sip_port=free_port(socket.SOCK_DGRAM)), "extensions.conf": dialplan}
    write_generation(launcher, static_files(params) | small)
    return launcher


@contextlib.contextmanager
def started(launcher: EngineLauncher) -> Iterator[Engine]:
    """The engine, running; killed at the end if it still does."""
    engine = launcher.start()
    try:
        yield engine
    finally:
        engine.kill()
