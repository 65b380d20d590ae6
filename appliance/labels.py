"""How people call what the document holds: kinds, fields, choices, units. The English text is the message id.

One table for portal, API and documentation, beside :mod:`appliance.kinds`. A field of a kind added later is shown under
its own name until it has a label here; ``tests/unit/test_labels.py`` fails until then. Help texts stand with the fields
(``Field(description=…)``). Why a table: ``docs/decisions/0019``.

Keys are a field's name, or ``Model.field`` where a name means something else in one model; choices are
``Enumeration.value``, or ``Model.field.value`` where the model lists the values itself; parts are their class's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    "Network and security": ("concentrator", "branch", "network", "address_list"),
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

FIELDS: Final[dict[str, str]] = {
    "id": "Id",
    "name": "Name",
    "label": "Label",
    "number": "Number",
    "site": "Site",
    "company": "Company",
    "person": "Person",
    "language": "Language",
    "caller_number": "Caller number",
    "class_of_service": "Class of service",
    "codec_policy": "Codec policy",
    "ring_seconds": "Rings for",
    "trunks": "Trunks",
    "sites": "Sites",
    "secret": "Password",
    "media_security": "Protection of voice",
    "transport": "Transport",
    "listener": "Listener",
    "extension": "Extension",
    "country": "Country",
    "destination": "Destination",
    "order": "Order",
    "max_calls": "Calls at once",
    "port": "Port",
    "type": "Type",
    "authority": "Certificate authority",
    "enabled": "In use",
    "person_by": "People are told by",
    "groups": "Roles by group",
    "group": "Group",
    "networks": "Networks",
    "role": "Role",
    # organisation
    "Site.time_zone": "Time zone",
    "Site.address": "Street address",
    "Site.emergency_number": "Emergency caller number",
    "Site.trunks": "Ways out",
    "Site.links": "Thin links to other sites",
    "Address.street": "Street",
    "Address.city": "City",
    "Address.postal_code": "Postal code",
    "SiteLink.to": "To site",
    "Person.email": "E-mail address",
    "Person.roles": "Roles",
    "Person.sites": "Roles reach",
    "Role.permissions": "Permissions",
    "Role.sites": "Reaches",
    "Role.own_only": "Own things only",
    "target": "Goes to",
    "url": "URL",
    "host": "Host",
    "previous_secret": "Secret before",
    "allow_local": "On this machine",
    "NotificationEndpoint.events": "Events",
    "NotificationEndpoint.fields": "Fields",
    "EmailEndpoint.address": "E-mail address",
    "WebhookEndpoint.secret": "Signing secret",
    "HistoryExport.every": "Every",
    "HistoryExport.weekday": "Day of the week",
    "HistoryExport.time": "Time",
    "HistoryExport.only_site": "Only this site's calls",
    "HistoryExport.directions": "Directions",
    "HistoryExport.columns": "Columns",
    "HistoryExport.separator": "Separator",
    "HistoryExport.byte_order_mark": "Byte order mark",
    "SftpTarget.username": "User name",
    "SftpTarget.secret": "Password or private key",
    "SftpTarget.host_key": "Key of the server",
    "SftpTarget.directory": "Folder",
    "HttpsTarget.method": "Method",
    "HttpsTarget.secret": "Signing secret",
    "Secret.value": "Value",
    "DirectoryService.servers": "Servers",
    "DirectoryService.security": "Protection",
    "DirectoryService.bind_dn": "Account for looking people up",
    "DirectoryService.base": "People are below",
    "DirectoryService.user_class": "Object class of people",
    "DirectoryService.login_attributes": "Attributes with login names",
    "DirectoryService.person_attribute": "Attribute that tells the person",
    "DirectoryService.required_group": "Required group",
    "DirectoryService.nested_groups": "Groups in groups",
    "DirectoryService.local_passwords": "Passwords kept here are good for",
    "IdentityProvider.issuer": "Issuer",
    "IdentityProvider.client_id": "Client ID",
    "IdentityProvider.secret": "Client secret",
    "IdentityProvider.scopes": "Scopes",
    "IdentityProvider.claim": "Claim that tells the person",
    "IdentityProvider.unverified_email": "Trust unverified addresses",
    "IdentityProvider.groups_claim": "Claim with groups",
    "IdentityProvider.second_factor": "Stands for a second factor",
    # voice VPN
    "Concentrator.addresses": "Addresses from outside",
    "Concentrator.pool": "Addresses within the tunnels",
    "Concentrator.pool6": "IPv6 addresses within the tunnels",
    "Concentrator.packets_per_second": "Packets per second",
    "Branch.number": "Number in the VPN",
    "Branch.reaches": "Reaches other sites",
    # firewall
    "Network.zone": "Open to it",
    "Network.interface": "Network interface",
    "AddressList.action": "What happens to them",
    "Provider.media_networks": "Voice comes from",
    # phones
    "Extension.busy_policy": "During a call",
    "Device.slot": "Slot",
    "Device.allowed_transports": "Allowed transports",
    "Device.nomadic": "Moves about",
    "RingGroup.strategy": "Members ring",
    "RingGroup.members": "Members",
    "RingGroup.no_answer": "When nobody answers",
    "GroupMember.delay_seconds": "Starts after",
    # numbers
    "NumberPlan.ranges": "Ranges of internal numbers",
    "NumberPlan.site_prefixes": "Prefixes of sites",
    "NumberPlan.outside_prefix": "Outside prefix",
    "NumberRange.first": "First",
    "NumberRange.last": "Last",
    "SitePrefix.prefix": "Prefix",
    "ServiceCode.code": "Code",
    "ServiceCode.service": "Service",
    "ClassOfService.allow": "May call",
    "ClassOfService.allow_prefixes": "Also allowed",
    "ClassOfService.deny_prefixes": "Never allowed",
    "ClassOfService.may_forward_outside": "May forward calls outside",
    "ClassOfService.may_transfer_outside": "May transfer calls outside",
    "EmergencyPlan.numbers": "Emergency numbers",
    # media
    "Listener.address": "Address",
    "Listener.zone": "Used by",
    "Listener.media_address": "Address of voice",
    "Listener.certificate": "Certificate",
    "Listener.verify_providers": "Check certificates of providers",
    "CodecPolicy.codecs": "Codecs",
    # lines
    "Provider.identity": "Caller identity",
    "Provider.dtmf": "Key tones",
    "Provider.early_media": "Early media",
    "Provider.prack": "PRACK",
    "Provider.session_timers": "Session timers",
    "Provider.t38": "Fax over T.38",
    "Provider.probe": "Check that it answers",
    "IdentityProfile.header": "Header of the caller",
    "IdentityProfile.from_user": "User in From",
    "IdentityProfile.calling_form": "Form of calling numbers",
    "IdentityProfile.called_form": "Form of called numbers",
    "IdentityProfile.clir": "Withheld numbers",
    "IdentityProfile.screening": "Send own numbers only",
    "IdentityProfile.trust_inbound_identity": "Trust the provider's identity",
    "IdentityProfile.send_diversion": "Tell who forwarded",
    "Trunk.provider": "Provider",
    "Trunk.auth": "How we are known",
    "Trunk.accept_from": "Calls come from",
    "RegisterAuth.username": "User name",
    "RegisterAuth.auth_username": "User name for authentication",
    "RegisterAuth.expires_seconds": "Registers every",
    # routing
    "ToRingGroup.ring_group": "Ring group",
    "ToService.service": "Service",
    "ToHangup.reason": "Reason",
    "InboundRoute.called": "Called number begins with",
    "InboundRoute.caller": "Caller's number begins with",
    "OutboundRoute.prefixes": "Numbers that begin with",
}
"""Label of a field."""

CHOICES: Final[dict[str, str]] = {
    "Language.it": "Italian",
    "Language.en": "English",
    "BusyPolicy.call_waiting": "Call waiting",
    "BusyPolicy.busy": "Busy to others",
    "Strategy.all": "All at once",
    "Strategy.sequential": "One after the other",
    "Strategy.round_robin": "In turn",
    "Transport.udp": "UDP",
    "Transport.tcp": "TCP",
    "Transport.tls": "TLS",
    "Transport.wss": "WebSocket (WSS)",
    "MediaSecurity.none": "None",
    "MediaSecurity.sdes": "SDES",
    "MediaSecurity.dtls": "DTLS-SRTP",
    "NetworkZone.voice": "Phones: SIP and voice",
    "NetworkZone.clients": "Browsers and mobiles: portal",
    "NetworkZone.management": "Administrators: portal and SSH",
    "ListAction.allow": "Never banned",
    "ListAction.block": "Blocked",
    "Zone.phones": "Phones",
    "Zone.trunks": "Providers",
    "Zone.web": "Browsers",
    "Codec.opus": "Opus",
    "Codec.g722": "G.722",
    "Codec.alaw": "G.711 A-law",
    "Codec.ulaw": "G.711 µ-law",
    "Service.echo": "Echo test",
    "Service.which_number": "Which number am I?",
    "Service.date_time": "Date and time",
    "Service.hold_music": "Music on hold",
    "Service.dnd_on": "Do not disturb: on",
    "Service.dnd_off": "Do not disturb: off",
    "Service.forward_set": "Forward all calls",
    "Service.forward_off": "Forward off",
    "Service.lock": "Lock the phone",
    "Service.unlock": "Unlock the phone",
    "NumberCategory.internal": "Internal numbers",
    "NumberCategory.fixed": "Fixed lines",
    "NumberCategory.mobile": "Mobile phones",
    "NumberCategory.toll_free": "Toll-free numbers",
    "NumberCategory.shared_cost": "Shared-cost numbers",
    "NumberCategory.premium": "Premium numbers",
    "NumberCategory.voip": "VoIP numbers",
    "NumberCategory.personal": "Personal numbers",
    "NumberCategory.uan": "Company-wide numbers (UAN)",
    "NumberCategory.service": "Service numbers",
    "NumberCategory.international": "International numbers",
    "NumberCategory.other": "Other numbers",
    "NumberForm.e164_plus": "With plus (+390200001234)",
    "NumberForm.e164": "Without plus (390200001234)",
    "NumberForm.national": "National (0200001234)",
    "IdentityHeader.from": "From",
    "IdentityHeader.pai": "P-Asserted-Identity",
    "IdentityHeader.rpid": "Remote-Party-ID",
    "Clir.privacy_id": "Privacy: id (RFC 3323)",
    "Clir.anonymous": "Anonymous From only",
    "Dtmf.rfc4733": "RFC 4733",
    "Dtmf.inband": "In the voice",
    "Dtmf.info": "SIP INFO",
    "Dtmf.auto": "As agreed in each call",
    "IdentityProfile.from_user.number": "Calling number",
    "IdentityProfile.from_user.account": "The line's account",
    "EventType.call.started": "Call started",
    "EventType.call.answered": "Call answered",
    "EventType.call.joined": "Call joined to another one",
    "EventType.call.missed": "Call missed",
    "EventType.call.ended": "Call ended",
    "EventType.alarm.raised": "Alarm raised",
    "EventType.alarm.cleared": "Alarm over",
    "EventField.direction": "Direction",
    "EventField.caller": "Caller",
    "EventField.caller_name": "Caller's name",
    "EventField.called": "Called number",
    "EventField.reached": "Who answered",
    "EventField.user": "User",
    "EventField.did": "Public number",
    "EventField.trunk": "Trunk",
    "EventField.site": "Site",
    "EventField.start": "Start",
    "EventField.answer": "Answer",
    "EventField.end": "End of the call",
    "EventField.duration_s": "Duration",
    "EventField.ringing_s": "Ringing time",
    "EventField.outcome": "Outcome",
    "EventField.quality": "Quality",
    "EventField.transfers": "Transfers",
    "EventField.history_id": "Number in the history",
    "Every.day": "Day",
    "Every.week": "Week",
    "Every.month": "Month",
    "Weekday.monday": "Monday",
    "Weekday.tuesday": "Tuesday",
    "Weekday.wednesday": "Wednesday",
    "Weekday.thursday": "Thursday",
    "Weekday.friday": "Friday",
    "Weekday.saturday": "Saturday",
    "Weekday.sunday": "Sunday",
    "Separator.comma": "Comma",
    "Separator.semicolon": "Semicolon",
    "Method.put": "PUT",
    "Method.post": "POST",
    "Direction.internal": "Internal",
    "Direction.inbound": "Inbound",
    "Direction.outbound": "Outbound",
    "Direction.emergency": "Emergency",
    "CallColumn.id": "Number in the history",
    "CallColumn.started": "Start",
    "CallColumn.answered": "Answer",
    "CallColumn.ended": "End of the call",
    "CallColumn.direction": "Direction",
    "CallColumn.outcome": "Outcome",
    "CallColumn.from_number": "Caller's number",
    "CallColumn.from_name": "Caller's name",
    "CallColumn.from_extension": "Caller's extension",
    "CallColumn.from_device": "Caller's device",
    "CallColumn.from_site": "Caller's site",
    "CallColumn.from_trunk": "Trunk it came in by",
    "CallColumn.dialled": "Dialled number",
    "CallColumn.reached_number": "Number that answered",
    "CallColumn.reached_extension": "Extension that answered",
    "CallColumn.reached_device": "Device that answered",
    "CallColumn.reached_site": "Site that answered",
    "CallColumn.trunk": "Trunk it left by",
    "CallColumn.failovers": "Trunks tried before",
    "CallColumn.ring_s": "Ringing time",
    "CallColumn.talk_s": "Talking time",
    "CallColumn.loss_percent": "Packet loss",
    "CallColumn.jitter_ms": "Jitter",
    "CallColumn.cause": "Cause (Q.850)",
    "CallColumn.transfers": "Transfers",
    "CallColumn.forwards": "Forwards",
    "CallColumn.incomplete": "Incomplete",
    "CallColumn.linked_id": "Engine's id of the call",
    "DirectorySecurity.ldaps": "TLS (LDAPS)",
    "DirectorySecurity.starttls": "STARTTLS",
    "Role.administrator": "Administrator",
    "Role.it-manager": "IT manager",
    "Role.hr-manager": "HR manager",
    "Role.site-manager": "Site manager",
    "Role.operator": "Operator",
    "Role.user": "User",
    "Role.auditor": "Auditor",
    "PersonBy.email": "E-mail address",
    "PersonBy.id": "Id",
    "LocalPasswords.everybody": "Everybody who has one",
    "LocalPasswords.administrators": "Administrators only",
    "ToHangup.reason.busy": "Busy",
    "ToHangup.reason.unavailable": "Unavailable",
    "ToHangup.reason.rejected": "Rejected",
}
"""Label of a choice."""

PARTS: Final[dict[str, str]] = {
    "ToExtension": "Ring an extension",
    "ToRingGroup": "Ring a group",
    "ToNumber": "Call an outside number",
    "ToService": "Play a service",
    "ToHangup": "Refuse the call",
    "RegisterAuth": "We register with user name and password",
    "AddressAuth": "By our address",
    "EmailEndpoint": "E-mail",
    "WebhookEndpoint": "Webhook (HTTPS)",
    "SftpTarget": "SFTP server",
    "HttpsTarget": "Web server (HTTPS)",
    "Address": "Street address",
    "SiteLink": "Thin link",
    "GroupMember": "Member",
    "NumberRange": "Range",
    "SitePrefix": "Prefix of a site",
    "PublicAddress": "Public address",
    "DirectoryServer": "Server",
    "DirectoryGroup": "Group",
    "ProviderGroup": "Group",
    "IdentityProfile": "Caller identity",
}
"""What one part is called: a choice among several, or one entry of a list."""

UNITS: Final[dict[str, str]] = {
    "ring_seconds": "s",
    "delay_seconds": "s",
    "expires_seconds": "s",
    "max_calls": "calls",
    "slot": "",
    "port": "",
    "order": "",
    "number": "",
    "packets_per_second": "",
}
"""Unit of every field that is a number; empty: it has none."""

INHERITED: Final[dict[str, str]] = {
    "Device.site": "the extension's",
    "Device.class_of_service": "from the extension",
    "Device.caller_number": "from the extension",
    "Device.language": "from the extension",
    "Device.codec_policy": "the policy “standard”",
    "Device.secret": "a new one is made",
    "Extension.class_of_service": "from the site",
    "Extension.caller_number": "from the site",
    "Extension.person": "nobody",
    "Extension.language": "from the person or the site",
    "Person.language": "from the site",
    "Site.language": "from the company",
    "Site.caller_number": "from the company",
    "Site.class_of_service": "the default class",
    "Provider.codec_policy": "the policy “standard”",
    "Provider.listener": "the first of its transport",
    "Listener.media_address": "the listener's own",
    "RegisterAuth.auth_username": "as the user name",
    "SiteLink.max_calls": "no limit",
    "Trunk.max_calls": "no limit",
    "Trunk.site": "not at a branch",
    "SiteLink.codec_policy": "no restriction",
    "WebhookEndpoint.previous_secret": "it isn't being replaced",
    "WebhookEndpoint.authority": "the public ones",
    "HttpsTarget.previous_secret": "it isn't being replaced",
    "HttpsTarget.authority": "the public ones",
    "DirectoryServer.port": "the usual one",
    "DirectoryService.authority": "those that the machine trusts",
    "DirectoryService.required_group": "none: everybody who is found",
    "IdentityProvider.authority": "those that the machine trusts",
    "Network.interface": "any",
    "Concentrator.pool6": "IPv4 only",
    "RingGroup.no_answer": "The call ends as unanswered",
}
"""What holds while a field is left empty."""


def of_kind(kind: str, *, several: bool = False) -> str:
    """What a kind is called."""
    return KINDS[kind][several] if kind in KINDS else plain(kind)


def of_field(model: str, name: str) -> str:
    """Label of a field of a model (the name of its class)."""
    return FIELDS.get(f"{model}.{name}") or FIELDS.get(name) or plain(name)


def of_choice(group: str, value: str) -> str:
    """Label of a choice: ``group`` is an enumeration's name, or ``Model.field``."""
    return CHOICES.get(f"{group}.{value}") or plain(value)


def of_part(part: str) -> str:
    """What a part is called (the name of its class)."""
    return PARTS.get(part) or part


def unit_of(name: str) -> str:
    """Unit of a number, or nothing."""
    return UNITS.get(name, "")


def plain(name: str) -> str:
    """A name as words, until it has a label: ``park_seconds`` is ``Park seconds``."""
    return name.replace("_", " ").capitalize()


def topics(kinds: Iterable[str]) -> list[tuple[str, list[str]]]:
    """These kinds by topic, in the order of the navigation; topics without any are left out."""
    known = set(kinds)
    found = {topic: [kind for kind in of_topic if kind in known] for topic, of_topic in TOPICS.items()}
    placed = {kind for of_topic in TOPICS.values() for kind in of_topic}
    found[list(TOPICS)[-1]] += sorted(known - placed)
    return [(topic, of_topic) for topic, of_topic in found.items() if of_topic]


def texts() -> Iterator[str]:
    """Every text in here, for the catalogues of translations."""
    for one, several in KINDS.values():
        yield from (one, several)
    yield from TOPICS
    for table in (AREAS, FIELDS, CHOICES, PARTS, UNITS, INHERITED):
        yield from (text for text in table.values() if len(text) > 1)
