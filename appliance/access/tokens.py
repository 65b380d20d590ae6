"""Short-lived tokens: JWT (RFC 7519) signed with Ed25519 (RFC 8037, named as RFC 9864 does), good for 15 minutes.

Made from an API key or a session, they carry the person, the scopes and where they come from. Verifying looks that up: when
the key is revoked or the session ended, its tokens end with it, not 15 minutes later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError

from appliance.access.apikeys import ApiKey, ApiKeys
from appliance.access.sessions import Session, Sessions, Stage
from appliance.access.signing import SigningKeys
from appliance.access.texts import new_id
from appliance.clock import MINUTE, SLACK, Clock, system_clock
from appliance.core.errors import Fault, InvalidError, NotFoundError, RefusedError

LASTS: Final = 15 * MINUTE
ALGORITHM: Final = "Ed25519"
ISSUER: Final = "centralino"
LONGEST: Final = 8192
"""Characters of a token that is looked at."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a good token says. ``key`` or ``session`` is where it comes from. ``expires`` in ms."""

    person: str
    scopes: tuple[str, ...]
    audience: str
    expires: int
    key: str | None
    session: str | None


class Tokens:
    """Makes and verifies them."""

    def __init__(self, keys: SigningKeys, api_keys: ApiKeys, sessions: Sessions, clock: Clock = system_clock) -> None:
        self._keys, self._api_keys, self._sessions, self._clock = keys, api_keys, sessions, clock

    def of_key(self, key: ApiKey, audience: str, scopes: Iterable[str] | None = None) -> str:
        """A token from an API key. ``scopes``: some of the key's; None: all. Raises InvalidError if there are others."""
        wanted = tuple(scopes) if scopes is not None else key.scopes
        more = [scope for scope in wanted if scope not in key.scopes]
        if more:
            raise InvalidError(
                [
                    Fault("token/scopes", f"the key has no scope {scope!r}", f"it has {', '.join(key.scopes)}")
                    for scope in more
                ]
            )
        return self._made(key.owner, audience, wanted, f"key:{key.id}")

    def of_session(self, session: Session, audience: str, scopes: Iterable[str]) -> str:
        """A token from a session in which everything was proved; RefusedError (``session_stage``) from another."""
        if session.stage is not Stage.FULL:
            raise RefusedError(
                "this session hasn't proved everything yet", "finish signing in first", error_id="session_stage"
            )
        return self._made(session.person, audience, tuple(scopes), f"session:{session.id}")

    def verify(self, text: str, audience: str) -> Claims:
        """What a token says. Raises RefusedError (``token_invalid``) without saying why: forged, expired, for another
        audience, or its key was revoked, its session ended."""
        claims = self._claims(text, audience)
        if claims is None or not self._stands(claims):
            raise RefusedError("this token isn't good here", "make another with the API key", error_id="token_invalid")
        return claims

    def _made(self, person: str, audience: str, scopes: tuple[str, ...], source: str) -> str:
        key, now = self._keys.newest(), self._clock().wall // 1000
        claims = {
            "iss": ISSUER,
            "aud": audience,
            "sub": person,
            "scope": " ".join(scopes),  # RFC 8693 §4.2
            "src": source,
            "iat": now,
            "exp": now + LASTS // 1000,
            "jti": new_id(80),
        }
        return jwt.encode({"alg": ALGORITHM, "typ": "at+jwt", "kid": key.kid}, claims, key, algorithms=[ALGORITHM])

    def _claims(self, text: str, audience: str) -> Claims | None:
        if not text or len(text) > LONGEST or not text.isascii():
            return None
        now = self._clock().wall
        try:
            keys = self._keys.all()
            token = jwt.decode(text, keys, algorithms=[ALGORITHM]) if keys.keys else None
            if token is None or token.header.get("typ") != "at+jwt":
                return None
            found = token.claims
            jwt.JWTClaimsRegistry(
                now=now // 1000,
                leeway=0,
                iss={"essential": True, "value": ISSUER},
                aud={"essential": True, "value": audience},
                sub={"essential": True},
                exp={"essential": True},
            ).validate({name: value for name, value in found.items() if name != "iat"})
            if found["iat"] * 1000 > now + SLACK or found["exp"] - found["iat"] > LASTS // 1000:
                return None
            kind, _, source = str(found["src"]).partition(":")
            scopes, expires = tuple(str(found["scope"]).split()), int(found["exp"]) * 1000
        except (JoseError, ValueError, KeyError, TypeError, AttributeError):
            return None
        key, session = (source, None) if kind == "key" else (None, source)
        return Claims(str(found["sub"]), scopes, audience, expires, key, session)

    def _stands(self, claims: Claims) -> bool:
        """Whether what it was made from is still good, and the same person's."""
        if claims.key is None:
            session = self._sessions.get(claims.session or "")
            return session is not None and session.stage is Stage.FULL and session.person == claims.person
        try:
            key = self._api_keys.get(claims.key)
        except NotFoundError:
            return False
        return key.is_good(self._clock()) and key.owner == claims.person
