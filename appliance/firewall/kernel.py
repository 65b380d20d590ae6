"""The kernel's side of the firewall: checks, loads and reads rule sets by ``nft``. Needs CAP_NET_ADMIN.

A load switches all rules in one transaction of the kernel: all of it is in force, or nothing has changed. nft killed in between leaves the
former rules; at most a set that no rule looks at is there, and the next load removes it. Bans live in a table of their own, which no load touches.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import ApplyError, UnavailableError
from appliance.engine.runner import Completed, run
from appliance.firewall import loopback
from appliance.firewall.rules import COUNTERS, DIGEST, GATE, TABLE
from appliance.firewall.sysctl import Differing, differing, put
from appliance.firewall.transition import Standing, transitions
from appliance.firewall.tuning import parsed

_log = logging.getLogger("centralino.firewall")

TIMEOUT_S: Final = 30.0
_NO_SUCH: Final = "No such file or directory"


@dataclass(frozen=True, slots=True)
class Counter:
    """What a named counter has seen since rules of ours were first loaded."""

    name: str
    packets: int
    bytes: int

    @property
    def label(self) -> str:
        """In words for people (English; interfaces translate)."""
        return COUNTERS.get(self.name, self.name)


@dataclass(frozen=True, slots=True)
class Kernel:
    """The rules of one network namespace; None: ours."""

    network_namespace: str | None = None

    def check(self, script: str) -> None:
        """:raises ApplyError: the kernel would refuse it; nothing has changed either way."""
        self._refused(self._nft("--check", "--file", "-", script=script))

    def load(self, script: str) -> None:
        """Put it in force, all or nothing, and without a packet lost that the former rules let in too (:mod:`.transition`).

        :raises ApplyError: it was refused, and the former rules stand.
        """
        standing = Standing.of(self._listed("--terse", "list", "table", "inet", TABLE))
        steps = transitions(script, TABLE, standing)
        for step in steps:
            done = self._nft("--file", "-", script=step)
            if done.exit_code:
                _log.warning("rules are replaced as a whole: %s", done.tail or "no output")
                break
        else:
            if steps:
                return
        self._refused(self._nft("--file", "-", script=script))

    def tune(self, settings: str) -> tuple[Differing, ...]:
        """Make these settings (:func:`appliance.firewall.tuning.text`), and the loopback's routes; those that the kernel doesn't take."""
        return (*put(parsed(settings), self.network_namespace), *loopback.put(self.network_namespace))

    def untuned(self, settings: str) -> tuple[Differing, ...]:
        """Those that aren't made."""
        return (*differing(parsed(settings), self.network_namespace), *loopback.lacking(self.network_namespace))

    def unload(self) -> None:
        """Take our rules away: everything is open. Idempotent."""
        self.load(f"table inet {TABLE}\ndelete table inet {TABLE}\n")

    def open_gate(self, port: int, lasts_s: float) -> None:
        """Open the gate for new edges at a TCP port, for so many seconds at most; harmless when it is open. Rules that are replaced as a
        whole shut it: open it again.

        :raises ApplyError: the kernel refuses, or has no rules of ours.
        """
        self._refused(self._nft("add", "element", "inet", TABLE, GATE, f"{{ {port} timeout {int(lasts_s)}s }}"))

    def shut_gate(self, port: int) -> None:
        """Shut it; harmless when it is shut."""
        self._nft("delete", "element", "inet", TABLE, GATE, f"{{ {port} }}")

    def digest(self) -> str | None:
        """The digest of the script that is loaded; None: none of ours is."""
        for item in self._listed("list", "chains", "inet"):
            chain = item.get("chain", {})
            if chain.get("table") == TABLE and str(chain.get("name", "")).startswith(DIGEST):
                return str(chain["name"]).removeprefix(DIGEST)
        return None

    def counters(self) -> tuple[Counter, ...]:
        """All counters by name, in the order of :data:`COUNTERS`; none when no rules are loaded."""
        found = {
            str(item["counter"]["name"]): Counter(
                str(item["counter"]["name"]), int(item["counter"]["packets"]), int(item["counter"]["bytes"])
            )
            for item in self._listed("list", "counters", "table", "inet", TABLE)
            if "counter" in item
        }
        return tuple(found[name] for name in COUNTERS if name in found)

    def _listed(self, *words: str) -> list[dict[str, Any]]:
        done = self._nft("--json", *words)
        if done.exit_code and _NO_SUCH in done.output:
            return []
        self._refused(done)
        try:
            return list(json.loads(done.output)["nftables"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(
                "nft said something that can't be read", "centralino doctor", error_id="nft_garbled"
            ) from error

    def _nft(self, *words: str, script: str | None = None) -> Completed:
        inside = ["ip", "netns", "exec", self.network_namespace] if self.network_namespace else []
        return run([*inside, "nft", *words], timeout_s=TIMEOUT_S, check=False, input_text=script)

    @staticmethod
    def _refused(done: Completed) -> None:
        if done.exit_code:
            first = next((line for line in done.output.splitlines() if "Error" in line), done.tail or "no output")
            raise ApplyError(
                f"the kernel refuses the firewall's rules: {first.strip()}",
                "the former rules stand; centralino doctor",
                error_id="rules_refused",
            )
