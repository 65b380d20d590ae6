"""Processes of the voice VPN's authority that tests kill, or whose disk is full. Each prints one line of JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from appliance.core.errors import CentralinoError
from appliance.paths import CHECKOUT, VpnPaths
from appliance.vpn.pki import Authority, issuing, vault
from tests.unit.vpn.ground import DAY, PASSPHRASE, START, SetClock, csr


def checkpoints() -> list[str]:
    """All that stand in the source."""
    source = "".join(path.read_text() for path in sorted((CHECKOUT / "appliance" / "vpn" / "pki").glob("*.py")))
    return re.findall(r'checkpoint\("(pki:[a-z-]+)"\)', source)


def kill(directory: str) -> None:
    """A child of ours is killed at every checkpoint of everything that has some; then the same goes through."""
    top = Path(directory)
    issuing.RESERVE_BYTES = vault.RESERVE_BYTES = 100  # type: ignore[misc]
    paths, clock = VpnPaths(top / "vpn"), SetClock()
    Authority(paths, clock).create()
    copy = Authority(paths, clock).root.export(PASSPHRASE)
    milan = Authority(paths, clock).enrol("milan", csr()).issued
    shutil.copytree(paths.top, top / "kept")
    spare = csr()
    steps: list[Callable[[Authority], object]] = [
        lambda authority: authority.enrol("milan", spare),
        lambda authority: authority.upkeep(),
        lambda authority: authority.root.revoke_intermediate(1, copy=copy, passphrase=PASSPHRASE),
    ]
    killed, wrong = set(), []
    for number, step in enumerate(steps):
        clock.now = milan.due if number else START
        for name in checkpoints():
            shutil.rmtree(paths.top)
            shutil.copytree(top / "kept", paths.top)
            if not _dies(name, lambda step=step: step(Authority(paths, clock))):  # type: ignore[misc]
                continue
            killed.add(name)
            authority = Authority(paths, clock)
            if milan not in authority.issued("milan"):
                wrong.append([number, name, "forgotten"])
            step(authority)
            left = {each.error_id for each in authority.upkeep().faults}
            if left - {"root_not_exported"}:
                wrong.append([number, name, sorted(left)])
    for name in checkpoints():
        shutil.rmtree(paths.top)
        if not _dies(name, lambda: Authority(paths, clock).create()):
            continue
        killed.add(name)
        if not Authority(paths, clock).exists:
            Authority(paths, clock).create()
        if {each.error_id for each in Authority(paths, clock).upkeep().faults} != {"root_not_exported"}:
            wrong.append(["create", name])
    print(json.dumps({"missed": sorted(set(checkpoints()) - killed), "wrong": wrong}))  # noqa: T201


def _dies(name: str, action: Callable[[], object]) -> bool:
    """Whether a child that does it is killed at a checkpoint."""
    child = os.fork()
    if not child:
        os.environ["CENTRALINO_CRASH_AT"] = name
        try:
            action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def fill(directory: str) -> None:
    """On a disk of three megabytes of its own: fill it, see what still goes, make room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", directory], check=True)
    top = Path(directory)
    clock = SetClock()
    authority = Authority(VpnPaths(top / "vpn"), clock)
    authority.create()
    milan, rome = (authority.enrol(site, csr()).issued for site in ("milan", "rome"))
    clock.now = milan.due
    authority.upkeep()
    clock.pass_(31 * DAY)
    told: dict[str, object] = {}

    def tried(name: str, action: Callable[[], object]) -> None:
        try:
            action()
            told[name] = "done"
        except CentralinoError as error:
            told[name] = error.error_id

    _fill_up(top / "ballast")
    before = {path: path.read_bytes() for path in authority.paths.openvpn.rglob("*") if path.is_file()}
    tried("enrol", lambda: authority.enrol("bari", csr()))
    tried("renew", lambda: authority.renew(milan.serial, csr()))
    told["upkeep"] = sorted({each.error_id for each in authority.upkeep().faults})
    told["same"] = before == {path: path.read_bytes() for path in authority.paths.openvpn.rglob("*") if path.is_file()}
    tried("revoke", lambda: authority.revoke(milan.serial))
    told["listed"] = milan.serial in _listed(authority)
    _fill_up(top / "more-ballast")
    tried("revoke without reserve", lambda: authority.revoke(rome.serial))
    (top / "ballast").unlink()
    (top / "more-ballast").unlink()
    tried("revoke again", lambda: authority.revoke(rome.serial))
    told["listed again"] = {milan.serial, rome.serial} <= _listed(authority)
    told["healed"] = sorted({each.error_id for each in authority.upkeep().faults})
    told["reserve"] = (authority.paths.ca / "reserve").exists()
    tried("enrol again", lambda: authority.enrol("bari", csr()))
    print(json.dumps(told))  # noqa: T201


def _listed(authority: Authority) -> set[str]:
    from appliance.vpn.pki.vault import lists

    found = lists(authority.paths.crl.read_bytes())
    return {f"{each.serial_number:032x}" for one in found for each in one}


def _fill_up(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\x00" * 4096)
        except OSError:
            pass


if __name__ == "__main__":
    {"kill": kill, "fill": fill}[sys.argv[1]](sys.argv[2])
