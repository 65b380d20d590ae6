"""A trunk as the engine's SIP objects: endpoint, AOR, identify, authentication, registration (pure).

The endpoint is called ``trunk-<id>``: a device may have the same id as a trunk.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section
from appliance.pbx.media.model import CodecPolicy, Listener, MediaSecurity, Transport
from appliance.pbx.trunks.model import AddressAuth, Clir, IdentityHeader, Provider, RegisterAuth, Trunk

PROBE_SECONDS: Final = 30
"""How often a trunk is asked by OPTIONS whether it is there."""
PROBE_TIMEOUT_SECONDS: Final = 3
RETRY_SECONDS: Final = 30
"""Pause before a failed registration is tried again, for ever."""
REFUSED_RETRY_SECONDS: Final = 300
"""The same after a refusal (wrong password, blocked account): providers ban those who insist."""
SESSION_SECONDS: Final = 1800
"""Session timers (RFC 4028): a call whose end got lost ends after so long at the latest."""
RTP_TIMEOUT_SECONDS: Final = 120
"""Without voice packets a call is an orphan: longer than any failover that is promised, and than a re-registration."""
RTP_TIMEOUT_HOLD_SECONDS: Final = 900
CODECS: Final = "!all,alaw,ulaw"
"""Without a codec policy: what every telephone network speaks."""


def endpoint_name(trunk_id: str) -> str:
    """Name of a trunk's SIP objects, and user part of its contact."""
    return f"trunk-{trunk_id}"


def is_address(host: str) -> bool:
    """Whether a host is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def uri_host(host: str) -> str:
    """A host as it stands in a URI: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host else host


def uri(trunk: Trunk, provider: Provider, user: str = "") -> str:
    """SIP URI of the provider's end of a trunk."""
    way = "" if provider.transport is Transport.UDP else f";transport={provider.transport}"
    at = f"{user}@" if user else ""
    return f"sip:{at}{uri_host(trunk.host)}:{trunk.port}{way}"


@lru_cache(maxsize=8192)
def sections(
    trunk: Trunk,
    provider: Provider,
    policy: CodecPolicy | None,
    listener: Listener | None,
    language: str,
    secret: str | None,
) -> tuple[Section, ...]:
    """All objects of a trunk. ``listener``: where its SIP leaves; ``secret``: the password in the clear.

    A registering trunk whose password isn't known yet has no registration, so that it can't get us banned.
    """
    name = endpoint_name(trunk.id)
    found = [_endpoint(trunk, provider, policy, listener, language), _aor(trunk, provider)]
    if sources := matches(trunk, provider):
        found.append(Section(name, (("endpoint", name), *(("match", source) for source in sources)), "identify"))
    if isinstance(trunk.auth, RegisterAuth) and secret is not None:
        found.append(_auth(name, trunk.auth, secret))
        found.append(_registration(trunk, trunk.auth, provider, listener))
    return tuple(found)


