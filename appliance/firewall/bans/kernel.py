"""Puts bans into the kernel: sets of nftables (:mod:`~appliance.firewall.bans.sets`), by the program ``nft``, one transaction a call.

The sets belong to the rule set, which declares them. Time-outs run in the kernel: bans end when this process is dead. When the rule
set was loaded anew, or somebody emptied a set, ``intact`` says so and ``sync`` fills them again.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from appliance.core.errors import ApplyError, UnavailableError
from appliance.engine.runner import Completed, run
from appliance.firewall.bans import sets
from appliance.firewall.bans.judge import Wanted
from appliance.firewall.bans.model import Decision, Network

_GONE: Final = "No such file or directory"
_THERE: Final = "File exists"
_ERROR: Final = "Error: "


class Kernel:
    """The kernel's sets.

    :param nft: how the program is started: ``("nft",)``, or in another network namespace.
    :param timeout_s: seconds that one transaction may take; 50,000 bans take 0.2.

    Every method raises UnavailableError (``ban_sets_missing``: no rule set with our sets is loaded; ``program_missing``,
    ``command_timeout``) or ApplyError (``bans_refused``). Then nothing of it was done.
    """

    def __init__(self, nft: Sequence[str] = ("nft",), table: str = sets.TABLE, timeout_s: float = 20.0) -> None:
        self._nft = tuple(nft)
        self._table = table
        self._timeout_s = timeout_s

    def apply(self, decisions: Iterable[Decision], now: int) -> None:
        """Carry out decisions, at the running time ``now``. Doing it again does no harm."""
        script = sets.changed(decisions, now, self._table)
        if script:
            self._done(script)

    def sync(self, wanted: Wanted) -> None:
        """Make the sets hold what is wanted, whatever they held. No packet passes meanwhile that shouldn't."""
        self._done(sets.filled(wanted, self._table))

    def intact(self) -> bool:
        """Whether nobody emptied or replaced a set since the last ``sync``; takes a few ms, whatever is in them."""
        script = "".join(f"{line}\n" for line in sets.marks(self._table, "create"))
        completed = self._run(script)
        if completed.exit_code == 0:
            return False  # all marks were gone
        if completed.output.count(_THERE) + completed.output.count(_GONE) == 0:
            raise self._refused(completed)
        if _GONE in completed.output:
            raise self._missing()
        return completed.output.count(_THERE) == len(sets.SETS)

    def read(self) -> dict[str, dict[Network, int]]:
        """What the kernel holds: for each set, networks and the seconds they have left (0: for ever)."""
        completed = run(
            [*self._nft, "-j", "list", "sets", sets.FAMILY], timeout_s=self._timeout_s, check=False, env=_environment()
        )
        if completed.exit_code != 0:
            raise self._refused(completed)
        try:
            return self._sets_of(json.loads(completed.output))
        except (ValueError, KeyError, TypeError) as error:
            raise UnavailableError(
                f"nft says what can't be read: {error}",
                "is it the version of this release?",
                error_id="bans_unreadable",
            ) from error

    def _sets_of(self, listing: dict[str, list[dict[str, dict[str, object]]]]) -> dict[str, dict[Network, int]]:
        found: dict[str, dict[Network, int]] = {}
        ours = {one.name: one for one in sets.SETS}
        for item in listing["nftables"]:
            one = item.get("set")
            if one is None or one["table"] != self._table or one["name"] not in ours:
                continue
            kind = ours[str(one["name"])]
            elements = one.get("elem", [])
            if not isinstance(elements, list):
                raise TypeError(f"elements of {kind.name}")
            found[kind.name] = {net: left for element in elements for net, left in _networks(element, kind)}
        if len(found) < len(ours):
            raise self._missing()
        return found

    def _done(self, script: str) -> None:
        completed = self._run(script)
        if completed.exit_code == 0:
            return
        gone = completed.output.count(_GONE)
        # what was refused for another reason can't be deleted later in the same transaction either
        raise self._missing() if gone and gone == completed.output.count(_ERROR) else self._refused(completed)

    def _run(self, script: str) -> Completed:
        try:
            return run(
                [*self._nft, "-f", "-"], timeout_s=self._timeout_s, check=False, env=_environment(), input_text=script
            )
        except OSError as error:  # it ended before it had read everything
            raise UnavailableError(
                f"nft can't be asked: {error.strerror or error}", "see the journal", error_id="bans_refused"
            ) from error

    def _missing(self) -> UnavailableError:
        return UnavailableError(
            f"the firewall's table {self._table} has no sets for bans", "is the rule set loaded? Nobody is kept out meanwhile",
            error_id="ban_sets_missing",
        )  # fmt: skip

    @staticmethod
    def _refused(completed: Completed) -> ApplyError:
        first = next((line for line in completed.output.splitlines() if _ERROR in line), "no reason given")
        return ApplyError(
            f"the kernel didn't take the bans: {first[:200]}",
            "they are tried again; see the journal",
            error_id="bans_refused",
        )


def _environment() -> dict[str, str]:
    """nft's own words, in no other language: they are looked at."""
    return {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), "LC_ALL": "C.UTF-8"}


def _value(element: object) -> tuple[object, int]:
    if isinstance(element, dict) and "elem" in element:
        return element["elem"]["val"], int(element["elem"].get("expires", 0))
    return element, 0


def _networks(element: object, kind: sets.BanSet) -> Iterator[tuple[Network, int]]:
    """The networks of an element, with the seconds they have left; nothing for a mark."""
    value, left = _value(element)
    if value == kind.mark:
        return
    if isinstance(value, dict) and "range" in value:
        first, last = map(ipaddress.ip_address, value["range"])
        for network in ipaddress.summarize_address_range(first, last):
            yield network, left
    elif isinstance(value, dict):
        yield ipaddress.ip_network((value["prefix"]["addr"], value["prefix"]["len"])), left
    else:
        length = kind.length or (32 if kind.version == 4 else 128)
        yield ipaddress.ip_network((str(value), length)), left
