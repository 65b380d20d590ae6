"""The judge: attempts in, decisions out. It knows no clock and does no I/O: time is what the attempts say.

What it goes by stands in :mod:`~appliance.firewall.bans.rules`; whom it never touches in
:mod:`~appliance.firewall.bans.policy`.

*Proven or not.* Anybody can send a packet in somebody else's name, as long as he needs no answer. So what isn't proven bans only briefly
(minutes, an hour at most), leaves no strikes, never makes a ban wider, and takes its room from a store of its own.

*What the voice VPN refuses* weighs nothing: many branches share an address behind a provider's NAT, and who may come in is decided by
certificates. It is evidence beside what somebody did elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from appliance.clock import MINUTE
from appliance.firewall.bans import keys
from appliance.firewall.bans.model import (
    Action,
    Attempt,
    Ban,
    Decision,
    Evidence,
    Network,
    Outcome,
    Reason,
    Service,
    Sign,
    Strikes,
)
from appliance.firewall.bans.policy import Policy
from appliance.firewall.bans.rules import Rules
from appliance.firewall.bans.sources import Recent, Source, Sources
from appliance.firewall.bans.standing import Standing

TOLD_MAX: Final = 10_000
_EVIDENCE_FROM: Final = 0.3
GOOD_MAX: Final = 100_000
FORGIVEN_MAX: Final = 100
LATE: Final = MINUTE
"""What was done before it was forgiven may arrive so much later."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that should be in the kernel, at the running time ``now``."""

    now: int
    bans: tuple[Ban, ...]


