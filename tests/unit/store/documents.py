"""Documents for the tests of the store: one with something of everything, and hypothesis strategies."""

from __future__ import annotations

from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from appliance.core.document import Document
from appliance.core.fields import Label
from appliance.core.model import Object
from appliance.failover.model import LineRole, WanLine
from appliance.firewall.model import AddressList, ListAction, Network, NetworkZone
from appliance.notifications.model import (
    CallColumn,
    EmailEndpoint,
    EventField,
    EventType,
    Every,
    HistoryExport,
    HttpsTarget,
    NotificationEndpoint,
    SftpTarget,
    WebhookEndpoint,
)
from appliance.organisation.model import (
    Address,
    Company,
    DirectoryGroup,
    DirectoryServer,
    DirectoryService,
    IdentityProvider,
    Person,
    ProviderGroup,
    Role,
    Secret,
    Site,
    SiteLink,
)
from appliance.pbx.extensions.model import BusyPolicy, Device, Extension
from appliance.pbx.groups.model import GroupMember, RingGroup
from appliance.pbx.media.model import Codec, CodecPolicy, Listener, MediaSecurity, Transport
from appliance.pbx.numbers.model import (
    ClassOfService,
    EmergencyPlan,
    NumberPlan,
    NumberRange,
    Service,
    ServiceCode,
    SitePrefix,
)
from appliance.pbx.routing.model import (
    Did,
    InboundRoute,
    OutboundRoute,
    ToExtension,
    ToHangup,
    ToNumber,
    ToRingGroup,
    ToService,
)
from appliance.pbx.trunks.model import AddressAuth, Provider, RegisterAuth, Trunk, TrunkGroup
from appliance.turn.model import OpenTo, TurnAddress, TurnServer
from appliance.vpn.model import Branch, Concentrator, PublicAddress

PEM = "-----BEGIN CERTIFICATE-----\nMAMCAQE=\n-----END CERTIFICATE-----\n"
SEALED = "sealed:v1:" + "A" * 40


