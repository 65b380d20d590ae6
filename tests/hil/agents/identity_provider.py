"""A real OpenID provider (pyop, which runs at universities' federations) in a process of its own, on loopback over HTTPS.

What a good provider never does (another issuer, an unknown key, a replayed nonce …) is done to its answers on the way out: see
``FAULTS``. ``python -m tests.hil.agents.identity_provider PORT DIRECTORY`` is the process; tests use :func:`provider`.
"""

from __future__ import annotations

import base64
import json
import secrets
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.hil.agents.authority import Authority
from tests.hil.agents.process import Child, eventually
from tests.hil.agents.slapd import free_port

CLIENT, SECRET = "centralino", "client secret: lantern"
USERS: dict[str, dict[str, Any]] = {
    "ann": {
        "name": "Ann Example",
        "email": "a.example@example.com",
        "email_verified": True,
        "preferred_username": "ann",
    },
    "bob": {"name": "Bob Sample", "email": "bob@example.com", "email_verified": False, "preferred_username": "bob"},
    "eve": {"name": "Nobody Here", "email": "eve@example.com", "email_verified": True, "preferred_username": "eve"},
}
FAULTS = (
    "issuer", "audience", "expired", "future", "nonce", "no_nonce", "unknown_kid", "unsigned", "shared_key", "no_id_token",
    "at_hash", "azp", "other_userinfo", "token_500", "token_garbage", "token_silent", "token_endless", "discovery_silent",
    "discovery_issuer", "discovery_http", "redirect",
)  # fmt: skip


@dataclass(frozen=True)
class Idp:
    """A running one."""

    issuer: str
    authority: Authority
    child: Child

    def set(self, **control: Any) -> None:
        """``user``: who is signed in there; ``fault``; ``claims``: more of the ID token; ``rotate``: another key."""
        self._client().put(f"{self.issuer}/control", json=control).raise_for_status()

    def asked(self) -> list[dict[str, Any]]:
        """Requests so far: path, and the form that came."""
        found: list[dict[str, Any]] = self._client().get(f"{self.issuer}/control").json()
        return found

    def _client(self) -> httpx.Client:
        context = ssl.create_default_context(cadata=self.authority.pem)
        return httpx.Client(verify=context, timeout=10, trust_env=False)


@contextmanager
def provider(top: Path, redirect_uris: list[str]) -> Iterator[Idp]:
    """Start one, stop it at the end."""
    authority = Authority("Provider authority")
    authority.issue(top, "localhost", "127.0.0.1")
    port = free_port()
    (top / "settings.json").write_text(json.dumps({"redirect_uris": redirect_uris}))
    argv = [sys.executable, "-W", "ignore", "-m", "tests.hil.agents.identity_provider", str(port), str(top)]
    with Child(argv, top / "provider.log", cwd=Path(__file__).parents[3]) as child:
        idp = Idp(f"https://localhost:{port}", authority, child)

        def up() -> bool:
            assert child.running, child.text()
            try:
                return idp._client().get(f"{idp.issuer}/jwks").status_code == 200
            except httpx.HTTPError:
                return False

        eventually(up, "the identity provider answers")
        yield idp


# -- the process ------------------------------------------------------------------------------------------------------


