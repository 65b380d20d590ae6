"""OpenID Connect, as far as somebody who asks a provider needs it: discovery, the code's exchange, and what an ID token must be.

Authorization code with PKCE (RFC 7636) and a nonce; the ID token's signature, issuer, audience and times are checked although it
comes from the provider itself over TLS (OpenID Connect Core 1.0 section 3.1.3.7). Algorithms are those of the list below: none
where we and the provider would have the same key, and not ``none``. Keys are those at the provider's ``jwks_uri``, whatever a
token's header points at; an unknown one has them fetched again, now and then at most, for providers change theirs.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import Key, KeySet, import_key

from appliance import tls
from appliance.clock import Clock, system_clock
from appliance.core.errors import RefusedError, UnavailableError
from appliance.organisation.model import IdentityProvider

ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
LEEWAY_S: Final = 60
"""Seconds by which the provider's clock and ours may differ."""
FRESH_S: Final = 300
"""A proof asked for anew isn't older than this."""
KEPT_S: Final = 3600.0
"""Seconds after which what a provider says of itself, and its keys, are fetched again."""
AGAIN_S: Final = 10.0
"""Seconds between two looks for an unknown key."""
READ_S: Final = 5.0
CONNECT_S: Final = 3.0
WHOLE_S: Final = 12.0
"""Seconds that a whole sign-in may wait for a provider."""
ANSWER_MAX: Final = 512 * 1024
"""Bytes of an answer."""
_log: Final = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)  # it would tell every request


class FailedError(RefusedError):
    """It didn't work. ``reason`` is for the audit: who signs in learns only that it failed."""

    reason = ""


class SilentError(UnavailableError):
    """The provider can't be asked. ``reason`` is for the audit and the doctor."""

    reason = ""


def failed(reason: str, kind: str = "failed") -> FailedError:
    """What is raised for a reason. ``kind``: ``failed``, ``denied``, ``unverified`` or ``unknown``."""
    match kind:
        case "denied":
            error = FailedError(
                "the provider didn't let you sign in", "begin again, or sign in another way", error_id="provider_denied"
            )
        case "unverified":
            error = FailedError(
                "the provider hasn't verified your e-mail address",
                "have it verified there, or sign in another way",
                error_id="provider_unverified",
            )
        case "unknown":
            error = FailedError(
                "nobody here has the account that the provider named",
                "ask your administrator to enter you, with the e-mail address that you have there",
                error_id="provider_unknown",
            )
        case _:
            error = FailedError(
                "signing in with the provider didn't work",
                "begin again; an administrator finds the reason in the audit",
                error_id="provider_failed",
            )
    error.reason = reason
    return error


def silent(reason: str) -> SilentError:
    """What is raised when a provider doesn't answer, for a reason."""
    error = SilentError(
        "the provider doesn't answer", "sign in another way, or try again later", error_id="provider_silent"
    )
    error.reason = reason
    return error


def reason_of(error: RefusedError | UnavailableError) -> str:
    """Why, for the audit and for whoever runs this."""
    return error.reason if isinstance(error, FailedError | SilentError) else error.message


@dataclass(frozen=True, slots=True)
class Ask:
    """What one attempt is bound to. ``fresh``: the provider must ask for a proof, whoever it knows already."""

    redirect_uri: str
    state: str
    nonce: str
    verifier: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Identified:
    """Whom the provider vouches for: ``value`` of the configured claim, groups, and how it was proved (acr, amr)."""

    subject: str
    value: str
    groups: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Known:
    """What a provider says of itself. Times of the monotonic clock."""

    metadata: dict[str, Any]
    fetched: float
    keys: KeySet | None = None
    keys_fetched: float = field(default=-KEPT_S)


