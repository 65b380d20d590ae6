"""Signing in with a provider of single sign-on: what binds the answer to the browser that asked, and whose it is.

The browser keeps one secret of 256 bits in a cookie of ten minutes. State, nonce and PKCE verifier are derived from it, and the
database knows the state's hash only: an answer is good once, in the browser that asked, for the provider that was asked. Somebody
who reads the database, or gets hold of a code, can do nothing with it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, select

from appliance.access.directories import Secrets
from appliance.access.openid import WHOLE_S, Ask, Identified, OpenId, failed, reason_of
from appliance.access.outward import Outward
from appliance.access.passkeys import portal_url
from appliance.access.people import person_of
from appliance.access.signin import Outcome, SignIn
from appliance.access.texts import TOKEN_BYTES, clean, hashed
from appliance.clock import MINUTE, over
from appliance.core.document import Document
from appliance.core.errors import NotFoundError, RefusedError, UnavailableError
from appliance.organisation.model import IdentityProvider
from appliance.store.access import challenge as table

LASTS: Final = 10 * MINUTE
"""Milliseconds that somebody has to prove who they are elsewhere."""
PURPOSE: Final = "provider"
CODE_MAX: Final = 4096


def enabled(document: Document) -> list[IdentityProvider]:
    """Providers whose buttons the sign-in page has, by name."""
    found = (each for each in document.all(IdentityProvider).values() if each.enabled)
    return sorted(found, key=lambda each: (each.name.casefold(), each.id))


def callback_of(id: str) -> str:
    """Where a provider sends the browser back to: one address for each, so that none can answer for another."""
    return f"{portal_url()}/sign-in/with/{id}/callback"


@dataclass(frozen=True, slots=True)
class Begun:
    """``url`` is the provider's; ``secret`` goes into the browser's cookie."""

    url: str
    secret: str

    def __repr__(self) -> str:
        return "<Begun>"


@dataclass(frozen=True, slots=True)
class Finished:
    """``wanted`` is where the browser wanted to go."""

    outcome: Outcome
    wanted: str


class Providers:
    """Those of one installation. Thread-safe.

    :param secrets: what this process was handed: the client secrets.
    """

    def __init__(
        self, signin: SignIn, secrets: Secrets, outward: Outward | None = None, openid: OpenId | None = None
    ) -> None:
        self._signin, self._secrets = signin, secrets
        self._outward = outward or Outward()
        self._openid = openid or OpenId(signin.access.clock)

    def begin(self, id: str, wanted: str, address: str = "", *, fresh: bool = False) -> Begun:
        """Send somebody to a provider.

        :param fresh: have the provider ask for a proof, also of somebody whom it knows already.
        :raises NotFoundError: there is no such provider. UnavailableError: ``provider_silent``. RefusedError: ``provider_failed``.
        """
        provider = self._provider(id)
        secret = secrets.token_urlsafe(TOKEN_BYTES)
        ask = _ask(id, secret, fresh=fresh)
        try:
            url = self._outward.ask(lambda: self._openid.authorize_url(provider, ask), WHOLE_S)
        except (RefusedError, UnavailableError) as error:
            self._tell(id, address, reason_of(error))
            raise
        now = self._signin.access.clock()
        kept = json.dumps({"wanted": wanted, "fresh": fresh}).encode()
        with self._signin.access.database.write() as connection:
            connection.execute(delete(table).where(table.c.purpose == PURPOSE, table.c.made < now.wall - LASTS))
            row = {"id": hashed(ask.state), "purpose": PURPOSE, "person": None, "challenge": kept, "made": now.wall}
            connection.execute(table.insert().values(row))
        return Begun(url, secret)

    def finish(self, id: str, secret: str, answer: Mapping[str, str], address: str = "", agent: str = "") -> Finished:
        """What the provider's answer (the query of the address that it sent the browser to) comes to.

        :param secret: of the browser's cookie.
        :raises NotFoundError: there is no such provider. UnavailableError: ``provider_silent``.
        :raises RefusedError: ``provider_failed``, ``provider_denied``, ``provider_unverified``, ``provider_unknown``.
        """
        provider = self._provider(id)
        try:
            wanted, ask = self._taken(id, secret, answer.get("state", ""))
            if "error" in answer:
                kind = "denied" if answer["error"] == "access_denied" else "failed"
                raise failed(f"it answers {clean(answer['error'], 80)}", kind)
            code = answer.get("code", "")
            if not code or len(code) > CODE_MAX:
                raise failed("it sent no code")

            def redeem() -> Identified:
                self._openid.check_issuer(provider, answer.get("iss"))
                return self._openid.redeem(provider, self._secrets(provider.secret), ask, code)

            found = self._outward.ask(redeem, WHOLE_S)
            return Finished(self._entered(provider, found, address, agent), wanted)
        except (RefusedError, UnavailableError) as error:
            self._tell(id, address, reason_of(error))
            raise

    def _entered(self, provider: IdentityProvider, found: Identified, address: str, agent: str) -> Outcome:
        person = person_of(self._signin.document(), provider.person_by, (found.value,))
        if person is None:
            raise failed("nobody of the document", "unknown")
        roles = tuple(dict.fromkeys(each.role for each in provider.groups if each.group in found.groups))
        proved = bool(found.methods & set(provider.second_factor))
        return self._signin.vouched(person, f"provider {provider.id}", address, agent, proved=proved, roles=roles)

    def _provider(self, id: str) -> IdentityProvider:
        found = self._signin.document().find(IdentityProvider, id)
        if found is None or not found.enabled:
            raise NotFoundError("there is no such way to sign in", "go back to the sign-in page")
        return found

    def _taken(self, id: str, secret: str, state: str) -> tuple[str, Ask]:
        """What was asked, used up by this: where the browser wanted to go, and what the answer must fit. The state is derived from
        the provider's id too: another's answer has another."""
        if not secret or not hmac.compare_digest(
            _derived(id, secret, "state").encode(), state.encode("utf-8", "replace")
        ):
            raise failed("it isn't an answer to what this browser asked")
        now = self._signin.access.clock()
        with self._signin.access.database.write() as connection:
            row = connection.execute(select(table).where(table.c.id == hashed(state))).one_or_none()
            gone = row is None or connection.execute(delete(table).where(table.c.id == row.id)).rowcount != 1
        if gone or row is None or row.purpose != PURPOSE or over(row.made, LASTS, now.wall):
            raise failed("the answer was used already, or came too late")
        kept = json.loads(bytes(row.challenge))
        return str(kept["wanted"]), _ask(id, secret, fresh=bool(kept["fresh"]))

    def _tell(self, id: str, address: str, reason: str) -> None:
        self._signin.tell_failure(address, "provider", f"{id}: {reason}")


def _ask(id: str, secret: str, *, fresh: bool) -> Ask:
    state, nonce, verifier = (_derived(id, secret, what) for what in ("state", "nonce", "verifier"))
    return Ask(callback_of(id), state, nonce, verifier, fresh)


def _derived(id: str, secret: str, what: str) -> str:
    """43 characters that only the browser's secret gives."""
    made = hmac.new(secret.encode("utf-8", "replace"), f"centralino provider {id} {what} v1".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(made.digest()).rstrip(b"=").decode()