class Judge:
    """Scores sources, imposes bans, lifts them.

    Not for several threads at once. After each call that returns decisions, they are to be carried out in order.
    """

    def __init__(self, policy: Policy | None = None, rules: Rules | None = None) -> None:
        self.policy = policy or Policy()
        self.rules: Final = rules or Rules()
        self.sources: Final = Sources(self.rules)
        self.standing: Final = Standing(self.rules)
        self.now = 0
        self.unheard = 0
        """Brief bans that weren't imposed because there were too many."""
        self._evidence: Final[Recent[tuple[Evidence, ...]]] = Recent(self.rules.evidence_sources)
        self._good: Final[Recent[int]] = Recent(GOOD_MAX)
        self._told: Final[Recent[int]] = Recent(TOLD_MAX)
        self._forgiven: list[tuple[Network, int]] = []

    def restore(self, bans: Iterable[Ban], strikes: Iterable[tuple[Network, Strikes]], now: int) -> list[Decision]:
        """Take over what was kept, before the first attempt. What the policy no longer allows is lifted."""
        self.now = max(self.now, now)
        self.standing.restore(bans, strikes, self.now)
        return self.adopt(self.policy)

    def take(self, attempts: Iterable[Attempt]) -> list[Decision]:
        """Judge some attempts. In which order those of the same time are given makes no difference."""
        decisions: list[Decision] = []
        for attempt in sorted(attempts, key=_order):
            self.now = max(self.now, attempt.when)
            self.standing.expire(self.now)
            decisions += self._one(attempt)
        return decisions

    def wanted(self, now: int) -> Wanted:
        """What should be in the kernel now."""
        self.now = max(self.now, now)
        self.standing.expire(self.now)
        return Wanted(self.now, tuple(self.standing))

    def lift(self, network: Network, now: int) -> list[Decision]:
        """Lift, by hand, every ban that hits any of ``network``, and forgive all of it: attempts, strikes, and what is still
        on its way here."""
        self.now = max(self.now, now)
        self.standing.expire(self.now)
        lifted = self.standing.touching(network)
        for ban in lifted:
            self.standing.remove(keys.of(ban.network))
        self._forgive(network)
        wider = keys.around(network)
        if wider is not None:  # somebody answers for it: neighbours' deeds shall not hit it
            self._good.put(wider, self.now)
        return [Decision(Action.LIFT, ban) for ban in lifted]

    def adopt(self, policy: Policy) -> list[Decision]:
        """Judge by another policy from now on; bans that it doesn't allow are lifted."""
        self.policy = policy
        decisions = []
        for ban in self.standing:
            if not (policy.may_quarantine(ban.network) if ban.quarantine else policy.may_ban(ban.network)):
                self.standing.remove(keys.of(ban.network))
                decisions.append(Decision(Action.LIFT, ban))
        return decisions

    def _one(self, attempt: Attempt) -> list[Decision]:
        address, policy = attempt.source, self.policy
        ours = bool(policy.inside) and address in policy.ours
        key = keys.host(address) if ours else keys.stranger(address)
        if attempt.outcome is Outcome.SUCCEEDED:
            self._succeeded(key, attempt)
            return []
        if attempt.service is Service.VPN:
            if self.sources.get(key) is not None:  # else strangers' evidence would make room for it
                self._note(key, attempt)
            return []
        if self.standing.banned(key) or self._is_forgiven(attempt) or (policy.black and address in policy.shut):
            return []
        source = self.sources.add(key, attempt)
        points, proven = source.points()
        if points >= _EVIDENCE_FROM * self.rules.limit:
            self._note(key, attempt)
        if points < self.rules.limit or self._protected_by_success(key, source, points):
            return []
        return self._sentence(key, source, attempt, brief=proven < self.rules.limit, ours=ours)

    def _succeeded(self, key: int, attempt: Attempt) -> None:
        """Forgive typos at this account; and remember that somebody of ours is there, unless so many accounts were tried
        that it may be a thief's own."""
        source = self.sources.get(key)
        if source is not None:
            if source.accounts(but=attempt) >= self.rules.many:
                return
            source.forgive(attempt)
        self._good.put(key, attempt.when)
        wider = keys.wide(key)
        if wider is not None:
            self._good.put(wider, attempt.when)

    def _protected_by_success(self, key: int, source: Source, points: float) -> bool:
        if not self._was_good(key, self.rules.protects):
            return False
        return source.accounts() < self.rules.many and points < self.rules.protects_up_to * self.rules.limit

    def _was_good(self, key: int, within: int) -> bool:
        good = self._good.get(key)
        return good is not None and self.now - good <= within

    def _sentence(self, key: int, source: Source, attempt: Attempt, *, brief: bool, ours: bool) -> list[Decision]:
        if brief and self.standing.full(brief=True):
            self.unheard += 1
            return []
        network = keys.network(key)
        allowed = self.policy.may_quarantine(network) if ours else self.policy.may_ban(network)
        if not allowed:
            return self._spare(key, source, attempt)
        first = brief and self._was_good(key, self.rules.good_lately)
        strikes = self.standing.strike(key, self.now, brief=brief, first=first)
        ban = self._ban(network, source, attempt, strikes, key, quarantine=ours, brief=brief)
        if brief:
            source.forgive_unproven()  # what is proven goes on counting: nobody buys short bans by long nonsense
        else:
            self.sources.forget(key)
        self._evidence.pop(key)
        action = Action.QUARANTINE if ours else Action.BAN
        decisions = [*self._impose(ban), Decision(action, ban)]
        if not brief and not ours:
            decisions += self._widen(key, ban)
        return decisions

    def _impose(self, ban: Ban) -> list[Decision]:
        """Impose a ban; what is lifted to make room."""
        lifted = []
        if not ban.brief and self.standing.full(brief=False) and self.standing.get(keys.of(ban.network)) is None:
            first = self.standing.first_to_end()
            if first is not None:
                self.standing.remove(keys.of(first.network))
                lifted.append(Decision(Action.LIFT, first))
        self.standing.put(ban)
        return lifted

    def _widen(self, key: int, ban: Ban) -> list[Decision]:
        """Ban the whole /24 or /56, when several of it were banned lately and nobody in it is one of ours."""
        wider = keys.wide(key)
        if wider is None or self._was_good(wider, self.rules.wide_good):
            return []
        members = self.standing.lately(wider, self.now)
        network = keys.network(wider)
        if len(members) < self.rules.wide_from or not self.policy.may_ban(network):
            return []
        strikes = self.standing.strike(wider, self.now, brief=False)
        standing = [found for found in map(self.standing.get, members) if found is not None]
        until = max(strikes.until, *(found.until for found in standing))
        self.standing.strikes.put(wider, Strikes(strikes.count, strikes.since, until))
        words = _words(Reason.MOVING, len(members))
        whole = Ban(
            network, self.now, until, ban.wall, Reason.MOVING, words, strikes.count,
            sum(found.attempts for found in standing), ban.evidence,
        )  # fmt: skip
        return [*self._impose(whole), Decision(Action.BAN, whole)]

    def _ban(
        self, network: Network, source: Source, attempt: Attempt, strikes: Strikes, key: int,
        *, quarantine: bool, brief: bool,
    ) -> Ban:  # fmt: skip
        reason, words = self._why(source)
        return Ban(
            network, self.now, strikes.until, attempt.wall, reason, words, strikes.count, source.attempts,
            self._evidence.get(key) or (), quarantine, brief,
        )  # fmt: skip

    def _why(self, source: Source) -> tuple[Reason, str]:
        accounts = source.accounts()
        if source.signs & Sign.ATTACK_TOOL.value:
            reason = Reason.ATTACK_TOOL
        elif source.all_dropped():
            reason = Reason.PROBING
        elif accounts >= self.rules.many:
            reason = Reason.MANY_ACCOUNTS
        elif source.signs & Sign.FOREIGN_METHOD.value:
            reason = Reason.FOREIGN_METHODS
        else:
            reason = Reason.GUESSING
        return reason, _words(reason, source.attempts, accounts)

    def _spare(self, key: int, source: Source, attempt: Attempt) -> list[Decision]:
        """Tell of it now and then, and begin to count anew."""
        told = self._told.get(key)
        decisions = []
        if told is None or self.now - told >= self.rules.tell_again:
            self._told.put(key, self.now)
            reason, words = self._why(source)
            evidence = self._evidence.get(key) or ()
            ban = Ban(
                keys.network(key), self.now, self.now, attempt.wall, reason, words, 0, source.attempts, evidence
            )  # fmt: skip
            decisions = [Decision(Action.SPARE, ban)]
        self.sources.forget(key)
        self._evidence.pop(key)
        return decisions

    def _note(self, key: int, attempt: Attempt) -> None:
        seen = Evidence(
            attempt.wall, str(attempt.source), attempt.service, attempt.outcome, attempt.account, attempt.detail
        )  # fmt: skip
        self._evidence.put(key, (*(self._evidence.get(key) or ()), seen)[-self.rules.evidence :])

    def _forgive(self, area: Network) -> None:
        self.sources.forget_touching(area)
        self.standing.forgive(area)
        self._evidence.pop_touching(area)
        self._forgiven = [*self._forgiven[-FORGIVEN_MAX:], (area, self.now)]

    def _is_forgiven(self, attempt: Attempt) -> bool:
        """Whether it was made before its source was forgiven, and came late."""
        if not self._forgiven:
            return False
        if self.now - self._forgiven[0][1] > LATE:
            self._forgiven = [one for one in self._forgiven if self.now - one[1] <= LATE]
        return any(attempt.when <= when and attempt.source in network for network, when in self._forgiven)


def _words(reason: Reason, count: int, accounts: int = 0) -> str:
    """Why, for people; in English, to be translated."""
    match reason:
        case Reason.ATTACK_TOOL:
            return f"used a tool for attacks; attempts: {count}"
        case Reason.PROBING:
            return f"tried doors that are none; packets: {count}"
        case Reason.MANY_ACCOUNTS:
            return f"tried many accounts ({accounts} or more); attempts: {count}"
        case Reason.FOREIGN_METHODS:
            return f"sent requests that no phone or page of ours sends; attempts: {count}"
        case Reason.GUESSING:
            return f"guessed at an account; attempts: {count}"
        case Reason.MOVING:
            return f"an attack moves about in it; addresses banned lately: {count}"


def _order(attempt: Attempt) -> tuple[Any, ...]:
    return (
        attempt.when, attempt.outcome, attempt.source.version, int(attempt.source), attempt.service, attempt.account,
        attempt.signs.value, attempt.proven, attempt.wall, attempt.detail,
    )  # fmt: skip