class OpenId:
    """Asks providers. Thread-safe; everything raises RefusedError (``provider_failed``; :func:`reason_of` says why) and
    UnavailableError (``provider_silent``)."""

    def __init__(self, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str | None], _Known] = {}
        self._lock = threading.Lock()

    def authorize_url(self, provider: IdentityProvider, ask: Ask) -> str:
        """Where the browser is sent."""
        with self._client(provider) as client:
            endpoint = self._endpoint(self._metadata(client, provider), "authorization_endpoint")
        more = {"prompt": "login", "max_age": "0"} if ask.fresh else {}
        url: str = prepare_grant_uri(
            endpoint,
            client_id=provider.client_id,
            response_type="code",
            redirect_uri=ask.redirect_uri,
            scope=" ".join(dict.fromkeys(("openid", *provider.scopes))),
            state=ask.state,
            nonce=ask.nonce,
            code_challenge=create_s256_code_challenge(ask.verifier),
            code_challenge_method="S256",
            **more,
        )
        return url

    def check_issuer(self, provider: IdentityProvider, given: str | None) -> None:
        """The issuer that came with the code, if one did (RFC 9207): another's code must not be sent to this one."""
        with self._client(provider) as client:
            must = bool(self._metadata(client, provider).get("authorization_response_iss_parameter_supported"))
        if given != provider.issuer and (must or given is not None):
            raise failed("the answer comes from another provider")

    def redeem(self, provider: IdentityProvider, secret: str | None, ask: Ask, code: str) -> Identified:
        """Whom the provider means by a code."""
        if not secret:
            raise silent(f"its client secret isn't there: centralino secret set {provider.secret}")
        with self._client(provider) as client:
            metadata = self._metadata(client, provider)
            tokens = self._tokens(client, metadata, provider, secret, ask, code)
            access_token = tokens.get("access_token")
            claims = self._claims(client, provider, metadata, tokens.get("id_token"), access_token, ask)
            wanted = [provider.claim, *([provider.groups_claim] if provider.groups else [])]
            more: Mapping[str, Any] = {}
            if any(name not in claims for name in wanted) and isinstance(access_token, str):
                more = self._userinfo(client, metadata, access_token, claims["sub"])
        return _identified(provider, claims, more)

    def probe(self, provider: IdentityProvider) -> None:
        """Fetch what a provider says of itself, and its keys. Raises as above."""
        with self._client(provider) as client:
            known = self._look_up(client, provider)
            self._fetch_keys(client, known)

    # -- what the provider says of itself -------------------------------------------------------------------------

    @staticmethod
    def _client(provider: IdentityProvider) -> httpx.Client:
        return httpx.Client(
            verify=tls.context(provider.authority),
            timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "User-Agent": "Centralino"},
        )

    def _metadata(self, client: httpx.Client, provider: IdentityProvider) -> dict[str, Any]:
        return self._provider(client, provider).metadata

    def _provider(self, client: httpx.Client, provider: IdentityProvider) -> _Known:
        key = (provider.issuer, provider.authority)
        with self._lock:
            known = self._known.get(key)
        if known is None or time.monotonic() - known.fetched > KEPT_S:
            known = self._look_up(client, provider)
            with self._lock:
                self._known[key] = known
        return known

    def _look_up(self, client: httpx.Client, provider: IdentityProvider) -> _Known:
        url = provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = _json(client, "GET", url)
        if found.get("issuer") != provider.issuer:
            raise failed(f"its issuer is {str(found.get('issuer'))[:200]!r}, not {provider.issuer!r}")
        return _Known(found, time.monotonic())

    @staticmethod
    def _endpoint(metadata: Mapping[str, Any], name: str) -> str:
        url = metadata.get(name)
        parts = urlsplit(url) if isinstance(url, str) else None
        if parts is None or parts.scheme != "https" or not parts.netloc or parts.fragment:
            raise failed(f"its {name} is no address over HTTPS")
        return str(url)

    def _fetch_keys(self, client: httpx.Client, known: _Known) -> KeySet:
        listed = _json(client, "GET", self._endpoint(known.metadata, "jwks_uri")).get("keys")
        keys = [key for each in listed if (key := _key(each)) is not None] if isinstance(listed, list) else []
        if not keys:
            raise failed("it publishes no key")
        known.keys, known.keys_fetched = KeySet(keys), time.monotonic()
        return known.keys

    # -- tokens ---------------------------------------------------------------------------------------------------

    def _tokens(
        self,
        client: httpx.Client,
        metadata: Mapping[str, Any],
        provider: IdentityProvider,
        secret: str,
        ask: Ask,
        code: str,
    ) -> dict[str, Any]:
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": ask.redirect_uri,
            "code_verifier": ask.verifier,
        }
        methods = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        auth = None
        if "client_secret_basic" in methods:
            # RFC 6749 section 2.3.1 has a blank as a plus, which not every provider undoes: %20 all of them do.
            auth = httpx.BasicAuth(quote(provider.client_id, safe=""), quote(secret, safe=""))
        elif "client_secret_post" in methods:
            body |= {"client_id": provider.client_id, "client_secret": secret}
        else:
            raise failed("it takes no client secret")
        return _json(client, "POST", self._endpoint(metadata, "token_endpoint"), data=body, auth=auth)

    def _claims(
        self,
        client: httpx.Client,
        provider: IdentityProvider,
        metadata: Mapping[str, Any],
        text: object,
        access_token: object,
        ask: Ask,
    ) -> dict[str, Any]:
        if not isinstance(text, str) or not text.isascii():
            raise failed("it sent no ID token")
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        algorithms = [name for name in ALGORITHMS if name in offered]
        now = self._clock().wall // 1000
        try:
            token = self._decoded(client, provider, text, algorithms)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": provider.issuer},
                    "aud": {"essential": True, "value": provider.client_id},
                    "sub": {"essential": True},
                    "exp": {"essential": True},
                    "iat": {"essential": True},
                },
                {"nonce": ask.nonce, "client_id": provider.client_id, "access_token": access_token},
            )
            claims.validate(now=now, leeway=LEEWAY_S)
            if ask.fresh and not now - FRESH_S - LEEWAY_S <= int(claims.get("auth_time", 0)) <= now + LEEWAY_S:
                raise failed("it didn't ask for a new proof")
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise failed(f"its ID token isn't good: {type(error).__name__} {str(error)[:200]}") from error
        return dict(claims)

    def _decoded(self, client: httpx.Client, provider: IdentityProvider, text: str, algorithms: list[str]) -> jwt.Token:
        known = self._provider(client, provider)
        keys = known.keys
        if keys is None or time.monotonic() - known.keys_fetched > KEPT_S:
            keys = self._fetch_keys(client, known)
        try:
            return jwt.decode(text, keys, algorithms=algorithms)
        except InvalidKeyIdError:
            if time.monotonic() - known.keys_fetched < AGAIN_S:
                raise
        return jwt.decode(text, self._fetch_keys(client, known), algorithms=algorithms)

    def _userinfo(
        self, client: httpx.Client, metadata: Mapping[str, Any], access_token: str, subject: object
    ) -> dict[str, Any]:
        """What the provider tells besides, of the same account."""
        if "userinfo_endpoint" not in metadata:
            return {}
        url = self._endpoint(metadata, "userinfo_endpoint")
        found = _json(client, "GET", url, headers={"Authorization": f"Bearer {access_token}"})
        if found.get("sub") != subject:
            raise failed("its userinfo is somebody else's")
        return found


