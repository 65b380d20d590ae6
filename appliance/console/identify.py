"""Who sends a request: a browser by its session's cookie, a program by an API key or a token."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Request

from appliance.access.access import Access
from appliance.access.permissions import Subject, narrowed, subject_of
from appliance.access.sessions import COOKIE, Stage
from appliance.access.signin import SignIn
from appliance.core.errors import RefusedError
from appliance.firewall.bans.reporting import Report, nobody, unknown
from appliance.i18n import later
from appliance.store import Store

AUDIENCE = "api"
"""What tokens for the API are made out to."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, and how it proved so.

    :param by_cookie: the browser sends the proof by itself, so that changes need the session's CSRF token besides.
    """

    subject: Subject
    by_cookie: bool = False
    csrf_token: str = ""


class Identifier:
    """Looks at what a request brings. What proves nothing is as good as nothing: why, isn't told, but to the judge of bans."""

    def __init__(self, store: Store, access: Access, signin: SignIn, report: Report = nobody) -> None:
        self._store, self._access, self._signin, self._report = store, access, signin, report

    def __call__(self, request: Request) -> Identity | None:
        kind, _, proof = request.headers.get("Authorization", "").partition(" ")
        if kind:
            return self._told(proof.strip(), request.remote_addr or "") if kind.lower() == "bearer" else None
        return self._of_browser(request.cookies.get(COOKIE, ""), request.remote_addr or "")

    def _of_browser(self, token: str, address: str) -> Identity | None:
        found = self._signin.session_of(token, address) if token else None
        if found is None or found[0].stage is not Stage.FULL:
            return None
        session, person = found
        subject = subject_of(self._store.document(), person.id, session.roles)
        return None if subject is None else Identity(subject, by_cookie=True, csrf_token=session.csrf)

    def _told(self, proof: str, address: str) -> Identity | None:
        found = self._of_program(proof)
        if found is None:
            self._report("api", address, "failed", _tried(proof), later("no key or token that is good"))
        else:
            self._report("api", address, "succeeded", _tried(proof))
        return found

    def _of_program(self, proof: str) -> Identity | None:
        key = self._access.keys.find(proof)
        if key is not None:
            return self._narrowed(key.owner, f"key:{key.id}", key.scopes)
        try:
            claims = self._access.tokens.verify(proof, AUDIENCE)
        except RefusedError:
            return None
        return self._narrowed(claims.person, f"key:{claims.key}" if claims.key else claims.person, claims.scopes)

    def _narrowed(self, owner: str, id: str, scopes: tuple[str, ...]) -> Identity | None:
        subject = subject_of(self._store.document(), owner)
        return None if subject is None else Identity(narrowed(subject, id, scopes))


def _tried(proof: str) -> str:
    """What the judge of bans is told of a proof: nothing that is secret. Tokens are one: many programs send one that has expired."""
    kind, _, rest = proof.partition("_")
    if kind == "ck" and "_" in rest:
        return f"key {rest.partition('_')[0][:40]}"
    return "token" if proof.count(".") == 2 else unknown(proof)
