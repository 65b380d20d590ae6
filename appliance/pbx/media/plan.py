"""media → engine configuration (pure): transports and what holds for all of SIP.

Quality of service: signalling is marked CS3 (DSCP 24, RFC 4594), voice EF (DSCP 46, RFC 3246) by each endpoint.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from appliance.core.asterisk import Section
from appliance.core.document import Document
from appliance.engine.plan import WebSocketServer
from appliance.engine.stand_ins import HOST, PORT
from appliance.pbx.context import Installation
from appliance.pbx.feature import Contribution
from appliance.pbx.media.doors import Door, by_the_gate, doors, media_address
from appliance.pbx.media.model import Listener, Transport, Zone

PUBLIC_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""In the engine root: those that browsers trust (image/engine/definition.toml, ca-certificates)."""


def contribute(document: Document, installation: Installation) -> Contribution:
    """Transports, and the objects of which there is one.

    An authority whose file isn't there counts as the public ones: providers that it vouches for get no calls.
    """
    by_listener = {listener: door for door in doors(listeners(document)) for listener in door.listeners}
    transports = (transport(item, by_listener[item.id], installation) for item in listeners(document))
    return Contribution(pjsip=(_system(), _global(installation.realm), *transports))


def listeners(document: Document) -> tuple[Listener, ...]:
    """All listeners, in order of id."""
    return tuple(sorted(document.all(Listener).values(), key=lambda item: item.id))


def transport(listener: Listener, door: Door, installation: Installation) -> Section:
    """One listener. Its reload is allowed, which drops the connections over it only if one of its own options changed."""
    certificate = installation.certificates.get(listener.certificate or "")
    authority = installation.authorities.get(listener.authority or "", PUBLIC_AUTHORITIES)
    return _transport(listener, door.domain(installation.transport_token), certificate, authority)


_GATE: Final = f"[{HOST}]:{PORT}"
"""Where the web server takes what comes by the gate: the only place of a listener of that zone."""


@lru_cache(maxsize=64)
def _transport(listener: Listener, domain: str, certificate: tuple[str, str] | None, authority: str) -> Section:
    host = f"[{listener.address}]" if ":" in listener.address else listener.address
    options = [
        ("protocol", listener.transport.value),
        ("bind", _GATE if listener.zone is Zone.GATE else f"{host}:{listener.port}"),
        ("domain", domain),
        ("allow_reload", "yes"),
    ]
    if listener.transport is not Transport.WSS:  # that socket is the web server's
        options += [("tos", "cs3"), ("cos", "3")]
    if listener.transport is Transport.UDP:
        # What we ask of a phone goes out where it registered. Else it would be whichever UDP listener comes first, whose
        # address may not even reach the phone. (Connections answer that by themselves.)
        options.append(("symmetric_transport", "yes"))
    if listener.transport in (Transport.TLS, Transport.TCP):
        options.append(("tcp_keepalive_enable", "yes"))
    if listener.transport is Transport.TLS:
        if certificate is not None:
            options += [("cert_file", certificate[0]), ("priv_key_file", certificate[1])]
        # The stack's default is TLS 1.0, and it speaks exactly one version: 1.2 is what phones know. Ciphers are those of
        # OpenSSL's security level 2, whatever the certificate's key.
        options += [("method", "tlsv1_2"), ("verify_client", "no")]
        # For connections that we make, to providers: whoever can't prove to be the trunk's host gets neither call nor
        # password. Phones aren't connected to: they hold the connection that they registered over.
        if listener.verify_providers:
            options += [("ca_list_file", authority), ("verify_server", "yes")]
        else:
            options.append(("verify_server", "no"))
    return Section(listener.id, tuple(options), type="transport")


@lru_cache(maxsize=1)
def _system() -> Section:
    # A UDP request that grew past the MTU stays on UDP: a phone that isn't registered over TCP can't be reached by it.
    return Section("system", (("disable_tcp_switch", "yes"),), type="system")


@lru_cache(maxsize=4)
def _global(realm: str) -> Section:
    """Unknown users are challenged exactly like known ones: same realm, same one algorithm, no version in the name.

    By the authentication's user name is found who hides the number in From (RFC 3323). Strangers are reported from their
    fifth request on: every such phone's first request is a stranger's.
    """
    options = (
        ("user_agent", "Centralino"),
        ("default_realm", realm),
        ("endpoint_identifier_order", "username,auth_username,ip"),
        ("default_auth_algorithms_uas", "MD5"),
        ("max_initial_qualify_time", "30"),
        ("keep_alive_interval", "90"),
        ("contact_expiration_check_interval", "30"),
        ("unidentified_request_count", "5"),
        ("unidentified_request_period", "30"),
        ("unidentified_request_prune_interval", "30"),
        ("send_contact_status_on_update_registration", "no"),
        ("mwi_disable_initial_unsolicited", "yes"),
        ("norefersub", "yes"),
        # sip:112;phone-context=+39@… is 112 (RFC 3966 parameters in a user part, RFC 3261 section 19.1.6).
        ("ignore_uri_user_options", "yes"),
        ("allow_sending_180_after_183", "no"),
        # By default any full queue in the engine, lamps' and mailboxes' too, makes it ignore new calls (503 but on UDP), an
        # emergency call among them. Only SIP's own queues may.
        ("taskprocessor_overload_trigger", "pjsip_only"),
        ("debug", "no"),
    )
    return Section("global", options, type="global")


def web_server(document: Document, installation: Installation) -> WebSocketServer | None:
    """The engine's TLS web server for SIP over WSS at a port of its own, for the engine's own files. There can be one."""
    for listener in listeners(document):
        certificate = installation.certificates.get(listener.certificate or "")
        if listener.transport is Transport.WSS and listener.zone is not Zone.GATE and certificate is not None:
            return WebSocketServer(listener.address, listener.port, *certificate)
    return None


def browsers_voice(document: Document) -> tuple[str, ...]:
    """Our addresses for the voice of browsers, whichever port they sign in by: the only ones that they are told."""
    found = (media_address(listener) for listener in listeners(document) if by_the_gate(listener))
    return tuple(sorted({address for address in found if address is not None}))
