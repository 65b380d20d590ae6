"""Passkeys: WebAuthn level 2 ceremonies. Discoverable credentials (nobody types a name), the user verified by the device,
any authenticator (its make isn't asked for), the counter of signatures checked: one that doesn't rise is a copy's.

The challenge is kept here, found by a random token that goes into a short-lived cookie or the form; it is good once and for
5 minutes.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, select, update
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from appliance.access.texts import clean, hashed, new_token
from appliance.clock import MINUTE, Moment, over
from appliance.core.errors import Fault, InvalidError, RefusedError
from appliance.store.access import challenge as challenges
from appliance.store.access import credential as credentials
from appliance.store.access import passkey as table

LASTS: Final = 5 * MINUTE
NAME_MAX: Final = 120
RESPONSE_MAX: Final = 64 * 1024
MOST: Final = 20
"""Passkeys of one person."""
DEFAULT_URL: Final = "https://localhost:8443"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whom passkeys are for: the portal's host name, and the origins of its pages."""

    id: str
    origins: tuple[str, ...]
    name: str = "Centralino"

    @classmethod
    def default(cls) -> RelyingParty:
        """By ``CENTRALINO_PORTAL_URL``, else https://localhost:8443."""
        return cls.of(portal_url())

    @classmethod
    def of(cls, url: str) -> RelyingParty:
        """Of the portal at a URL."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", (f"{parts.scheme}://{parts.netloc}",))


def portal_url() -> str:
    """Where people reach the portal, without a slash at the end. Raises InvalidError naming the variable."""
    url = os.environ.get("CENTRALINO_PORTAL_URL") or DEFAULT_URL
    if re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?/?", url) is None:
        hint = "https://pbx.example.com or https://pbx.example.com:8443"
        raise InvalidError([Fault("CENTRALINO_PORTAL_URL", f"{url!r} is not the address of a portal", hint, "bad_url")])
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Ceremony:
    """``options`` is JSON for the browser; ``token`` comes back with its answer."""

    options: str
    token: str


@dataclass(frozen=True, slots=True)
class Passkey:
    """One, as its owner sees it. Times in ms."""

    id: str
    name: str
    created: int
    used: int | None
    backed_up: bool


# -- inside a transaction -------------------------------------------------------------------------------------------------


def of(connection: Connection, person: str) -> list[Passkey]:
    """A person's, oldest first."""
    query = select(table).where(table.c.person == person).order_by(table.c.created, table.c.id)
    return [Passkey(row.id, row.name, row.created, row.used, row.backed_up) for row in connection.execute(query)]


def begin_adding(
    connection: Connection, now: Moment, party: RelyingParty, person: str, account: str, name: str
) -> Ceremony:
    """Options for making a passkey for ``person``. ``account`` and ``name`` are what the device shows."""
    known = list(connection.execute(select(table.c.credential).where(table.c.person == person)).scalars())
    if len(known) >= MOST:
        raise RefusedError(f"there are {MOST} passkeys already", "remove one that isn't used", error_id="too_many")
    challenge = secrets.token_bytes(32)
    options = generate_registration_options(
        rp_id=party.id,
        rp_name=party.name,
        user_id=base64url_to_bytes(handle(connection, person)),
        user_name=account,
        user_display_name=name,
        challenge=challenge,
        timeout=LASTS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            require_resident_key=True,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=id) for id in known],
    )
    return Ceremony(options_to_json(options), _keep(connection, now, "add", person, challenge))


