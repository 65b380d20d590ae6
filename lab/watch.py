"""How the lab stands, looked at once a second for everybody who asks."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from lab.calls import Talk
from lab.plan import BRANCHES, CENTRE, LINES
from lab.topology import Lab

LOOK_S: Final = 1.0


class Watch:
    """See this module; a thread while the ``with`` lasts."""

    def __init__(self, lab: Lab, talk: Talk) -> None:
        self._lab, self._talk = lab, talk
        self._counted: dict[str, Any] = {}
        self._at = time.monotonic()
        self.now: dict[str, Any] = self._look()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.now = self._look()

    def _look(self) -> dict[str, Any]:
        counted, at = self._lab.counted(), time.monotonic()
        took = max(0.1, at - self._at)
        found = {
            "centre": self._lab.harmed.get(CENTRE, "well"),
            "branches": [self._branch(branch.site, branch.name, counted, took) for branch in BRANCHES],
            "calls": self._talk.told(),
        }
        self._counted, self._at = counted, at
        return found

    def _branch(self, site: str, name: str, counted: dict[str, Any], took: float) -> dict[str, Any]:
        told = self._lab.branch(site)
        standing = {each["name"]: each for each in told.get("lines", ())}
        lines = []
        for line in LINES:
            link = f"{site}-{line.id}"
            seen = standing.get(link, {})
            lines.append({
                "link": link, "isp": line.isp.name, "role": line.role, "up": seen.get("up"), "rtt_ms": seen.get("rtt_ms"),
                "profile": self._lab.profiles[link], "harmed": self._lab.harmed.get(link, "well"),
                **{way: self._rate(counted, link, way, took) for way in ("up_now", "down_now")},
            })  # fmt: skip
        return {"site": site, "name": name, "connected": bool(told.get("connected")), "lines": lines}

    def _rate(self, counted: dict[str, Any], link: str, way: str, took: float) -> dict[str, float]:
        """Packets a second on a line one way, and the share of them that is lost."""
        end = way.removesuffix("_now")
        now, before = counted.get(link, {}).get(end), self._counted.get(link, {}).get(end)
        if not now or not before:
            return {"rate": 0.0, "lost": 0.0}
        passed, lost = now["passed"] - before["passed"], now["lost"] - before["lost"]
        return {"rate": round((passed + lost) / took), "lost": lost / (passed + lost) if passed + lost else 0.0}