def _endpoint(
    trunk: Trunk, provider: Provider, policy: CodecPolicy | None, listener: Listener | None, language: str
) -> Section:
    name = endpoint_name(trunk.id)
    identity = provider.identity
    codecs = ",".join(["!all", *policy.codecs]) if policy else CODECS
    options = [
        ("context", f"from-{name}"),
        ("aors", name),
        ("allow", codecs),
        ("language", language),
        # By address or registration only: by user name, anybody who calls himself like a trunk would be taken for it.
        ("identify_by", "ip"),
        ("direct_media", "no"),
        ("allow_transfer", "no"),
        ("allow_subscribe", "no"),
        ("send_pai", _yes(identity.header is IdentityHeader.PAI)),
        ("send_rpid", _yes(identity.header is IdentityHeader.RPID)),
        # Withheld numbers go to the network (with Privacy: id) or not at all.
        ("trust_id_outbound", _yes(identity.clir is Clir.PRIVACY_ID)),
        ("trust_id_inbound", _yes(identity.trust_inbound_identity)),
        # Who answered is the provider's to know; names and inside numbers of ours never leave by re-INVITE.
        ("trust_connected_line", "no"),
        ("send_connected_line", "no"),
        ("send_diversion", _yes(identity.send_diversion)),
        ("dtmf_mode", provider.dtmf),
        ("100rel", _yes(provider.prack)),
        ("timers", _yes(provider.session_timers)),
        ("timers_sess_expires", str(SESSION_SECONDS)),
        ("rtp_symmetric", "yes"),
        ("rtp_timeout", str(RTP_TIMEOUT_SECONDS)),
        ("rtp_timeout_hold", str(RTP_TIMEOUT_HOLD_SECONDS)),
        ("tos_audio", "ef"),
        ("cos_audio", "5"),
        ("set_var", "CHANNEL(hangup_handler_push)=leg-ended,s,1"),
    ]
    if listener is not None:
        options.append(("transport", listener.id))
        voice = ipaddress.ip_address(listener.media_address or listener.address)
        if not voice.is_unspecified:  # on a host with several addresses, any other may go one way only
            options += [("media_address", str(voice)), ("bind_rtp_to_media_address", "yes")]
            options.append(("t38_bind_udptl_to_media_address", _yes(provider.t38)))
    if provider.media_security is MediaSecurity.SDES:
        options.append(("media_encryption", "sdes"))
    if provider.t38:
        options += [("t38_udptl", "yes"), ("t38_udptl_ec", "redundancy")]
    if isinstance(trunk.auth, RegisterAuth):
        options += [("outbound_auth", name), ("contact_user", name)]
        if identity.from_user == "account":
            options += [("from_user", trunk.auth.username), ("from_domain", uri_host(trunk.host))]
        else:  # unlike from_domain, it gives way to anonymous.invalid when the number is withheld
            options.append(("set_var", f"SIPFROMDOMAIN={uri_host(trunk.host)}"))
    return Section(name, tuple(options), "endpoint")


def _aor(trunk: Trunk, provider: Provider) -> Section:
    options = [("contact", uri(trunk, provider))]
    if provider.probe:
        options += [("qualify_frequency", str(PROBE_SECONDS)), ("qualify_timeout", f"{PROBE_TIMEOUT_SECONDS}.0")]
    return Section(endpoint_name(trunk.id), tuple(options), "aor")


def matches(trunk: Trunk, provider: Provider) -> tuple[str, ...]:
    """Where its calls come from. Host names aren't resolved: the engine must start without DNS.

    By default a provider calls from the very address and port that it is called at (UDP), or the address (TCP, TLS:
    their ports differ from connection to connection).
    """
    if trunk.accept_from:
        return trunk.accept_from
    if not is_address(trunk.host):
        return ()
    host = uri_host(trunk.host)
    return (f"{host}:{trunk.port}",) if provider.transport is Transport.UDP else (trunk.host,)


def _auth(name: str, auth: RegisterAuth, secret: str) -> Section:
    options = (("auth_type", "userpass"), ("username", auth.auth_username or auth.username), ("password", secret))
    return Section(name, options, "auth")


def _registration(trunk: Trunk, auth: RegisterAuth, provider: Provider, listener: Listener | None) -> Section:
    name = endpoint_name(trunk.id)
    options = [
        ("server_uri", uri(trunk, provider)),
        ("client_uri", uri(trunk, provider, auth.username)),
        ("contact_user", name),
        ("outbound_auth", name),
        ("expiration", str(auth.expires_seconds)),
        ("retry_interval", str(RETRY_SECONDS)),
        ("forbidden_retry_interval", str(REFUSED_RETRY_SECONDS)),
        ("fatal_retry_interval", str(REFUSED_RETRY_SECONDS)),
        ("max_retries", "1000000000"),
        ("auth_rejection_permanent", "no"),
        # The contact gets a random parameter: calls that carry it are this trunk's, also when several trunks share
        # the provider's address.
        ("line", "yes"),
        ("endpoint", name),
    ]
    if listener is not None:
        options.append(("transport", listener.id))
    return Section(name, tuple(options), "registration")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def by_address(trunk: Trunk) -> bool:
    """Whether the provider knows us by our address."""
    return isinstance(trunk.auth, AddressAuth)