def everything() -> list[Object]:
    """At least one object of each kind, with nested parts, unions and lists."""
    return [
        Company(id="demo", name="Demo Srl", caller_number="+390200001234"),
        Site(
            id="hq",
            name="Sede: centrale #1",
            company="demo",
            address=Address(street="Via Esempio 1", city="Milano", postal_code="20100"),
            networks=("192.0.2.0/24", "2001:db8::/32"),
            trunks=("line", "lines"),
            links=(SiteLink(to="shop", max_calls=4), SiteLink(to="hq", codec_policy="narrow")),
        ),
        Site(id="shop", name="no", company="demo", time_zone="Europe/Zurich", language="en"),
        Person(id="boss", name='Maria "la capa" D\'Angiò \U0001f600', email="boss@example.com", roles=("admin",)),
        Role(id="admin", name="Amministratori", permissions=("pbx:edit", "pbx.calls:view")),
        NumberPlan(
            id="plan",
            name="null",
            ranges=(NumberRange(first="200", last="299"),),
            site_prefixes=(SitePrefix(site="shop", prefix="81"),),
        ),
        EmergencyPlan(id="emergency", name="Emergenza"),
        ClassOfService(id="staff", name="Staff", allow=(), deny_prefixes=("+39899",)),
        ServiceCode(id="echo", code="*43", service=Service.ECHO),
        CodecPolicy(id="narrow", name="Stretta", codecs=(Codec.OPUS, Codec.ALAW)),
        Listener(id="udp", name="Phones", transport=Transport.UDP, address="192.0.2.1"),
        Listener(
            id="tls6", name="Phones", transport=Transport.TLS, address="2001:db8::1", port=5061, certificate="pbx"
        ),
        Extension(id="101", number="201", site="hq", person="boss", busy_policy=BusyPolicy.BUSY),
        Extension(id="e202", number="202", site="shop", label="- Banco [1]; ${EXTEN} => {x}"),
        Device(
            id="desk",
            extension="101",
            allowed_transports=(Transport.TLS, Transport.WSS),
            media_security=MediaSecurity.DTLS,
            secret="desk",
        ),
        Device(id="dect", extension="101", slot=2, nomadic=True, secret="dect"),
        RingGroup(
            id="all",
            name="Tutti",
            number="290",
            site="hq",
            members=(GroupMember(extension="101"), GroupMember(extension="e202", delay_seconds=10)),
            no_answer=ToNumber(number="+393000000000", site="hq"),
        ),
        Provider(id="telco", name="Telco"),
        Trunk(
            id="line",
            name="Linea",
            provider="telco",
            host="sip.example.com",
            auth=RegisterAuth(username="0200001234@example.com", secret="line"),
        ),
        Trunk(
            id="box",
            name="Box",
            provider="telco",
            host="2001:db8::7",
            auth=AddressAuth(),
            accept_from=("192.0.2.7/32",),
        ),
        TrunkGroup(id="lines", name="Linee", trunks=("line", "box")),
        Did(id="main", number="+390200001234", company="demo", destination=ToRingGroup(ring_group="all")),
        Did(id="echo", number="+390200001235", company="demo", destination=ToService(service=Service.ECHO)),
        InboundRoute(
            id="nuisance", name="Seccatori", order=0, caller="+390200009", destination=ToHangup(reason="rejected")
        ),
        InboundRoute(id="vip", name="Vip", order=1, trunks=("line",), destination=ToExtension(extension="101")),
        OutboundRoute(id="world", name="Mondo", order=10, prefixes=("+",), trunks=("lines",)),
        NotificationEndpoint(id="mail", name="Posta", target=EmailEndpoint(address="it@example.com")),
        NotificationEndpoint(
            id="crm",
            name="Clienti",
            target=WebhookEndpoint(url="https://crm.example.com/calls?x=1", secret="line", previous_secret="dect"),
            events=(EventType.MISSED, EventType.ENDED),
            fields=(EventField.CALLER, EventField.QUALITY),
        ),
        HistoryExport(
            id="billing",
            name="Fatture",
            site="hq",
            every=Every.MONTH,
            columns=(CallColumn.STARTED, CallColumn.TALK_S),
            target=SftpTarget(
                host="files.example.com",
                username="centralino",
                secret="line",
                host_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
            ),
        ),
        HistoryExport(
            id="archive",
            name="Archivio",
            site="hq",
            target=HttpsTarget(url="https://files.example.com/calls/", secret="line"),
        ),
        Concentrator(
            id="vpn",
            name="VPN voce",
            addresses=(PublicAddress(host="vpn.example.com"), PublicAddress(host="2001:db8::1", port=1200)),
            pool6="fd00:1:2:3::/64",
        ),
        Branch(id="hq", site="hq", number=7, enabled=False),
        WanLine(id="hq-lte", name="LTE", site="hq", number=2, role=LineRole.METERED, device="wwan0", monthly_gb=20),
        TurnServer(
            id="turn",
            name="Browser da fuori",
            addresses=(TurnAddress(host="turn.example.com"), TurnAddress(host="2001:db8::1", port=443, tls_port=8443)),
            listen=("192.0.2.10",),
            open_to=OpenTo.ANYBODY,
        ),
        Network(
            id="phones",
            name="Telefoni",
            zone=NetworkZone.VOICE,
            networks=("192.0.2.0/24", "2001:db8:1::/64"),
            interface="lan.20",
        ),
        AddressList(id="bad", name="Scanner noti", action=ListAction.BLOCK, networks=("203.0.113.0/25",)),
        DirectoryService(
            id="corp",
            name="Directory aziendale",
            servers=(DirectoryServer(host="dc1.example.com"), DirectoryServer(host="dc2.example.com", port=3269)),
            authority=PEM,
            bind_dn="CN=pbx,OU=Service,DC=example,DC=com",
            secret="reader",
            base="OU=Staff,DC=example,DC=com",
            login_attributes=("sAMAccountName", "mail"),
            groups=(DirectoryGroup(group="CN=Helpdesk \\, IT,DC=example,DC=com", role="admin"),),
        ),
        IdentityProvider(
            id="sso",
            name="Accesso",
            issuer="https://login.example.com/a",
            client_id="pbx",
            secret="reader",
            authority=PEM,
            groups=(ProviderGroup(group="it", role="admin"),),
            second_factor=("mfa",),
        ),
        Secret(id="desk", value=SEALED),
        Secret(id="reader", value=SEALED),
        Secret(id="dect"),
        Secret(id="line", value=SEALED),
    ]


def _is_label(text: str) -> bool:
    try:
        TypeAdapter(Label).validate_python(text)
    except ValidationError:
        return False
    return True


TRICKY = """
no Null ~ 1e3 0x1F 1:30 # *43 &a !x {a} [ ' " \\ = << 2026-01-01 .inf --- % @ ` a,b ? > y a: e\u0301
"""
tricky = st.sampled_from([*TRICKY.split(), "- a", "a: b", "a #b", "| x"])
labels = (st.text(max_size=120) | tricky).filter(_is_label)
ids = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
numbers = st.from_regex(r"\+[1-9][0-9]{4,14}", fullmatch=True).map(lambda text: text.replace("\n", "")) | st.none()

companies = st.builds(Company, id=ids, name=labels, caller_number=numbers, language=st.sampled_from(["it", "en"]))
people = st.builds(Person, id=ids, name=labels, roles=st.lists(ids, max_size=3).map(tuple))
extensions = st.builds(
    Extension, id=ids, number=st.from_regex(r"[0-9]{2,10}", fullmatch=True), label=st.none() | labels, site=ids
)
groups = st.builds(
    RingGroup,
    id=ids,
    name=labels,
    site=ids,
    members=st.lists(st.builds(GroupMember, extension=ids), min_size=1, max_size=3).map(tuple),
    no_answer=st.none()
    | st.builds(ToExtension, extension=ids)
    | st.builds(ToHangup, reason=st.sampled_from(["busy", "rejected"])),
)
classes = st.builds(ClassOfService, id=ids, name=labels, may_forward_outside=st.booleans())
documents = st.lists(companies | people | extensions | groups | classes, max_size=12).map(
    lambda items: Document().with_changes(items)
)