class _Server:
    """pyop behind Flask."""

    def __init__(self, issuer: str, redirect_uris: list[str]) -> None:
        from pyop.authz_state import AuthorizationState
        from pyop.provider import Provider
        from pyop.subject_identifier import HashBasedSubjectIdentifierFactory
        from pyop.userinfo import Userinfo

        self.issuer = issuer
        self.control: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        self.stop = threading.Event()
        clients = {
            CLIENT: {
                "client_secret": SECRET,
                "redirect_uris": redirect_uris,
                "response_types": ["code"],
                "token_endpoint_auth_method": "client_secret_basic",
            }
        }
        self.provider = Provider(
            self._key("k1"),
            {
                "issuer": issuer,
                "authorization_endpoint": f"{issuer}/authorize",
                "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo",
                "jwks_uri": f"{issuer}/jwks",
                "scopes_supported": ["openid", "email", "profile"],
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            },
            AuthorizationState(HashBasedSubjectIdentifierFactory("salt")),
            clients,
            Userinfo(USERS),
        )

    @staticmethod
    def _key(kid: str) -> Any:
        from Cryptodome.PublicKey import RSA
        from jwkest.jwk import RSAKey

        return RSAKey(key=RSA.generate(2048), alg="RS256", use="sig", kid=kid)

    def fault(self, *names: str) -> bool:
        return self.control.get("fault") in names

    def tampered(self, text: str) -> str:
        """An ID token, signed anew over what a bad provider would say."""
        from jwkest.jws import JWS

        body = text.split(".")[1]
        claims, now = json.loads(_unpacked(body)), int(time.time())
        change: dict[str, Callable[[], Any]] = {
            "issuer": lambda: claims.update(iss="https://other.example.com"),
            "audience": lambda: claims.update(aud="somebody-else"),
            "expired": lambda: claims.update(exp=now - 120, iat=now - 600),
            "future": lambda: claims.update(iat=now + 900, exp=now + 1800),
            "nonce": lambda: claims.update(nonce="of another sign-in"),
            "no_nonce": lambda: claims.pop("nonce"),
            "at_hash": lambda: claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
            "azp": lambda: claims.update(aud=[CLIENT, "another"], azp="another"),
        }
        change.get(self.control.get("fault", ""), lambda: None)()
        claims.update(self.control.get("claims", {}))
        payload = json.dumps(claims)
        if self.fault("unsigned"):
            return f"{_packed(json.dumps({'alg': 'none'}).encode())}.{_packed(payload.encode())}."
        if self.fault("shared_key"):  # the public key, which everybody knows, taken for a shared secret
            from Cryptodome.Hash import HMAC, SHA256

            begin = f"{_packed(json.dumps({'alg': 'HS256', 'kid': 'k1'}).encode())}.{_packed(payload.encode())}"
            public = self.provider.signing_key.key.publickey().export_key()
            return f"{begin}.{_packed(HMAC.new(public, begin.encode(), SHA256).digest())}"
        key = self._key("k9") if self.fault("unknown_kid") else self.provider.signing_key
        made: str = JWS(payload, alg="RS256", kid=key.kid).sign_compact([key])
        return made


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _app(server: _Server) -> Any:
    from flask import Flask, Response, redirect, request

    app = Flask(__name__)

    @app.before_request
    def note() -> None:
        request.get_data()  # kept: a form that is read leaves nothing else to read
        if request.path != "/control":
            server.asked.append({"path": request.path, "args": request.args.to_dict(), "form": request.form.to_dict()})

    @app.put("/control")
    def control() -> dict[str, Any]:
        given: dict[str, Any] = request.get_json()
        if given.pop("rotate", False):
            server.provider.signing_key = server._key(secrets.token_hex(4))
        server.control.update(given)
        return {}

    @app.get("/control")
    def asked() -> Any:
        return json.dumps(server.asked), {"Content-Type": "application/json"}

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Any:
        if server.fault("discovery_silent"):
            server.stop.wait(30)
        found = server.provider.provider_configuration.to_dict()
        if server.fault("discovery_issuer"):
            found["issuer"] = "https://other.example.com"
        if server.fault("discovery_http"):
            found["authorization_endpoint"] = "http://localhost/authorize"
        return found

    @app.get("/jwks")
    def jwks() -> Any:
        return server.provider.jwks

    @app.get("/authorize")
    def authorize() -> Any:
        user = request.args.get("user") or server.control.get("user")
        asked = request.query_string.decode()
        parsed = server.provider.parse_authentication_request(asked)
        if user is None:
            links = "".join(f'<li><a href="?{asked}&user={name}">{name}</a></li>' for name in USERS)
            return f"<!doctype html><title>Provider</title><h1>Who are you?</h1><ul>{links}</ul>"
        if user == "nobody":
            return redirect(f"{parsed['redirect_uri']}?error=access_denied&state={parsed['state']}")
        answer = server.provider.authorize(parsed, user)
        return redirect(answer.request(parsed["redirect_uri"], False))

    @app.post("/token")
    def token() -> Any:
        if server.fault("token_silent"):
            server.stop.wait(30)
        if server.fault("token_500"):
            return "oops", 500
        if server.fault("token_garbage"):
            return "<html>not what you asked for</html>"
        if server.fault("token_endless"):
            return Response((b" " * 65536 for _ in range(1000)), mimetype="application/json")
        if server.fault("redirect"):
            return redirect("https://localhost:1/token", 307)
        try:
            answer = server.provider.handle_token_request(request.get_data().decode(), request.headers)
        except Exception as error:  # noqa: BLE001 (whatever it is: the client made a mistake)
            sys.stderr.write(f"{error!r}\n")
            return {"error": getattr(error, "oauth_error", "invalid_grant")}, 400
        found = answer.to_dict()
        if server.fault("no_id_token"):
            del found["id_token"]
        else:
            found["id_token"] = server.tampered(found["id_token"])
        return found

    @app.get("/userinfo")
    def userinfo() -> Any:
        found = server.provider.handle_userinfo_request("", request.headers).to_dict()
        if server.fault("other_userinfo"):
            found["sub"] = "somebody else"
        return found

    return app


def main() -> None:
    """Serve until ended."""
    from werkzeug.serving import make_server

    port, top = int(sys.argv[1]), Path(sys.argv[2])
    issuer = f"https://localhost:{port}"
    server = _Server(issuer, json.loads((top / "settings.json").read_text())["redirect_uris"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(top / "server.crt", top / "server.key")
    assert urlsplit(issuer).port == port
    make_server("127.0.0.1", port, _app(server), threaded=True, ssl_context=context).serve_forever()


if __name__ == "__main__":
    main()
