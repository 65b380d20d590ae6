"""Puts bans into the kernel: a table of nftables of their own (:mod:`~appliance.firewall.bans.sets`), by the program ``nft``, one
transaction a call. Needs CAP_NET_ADMIN.

Time-outs run in the kernel: bans end when this process is dead, and stand until then. When somebody took the table away or emptied a set,
``intact`` says so and ``sync`` makes it again.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, Final

from appliance.core.errors import ApplyError, UnavailableError
from appliance.engine.runner import Completed, run
from appliance.firewall.bans import sets
from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Decision, Network

TIMEOUT_S: Final = 20.0
"""50,000 bans take 0.2 s."""
_GONE: Final = "No such file or directory"
_THERE: Final = "File exists"
_ERROR: Final = "Error: "


class Kernel:
    """The kernel's table of bans.

    :param doors: what stays open; may be changed, and is in force with the next ``sync``.
    :param network_namespace: None: ours.

    Its methods raise UnavailableError (``ban_sets_missing``: the table isn't there, ``sync`` makes it; ``program_missing``,
    ``command_timeout``) or ApplyError (``bans_refused``). Then nothing of it was done.
    """

    def __init__(self, doors: sets.Doors | None = None, network_namespace: str | None = None) -> None:
        self.doors = doors or sets.Doors()
        self._inside = ["ip", "netns", "exec", network_namespace] if network_namespace else []

    def apply(self, decisions: Iterable[Decision], now: int) -> None:
        """Carry out decisions, at the running time ``now``. Doing it again does no harm."""
        script = sets.changed(decisions, now)
        if script:
            self._done(script)

    def sync(self, wanted: Wanted) -> None:
        """Make the table if it isn't there, and have its sets hold what is wanted, whatever they held. No packet passes meanwhile
        that shouldn't."""
        try:
            self._done(sets.filled(wanted, self.doors))
        except (ApplyError, UnavailableError) as error:
            if error.error_id != "bans_refused":
                raise
            self._done(sets.filled(wanted, self.doors, anew=True))  # another release made it otherwise

    def intact(self) -> bool:
        """Whether nobody emptied a set or took the table away since the last ``sync``; takes a few ms, whatever is in them."""
        completed = self._nft("-f", "-", script="".join(f"{line}\n" for line in sets.marks("create")))
        if completed.exit_code == 0 or _GONE in completed.output:
            return False
        there = completed.output.count(_THERE)
        if there == 0:
            raise self._refused(completed)
        return there == len(sets.SETS)

    def unload(self) -> None:
        """Take the table away: nobody is kept out. Idempotent."""
        self._done(f"table inet {sets.TABLE}\ndelete table inet {sets.TABLE}\n")

    def counters(self) -> dict[str, int]:
        """Dropped packets, by the names of :data:`~appliance.firewall.bans.sets.COUNTERS`; empty: the table isn't there."""
        found = (item["counter"] for item in self._listed("counters", "table", "inet", sets.TABLE) if "counter" in item)
        return {str(one["name"]): int(one["packets"]) for one in found}

    def read(self) -> dict[str, dict[Network, int]]:
        """What the kernel holds: for each set, networks and the seconds they have left; empty: the table isn't there."""
        found: dict[str, dict[Network, int]] = {}
        ours = {one.name: one for one in sets.SETS}
        for item in self._listed("table", "inet", sets.TABLE):
            kind = ours.get(str(item.get("set", {}).get("name")))
            if kind is not None:
                elements = item["set"].get("elem", [])
                found[kind.name] = dict(_element(one["elem"], kind) for one in elements if isinstance(one, dict))
        return found

    def _listed(self, *words: str) -> list[dict[str, Any]]:
        completed = self._nft("--json", "list", *words)
        if completed.exit_code:
            if _GONE in completed.output:
                return []
            raise self._refused(completed)
        try:
            return list(json.loads(completed.output)["nftables"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(
                "nft said something that can't be read", "centralino doctor", error_id="nft_garbled"
            ) from error

    def _done(self, script: str) -> None:
        completed = self._nft("-f", "-", script=script)
        if completed.exit_code == 0:
            return
        gone = completed.output.count(_GONE)
        if gone and gone == completed.output.count(_ERROR):
            raise UnavailableError(
                f"the kernel has no table {sets.TABLE}", "it is made again within seconds; nobody is kept out meanwhile",
                error_id="ban_sets_missing",
            )  # fmt: skip
        # what was refused for another reason can't be deleted later in the same transaction either
        raise self._refused(completed)

    def _nft(self, *words: str, script: str | None = None) -> Completed:
        # nft's own words, in no other language: they are looked at
        environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"}
        argv: Sequence[str] = [*self._inside, "nft", *words]
        try:
            return run(argv, timeout_s=TIMEOUT_S, check=False, env=environment, input_text=script)
        except OSError as error:  # it ended before it had read everything
            raise UnavailableError(
                f"nft can't be asked: {error.strerror or error}", "see the journal", error_id="nft_failed"
            ) from error

    @staticmethod
    def _refused(completed: Completed) -> ApplyError:
        first = next((line for line in completed.output.splitlines() if _ERROR in line), "no reason given")
        return ApplyError(
            f"the kernel doesn't take the bans: {first[:200]}", "they are tried again; see the journal",
            error_id="bans_refused",
        )  # fmt: skip


def _element(element: dict[str, Any], kind: sets.BanSet) -> tuple[Network, int]:
    return ipaddress.ip_network((str(element["val"]), kind.length)), int(element.get("expires", 0))
