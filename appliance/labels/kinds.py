"""What kinds are called, and how they are grouped."""

from __future__ import annotations

from typing import Final

KINDS: Final[dict[str, tuple[str, str]]] = {
    "company": ("Company", "Companies"),
    "site": ("Site", "Sites"),
    "person": ("Person", "People"),
    "role": ("Role", "Roles"),
    "number_plan": ("Number plan", "Number plans"),
    "emergency_plan": ("Emergency plan", "Emergency plans"),
    "class_of_service": ("Class of service", "Classes of service"),
    "service_code": ("Service code", "Service codes"),
    "codec_policy": ("Codec policy", "Codec policies"),
    "listener": ("Listener", "Listeners"),
    "extension": ("Extension", "Extensions"),
    "device": ("Device", "Devices"),
    "ring_group": ("Ring group", "Ring groups"),
    "provider": ("Provider", "Providers"),
    "trunk": ("Trunk", "Trunks"),
    "trunk_group": ("Trunk group", "Trunk groups"),
    "did": ("Public number", "Public numbers"),
    "inbound_route": ("Inbound route", "Inbound routes"),
    "outbound_route": ("Outbound route", "Outbound routes"),
    "notification_endpoint": ("Notification address", "Notification addresses"),
    "history_export": ("Export of calls", "Exports of calls"),
    "concentrator": ("VPN concentrator", "VPN concentrators"),
    "branch": ("Branch", "Branches"),
    "wan_line": ("WAN line", "WAN lines"),
    "turn_server": ("TURN server", "TURN servers"),
    "network": ("Network", "Networks"),
    "address_list": ("Address list", "Address lists"),
    "directory_service": ("Directory", "Directories"),
    "identity_provider": ("Single sign-on provider", "Single sign-on providers"),
    "secret": ("Secret", "Secrets"),
}
"""Kind → one, several."""

AREAS: Final[dict[str, str]] = {
    "accounts": "Other people's sign-ins",
    "api_keys": "Keys for programs",
    "audit": "Audit",
    "calls": "Calls now",
    "firewall": "Firewall and bans",
    "history": "Call history",
    "revisions": "Former revisions",
    "system": "State of the system",
}
"""Area of permissions that isn't a kind → what it is called."""

TOPICS: Final[dict[str, tuple[str, ...]]] = {
    "Organisation": ("company", "site", "person", "role"),
    "Phones": ("extension", "device", "ring_group", "class_of_service"),
    "Numbers and routing": (
        "did",
        "inbound_route",
        "outbound_route",
        "number_plan",
        "service_code",
        "emergency_plan",
    ),
    "Lines and providers": ("trunk", "trunk_group", "provider"),
    "Network and security": ("concentrator", "branch", "wan_line", "turn_server", "network", "address_list"),
    "System": (
        "listener",
        "codec_policy",
        "notification_endpoint",
        "history_export",
        "directory_service",
        "identity_provider",
        "secret",
    ),
}
"""Topic of the navigation → its kinds. A kind that is in none stands in the last."""