def _key(item: object) -> Key | None:
    """A key for signatures; None: it isn't one, or of a kind that isn't known here."""
    if not isinstance(item, dict) or item.get("kty") not in ("RSA", "EC", "OKP") or item.get("use", "sig") != "sig":
        return None
    try:
        return import_key(item)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _identified(provider: IdentityProvider, claims: Mapping[str, Any], more: Mapping[str, Any]) -> Identified:
    source = claims if provider.claim in claims else more
    value = source.get(provider.claim)
    if not isinstance(value, str) or not value:
        raise failed(f"it sent no {provider.claim}")
    verified = source.get("email_verified") in (True, "true")
    if provider.claim == "email" and not verified and not provider.unverified_email:
        raise failed("it hasn't verified the e-mail address", "unverified")
    groups = claims.get(provider.groups_claim, more.get(provider.groups_claim, ()))
    methods = claims.get("amr") or []
    return Identified(
        str(claims["sub"]),
        value,
        frozenset(each for each in groups if isinstance(each, str)) if isinstance(groups, list) else frozenset(),
        frozenset(each for each in (*methods, claims.get("acr")) if isinstance(each, str)),
    )


def _json(client: httpx.Client, method: str, url: str, **more: Any) -> dict[str, Any]:
    """The JSON object that a provider answers with. What it says of an error is told in its own word (``invalid_grant``)."""
    place = urlsplit(url)
    where = f"{place.hostname}{place.path}"
    try:
        with client.stream(method, url, **more) as answer:
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > ANSWER_MAX:
                    raise failed(f"{where} answers without end")
            status = answer.status_code
    except httpx.InvalidURL:
        raise failed(f"{where} is no address") from None
    except httpx.HTTPError as error:
        _log.warning("identity provider: %s: %s", where, error)
        raise silent(f"{where}: {str(error) or type(error).__name__}") from error
    if status >= 500:
        raise silent(f"{where}: status {status}")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if status != 200 or not isinstance(found, dict):
        said = found.get("error") if isinstance(found, dict) else None
        raise failed(f"{where} answers {status} {str(said)[:80] if said else ''}".strip())
    return found