def finish_adding(
    connection: Connection, now: Moment, party: RelyingParty, person: str, challenge: bytes, response: str, name: str
) -> Passkey:
    """Keep the passkey that the browser made. Raises InvalidError (``passkey_invalid``)."""
    try:
        made = verify_registration_response(
            credential=_parsed(response),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise _invalid(str(error)) from error
    id = _id(made.credential_id)
    if connection.execute(select(table.c.id).where(table.c.id == id)).first() is not None:
        raise _invalid("it is known already")
    found = Passkey(id, clean(name, NAME_MAX) or "passkey", now.wall, None, made.credential_backed_up)
    connection.execute(
        table.insert().values(
            id=id,
            person=person,
            name=found.name,
            credential=made.credential_id,
            public_key=made.credential_public_key,
            sign_count=made.sign_count,
            backed_up=found.backed_up,
            created=now.wall,
            used=None,
        )
    )
    return found


def begin_sign_in(connection: Connection, now: Moment, party: RelyingParty) -> Ceremony:
    """Options for signing in with a passkey, whosever it is."""
    challenge = secrets.token_bytes(32)
    options = generate_authentication_options(
        rp_id=party.id, challenge=challenge, timeout=LASTS, user_verification=UserVerificationRequirement.REQUIRED
    )
    return Ceremony(options_to_json(options), _keep(connection, now, "sign_in", None, challenge))


def take_challenge(connection: Connection, now: Moment, token: str, person: str | None = None) -> bytes:
    """The challenge of a ceremony, used up by this: commit it before the answer is looked at, good or bad. ``person``: who
    adds a passkey; None: somebody signs in. Raises InvalidError (``passkey_invalid``) if there is none, or no longer."""
    row = connection.execute(select(challenges).where(challenges.c.id == hashed(token[:100]))).one_or_none()
    if row is None or connection.execute(delete(challenges).where(challenges.c.id == row.id)).rowcount != 1:
        raise _invalid("the time for it is over")
    purpose = "sign_in" if person is None else "add"
    if row.purpose != purpose or row.person != person or over(row.made, LASTS, now.wall):
        raise _invalid("the time for it is over")
    return bytes(row.challenge)


def accept(connection: Connection, now: Moment, party: RelyingParty, challenge: bytes, response: str) -> str:
    """Whose passkey answered the challenge. Raises InvalidError (``passkey_invalid``) saying why it isn't good."""
    try:
        parsed = _parsed(response)
        raw = base64url_to_bytes(str(parsed["id"]))
        row = connection.execute(select(table).where(table.c.id == _id(raw))).one_or_none()
        if row is None:
            raise _invalid("nobody has it")
        named = parsed["response"].get("userHandle")
        if named and not secrets.compare_digest(str(named).encode(), handle(connection, row.person).encode()):
            raise _invalid("it is another account's")
        verified = verify_authentication_response(
            credential=parsed,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=list(party.origins),
            credential_public_key=row.public_key,
            credential_current_sign_count=row.sign_count,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _invalid(str(error)) from error
    same = (table.c.id == row.id) & (table.c.sign_count == row.sign_count)
    values = {"sign_count": verified.new_sign_count, "used": now.wall, "backed_up": verified.credential_backed_up}
    if connection.execute(update(table).where(same).values(values)).rowcount != 1:
        raise _invalid("it was used elsewhere at the same moment")
    return str(row.person)


def remove(connection: Connection, person: str, id: str | None = None) -> list[str]:
    """Forget one of a person's, or all: their names."""
    which = table.c.person == person
    if id is not None:
        which &= table.c.id == id
    names = list(connection.execute(select(table.c.name).where(which).order_by(table.c.created)).scalars())
    connection.execute(delete(table).where(which))
    return names


def handle(connection: Connection, person: str) -> str:
    """What passkeys know the person by: 32 random bytes, base64url. It tells nobody who that is."""
    found = connection.execute(select(credentials.c.handle).where(credentials.c.person == person)).scalar()
    if found is None:
        found = new_token()
        connection.execute(credentials.insert().values(person=person, password=None, changed=None, handle=found))
    return str(found)


def _keep(connection: Connection, now: Moment, purpose: str, person: str | None, challenge: bytes) -> str:
    token = new_token()
    old = (challenges.c.made < now.wall - LASTS) | (challenges.c.made > now.wall + LASTS)
    connection.execute(delete(challenges).where(old))
    row = {"id": hashed(token), "purpose": purpose, "person": person, "challenge": challenge, "made": now.wall}
    connection.execute(challenges.insert().values(row))
    return token


def _parsed(response: str) -> dict[str, Any]:
    if len(response) > RESPONSE_MAX:
        msg = "the answer is too long"
        raise ValueError(msg)
    parsed = json.loads(response)
    if not isinstance(parsed, dict) or not isinstance(parsed.get("response"), dict):
        msg = "the answer is no credential"
        raise ValueError(msg)
    return parsed


def _id(credential: bytes) -> str:
    return hashed(base64.b64encode(credential).decode())


def _invalid(reason: str) -> InvalidError:
    hint = "try again; if it stays so, sign in another way and make a new passkey"
    return InvalidError([Fault("passkey", f"this passkey isn't good here: {reason}", hint, "passkey_invalid")])
