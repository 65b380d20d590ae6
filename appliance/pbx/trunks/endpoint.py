"""A trunk as the engine's SIP objects: endpoint, AOR, identify, authentication, registration (pure).

The endpoint is called ``trunk-<id>``: a device may have the same id as a trunk.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section
from appliance.names.answers import Resolved
from appliance.pbx.media.model import CodecPolicy, Listener, MediaSecurity, Transport
from appliance.pbx.trunks.model import AddressAuth, Clir, IdentityHeader, Lookup, Provider, RegisterAuth, Trunk

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

_UNKNOWN: Final = Resolved()


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
    # A port says that there are no SRV records to ask for (RFC 3263 section 4.2).
    port = "" if trunk.lookup is Lookup.SRV and not is_address(trunk.host) else f":{trunk.port}"
    return f"sip:{at}{uri_host(trunk.host)}{port}{way}"


def version_of(listener: Listener | None) -> int:
    """The address family that a trunk's requests leave by: 4 or 6."""
    return ipaddress.ip_address(listener.address).version if listener is not None else 4


def proxy(provider: Provider, listener: Listener | None, known: Resolved) -> str | None:
    """Where requests to a provider go that is known by name: the address that was looked up ahead, as a route that is written into
    no request (``hide``). What it reads is the name all the same, and the engine asks no name server.

    None over TLS: the stack compares the certificate with the host that it connects to, which must be the name then.
    """
    if provider.transport is Transport.TLS:
        return None
    target = known.target(version_of(listener))
    if target is None:
        return None
    way = "" if provider.transport is Transport.UDP else f";transport={provider.transport}"
    return f"sip:{uri_host(target.address)}:{target.port}{way};lr;hide"


@lru_cache(maxsize=8192)
def sections(
    trunk: Trunk,
    provider: Provider,
    policy: CodecPolicy | None,
    listener: Listener | None,
    language: str,
    secret: str | None,
    known: Resolved = _UNKNOWN,
) -> tuple[Section, ...]:
    """All objects of a trunk. ``listener``: where its SIP leaves; ``secret``: the password in the clear; ``known``: what its name
    means, if it has one.

    A registering trunk whose password isn't known yet has no registration, so that it can't get us banned.
    """
    name = endpoint_name(trunk.id)
    route = proxy(provider, listener, known)
    found = [_endpoint(trunk, provider, policy, listener, language, route), _aor(trunk, provider, route)]
    if sources := matches(trunk, provider, known):
        found.append(Section(name, (("endpoint", name), *(("match", source) for source in sources)), "identify"))
    if isinstance(trunk.auth, RegisterAuth) and secret is not None:
        found.append(_auth(name, trunk.auth, secret))
        found.append(_registration(trunk, trunk.auth, provider, listener, route))
    return tuple(found)


def _endpoint(
    trunk: Trunk,
    provider: Provider,
    policy: CodecPolicy | None,
    listener: Listener | None,
    language: str,
    route: str | None,
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
    if route is not None:
        options.append(("outbound_proxy", route))
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


def _aor(trunk: Trunk, provider: Provider, route: str | None) -> Section:
    options = [("contact", uri(trunk, provider))]
    if route is not None:
        options.append(("outbound_proxy", route))
    if provider.probe:
        options += [("qualify_frequency", str(PROBE_SECONDS)), ("qualify_timeout", f"{PROBE_TIMEOUT_SECONDS}.0")]
    return Section(endpoint_name(trunk.id), tuple(options), "aor")


def matches(trunk: Trunk, provider: Provider, known: Resolved = _UNKNOWN) -> tuple[str, ...]:
    """Where its calls come from.

    By default a provider calls from the very address and port that it is called at (UDP), or the address (TCP, TLS:
    their ports differ from connection to connection). One that is known by name calls from any address that the name has: those
    that the firewall lets in. The engine itself looks no name up here: it must start without DNS.
    """
    if trunk.accept_from:
        return trunk.accept_from
    if not is_address(trunk.host):
        return known.sources
    host = uri_host(trunk.host)
    return (f"{host}:{trunk.port}",) if provider.transport is Transport.UDP else (trunk.host,)


def _auth(name: str, auth: RegisterAuth, secret: str) -> Section:
    options = (("auth_type", "userpass"), ("username", auth.auth_username or auth.username), ("password", secret))
    return Section(name, options, "auth")


def _registration(
    trunk: Trunk, auth: RegisterAuth, provider: Provider, listener: Listener | None, route: str | None
) -> Section:
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
    if route is not None:
        options.append(("outbound_proxy", route))
    return Section(name, tuple(options), "registration")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def by_address(trunk: Trunk) -> bool:
    """Whether the provider knows us by our address."""
    return isinstance(trunk.auth, AddressAuth)
