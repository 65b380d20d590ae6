"""Invitations by order of the web processes, which can't write what is the authority's (:mod:`appliance.vpn.orders` takes the orders).

What happens when…

* the process is killed, or whoever ordered is gone, before the answer is out: the invitation is there and nobody has seen its secret;
  it shows as waiting, and another takes its place;
* the same order comes again (a page sent twice): ``former`` isn't what it was, and it is refused; else the page that is read would hold
  a code that is over already.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from appliance.core.document import Document
from appliance.core.errors import Fault, InvalidError, RefusedError
from appliance.core.fields import valid_id
from appliance.paths import Paths
from appliance.store import Store
from appliance.vpn.enrolment.service import LASTS_H, Enrolment, Invited, Shown
from appliance.vpn.pki import Authority

_log = logging.getLogger("centralino.vpn")

Opened = Callable[[], AbstractContextManager[tuple[Enrolment, Document]]]
"""Opens the enrolment of an installation and its committed document, for one order."""


@contextmanager
def opened(paths: Paths) -> Iterator[tuple[Enrolment, Document]]:
    """Those of an installation."""
    with Store.default(paths) as store:
        yield Enrolment(paths.vpn, Authority(paths.vpn), cores=os.cpu_count() or 1), store.document()


class Invitations:
    """Carries such orders out. Called from any thread; one order at a time."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self._turn = opened, threading.Lock()

    def listed(self) -> list[dict[str, Any]]:
        """Every invitation, without secrets: ``site``, ``standing``, ``until`` (ISO 8601), ``tries``, ``key``."""
        with self._opened() as (enrolment, _document):
            return [_shown(each) for each in enrolment.invitations()]

    def invite(self, order: dict[str, Any]) -> dict[str, Any]:
        """Make one. Its secret is in the answer, and nowhere else.

        :param order: ``site``, ``author``, ``hours`` (more than 0, at most 168), ``replace``, and ``former``: until when the site's last invitation
            was good as the asker knew it, ``""``: there was none; without it whatever there is ends.
        :raises InvalidError: ``id``, ``order``, ``bad_hours``; :raises RefusedError: ``already_invited``; and what :meth:`Enrolment.invite` raises.
        """
        site, hours, replace = _site(order), order.get("hours", LASTS_H), order.get("replace", False)
        former = order.get("former")
        if type(hours) not in (int, float) or type(replace) is not bool or not isinstance(former, str | None):
            raise InvalidError([
                Fault("order", "is not understood", "hours: a number; replace: true or false; former: a text", "order")
            ])  # fmt: skip
        with self._turn, self._opened() as (enrolment, document):
            if former is not None and former != _last(enrolment, site):
                raise RefusedError(
                    "an invitation was made or ended meanwhile", "look at the branch's invitation, then decide again",
                    error_id="already_invited",
                )  # fmt: skip
            made = enrolment.invite(document, site, hours=hours, replace=replace)
        _log.info("%s: invited by %r until %s", site, order.get("author", ""), made.until.isoformat())
        return _invited(made)

    def withdraw(self, order: dict[str, Any]) -> bool:
        """End a site's; whether there was one. :raises InvalidError: ``id``; :raises UnavailableError: ``storage``."""
        site = _site(order)
        with self._turn, self._opened() as (enrolment, _document):
            there = enrolment.withdraw(site)
        _log.info("%s: invitation ended by %r: %s", site, order.get("author", ""), "there was one" if there else "none")
        return there


def _last(enrolment: Enrolment, site: str) -> str:
    return next((each.until.isoformat() for each in enrolment.invitations() if each.site == site), "")


def _site(order: dict[str, Any]) -> str:
    site = order.get("site")
    if not isinstance(site, str) or not valid_id(site):
        raise InvalidError([Fault("order/site", "is no id of a site", "a-z, 0-9 and inner hyphens, at most 40", "id")])
    return site


def _shown(each: Shown) -> dict[str, Any]:
    return {
        "site": each.site, "standing": each.standing.value, "until": each.until.isoformat(), "tries": each.tries, "key": each.key,
    }  # fmt: skip


def _invited(made: Invited) -> dict[str, Any]:
    return {
        "site": made.site, "file": made.file.decode(), "code": made.code, "centres": [[each.host, each.port] for each in made.centres],
        "until": made.until.isoformat(), "revoked": [each.name for each in made.ended],
    }  # fmt: skip
