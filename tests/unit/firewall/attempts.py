"""Attempts, short to write."""

from __future__ import annotations

import ipaddress
from typing import Any

from appliance.firewall.bans.judge import Judge
from appliance.firewall.bans.model import Action, Attempt, Ban, Decision, Network, Outcome, Service, Sign
from appliance.firewall.bans.policy import Policy

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000
WALL = 1_795_000_000_000
STRANGER = "203.0.113.7"


def attempt(
    when: int, source: str = STRANGER, account: str = "201", outcome: Outcome = Outcome.FAILED, **more: Any
) -> Attempt:
    """A failed, proven attempt by SIP, if nothing else is said."""
    values = {"service": Service.SIP, "proven": True, "detail": "wrong password"} | more
    return Attempt(when, WALL + when, ipaddress.ip_address(source), outcome=outcome, account=account, **values)


def success(when: int, source: str = STRANGER, account: str = "201") -> Attempt:
    return attempt(when, source, account, Outcome.SUCCEEDED)


def scan(when: int, source: str = STRANGER, accounts: int = 10, **more: Any) -> list[Attempt]:
    """One password on each of some extensions, ten a second."""
    return [attempt(when + 100 * n, source, str(300 + n), **more) for n in range(accounts)]


def tool(when: int, source: str) -> Attempt:
    """One packet of a tool, whose sender anybody can have invented."""
    return attempt(
        when, source, "udp/5060", Outcome.DROPPED, service=Service.DROPPED, proven=False, signs=Sign.ATTACK_TOOL
    )


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


def policy(protected: str = "", inside: str = "", black: str = "") -> Policy:
    return Policy(networks(*protected.split()), networks(*inside.split()), networks(*black.split()))


def bans(decisions: list[Decision], action: Action = Action.BAN) -> list[Ban]:
    return [decision.ban for decision in decisions if decision.action is action]


def hit(decisions: list[Decision], action: Action = Action.BAN) -> list[str]:
    return [str(ban.network) for ban in bans(decisions, action)]


def ban_of(judge: Judge, when: int, source: str = STRANGER) -> Ban:
    """Have a source banned."""
    [ban] = bans(judge.take(scan(when, source)))
    return ban
