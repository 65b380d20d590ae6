"""What keeps something on the disk, on a disk of its own that is really full: run within ``unshare --mount``, prints one line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.clock import system_clock
from appliance.core.errors import CentralinoError
from appliance.edge.clock import EdgeClock, keep_system_clock
from appliance.edge.trials import Refused
from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.keeper import Keeper
from appliance.firewall.bans.opened import LateDatabase
from appliance.names.answers import Answer, Limits, Question, Target
from appliance.names.keeper import Names, known_in
from appliance.names.wanted import Wanted
from appliance.paths import Paths
from appliance.turn.keys import AGE_S, Keys
from appliance.vpn.enrolment.codes import new_code
from appliance.vpn.enrolment.waiting import Invitations
from appliance.vpn.inside.reports import Reports, read
from tests.hil.vpn_child import _fill_up
from tests.unit.edge.slices import a_slice
from tests.unit.firewall.attempts import scan

NAME = Question(name="sip.example.com")
HOUR_MS = 3_600_000


class Ground:
    """One of each keeper, on that disk."""

    def __init__(self, top: Path) -> None:
        self.paths = Paths(top, top)
        self.database = LateDatabase(self.paths)
        self.bans, self.judge = Keeper(self.database), Judge()
        self.timeline = self.bans.load(system_clock()).timeline
        self.address = "198.51.100.1"
        self.names = Names(self.paths.names, self.ask)
        self.names.follow(Wanted({NAME.key: NAME}, {NAME.key: Limits()}))
        self.keys = Keys(self.paths.turn.database)
        self.invitations = Invitations(self.paths.vpn)
        self.reports = Reports(self.paths.vpn.reports)
        self.clock = EdgeClock(top / "clock.json", keep_system_clock)
        self.refused = Refused(top / "refused.json")

    def ask(self, _questions: Any) -> dict[str, Answer]:
        return {NAME.key: Answer(ttl=60, targets=(Target(address=self.address, port=5060),))}

    def ban(self, source: str) -> int:
        """How many the database holds then. The whole is written, as the gate does after a failure."""
        self.judge.take(scan(self.timeline.at(system_clock()), source))
        self.bans.keep_all(self.judge.standing, (), system_clock(), self.timeline)
        return len(self.bans.load(system_clock()).bans)

    def name(self, address: str) -> list[str]:
        """What is used, and what stands in the file."""
        self.address = address
        self.names.again()
        self.names.work()
        return [*self.names.resolved()[NAME.key].sources, "|", *known_in(self.paths.names)[NAME.key].sources]

    def secret(self, days: int) -> int:
        """How many secrets are good; credentials can be made."""
        self.keys.tend(time.time() + days * AGE_S)
        return len(self.keys.newest()) and days

    def invite(self, site: str) -> list[str]:
        self.invitations.make(site, new_code("ab" * 32).secret, HOUR_MS)
        return sorted(self.invitations.open())

    def report(self, revision: int) -> str:
        said = {"digest": "0" * 32, "revision": revision, "standing": "confirmed"}
        self.reports.take("torino", "torino.1", read(json.dumps(said).encode()))
        return str((self.reports.of("torino") or {})["revision"])

    def edge(self) -> bool:
        """Neither stops the edge; whether the slice is known to be bad all the same."""
        now = system_clock()
        self.clock.told(now.wall, now.uptime, now.uptime)
        return self.refused.add(a_slice(), "why", system_clock()).times > 0


def main(top: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(top)], check=True)
    ground, told = Ground(top), dict[str, Any]()

    def tried(when: str, **steps: Callable[[], Any]) -> None:
        for name, step in steps.items():
            try:
                told[f"{name} {when}"] = step()
            except CentralinoError as error:
                told[f"{name} {when}"] = error.error_id
            except OSError as error:
                told[f"{name} {when}"] = type(error).__name__

    def all_of(n: int) -> dict[str, Callable[[], Any]]:
        return {
            "ban": lambda: ground.ban(f"203.{n}.113.1"), "name": lambda: ground.name(f"198.51.100.{n}"),
            "secret": lambda: ground.secret(n), "invite": lambda: ground.invite(f"site-{n}"), "report": lambda: ground.report(n),
            "edge": ground.edge,
        }  # fmt: skip

    tried("before", **all_of(1))
    _fill_up(top / "ballast")
    tried("full", **all_of(2))
    told["kept"] = [
        len(Keeper(LateDatabase(ground.paths)).load(system_clock()).bans),
        sorted(ground.invitations.open()),
    ]
    (top / "ballast").unlink()
    tried("after", **all_of(3))
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
