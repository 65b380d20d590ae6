"""Who is told of calls and alarms, and which files of the call history go where, when."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from appliance.core.fields import AnyOrder, Email, Host, Label, ListField, PemCertificates, Port
from appliance.core.model import Object, Part
from appliance.history.model import Direction
from appliance.organisation.model import SecretRef, SiteRef

HttpsUrl = Annotated[str, StringConstraints(pattern=r"^https://[^\s@#\\]+$", max_length=2000)]


class EventType(StrEnum):
    """What somebody can be told of; :mod:`appliance.notifications.events` explains each."""

    STARTED = "call.started"
    ANSWERED = "call.answered"
    JOINED = "call.joined"
    MISSED = "call.missed"
    ENDED = "call.ended"
    ALARM_RAISED = "alarm.raised"
    ALARM_CLEARED = "alarm.cleared"


class EventField(StrEnum):
    """What an event about a call says besides the call's id; :mod:`appliance.notifications.events` explains each."""

    DIRECTION = "direction"
    CALLER = "caller"
    CALLER_NAME = "caller_name"
    CALLED = "called"
    REACHED = "reached"
    USER = "user"
    DID = "did"
    TRUNK = "trunk"
    SITE = "site"
    START = "start"
    ANSWER = "answer"
    END = "end"
    DURATION = "duration_s"
    RINGING = "ringing_s"
    OUTCOME = "outcome"
    QUALITY = "quality"
    TRANSFERS = "transfers"
    HISTORY_ID = "history_id"


class EmailEndpoint(Part):
    """Notifications by e-mail."""

    type: Literal["email"] = "email"
    address: Email


class WebReceiver(Part):
    """A web server that gets something by HTTPS, signed with a secret."""

    url: HttpsUrl
    secret: SecretRef
    previous_secret: SecretRef | None = Field(
        None, description="While it is being replaced: everything is signed with both"
    )
    authority: PemCertificates | None = Field(
        None, description="Who signed the receiver's certificate; none: a public one"
    )
    allow_local: bool = Field(False, description="The receiver may be on this machine (loopback or link-local address)")


class WebhookEndpoint(WebReceiver):
    """Notifications by HTTPS POST, signed with a secret."""

    type: Literal["webhook"] = "webhook"


class NotificationEndpoint(Object):
    """Where alarms and notices go."""

    kind: ClassVar[str] = "notification_endpoint"
    name: Label
    target: Annotated[EmailEndpoint | WebhookEndpoint, Field(discriminator="type")]
    events: Annotated[tuple[EventType, ...], ListField, AnyOrder()] = Field((), description="None: all, later ones too")
    fields: Annotated[tuple[EventField, ...], ListField, AnyOrder()] = Field(
        (), description="What is told of a call; none: all, later ones too"
    )


class Every(StrEnum):
    """How often an export is made."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Weekday(StrEnum):
    """A day of the week."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"


class Separator(StrEnum):
    """What stands between two cells of a line."""

    COMMA = "comma"
    SEMICOLON = "semicolon"


class Method(StrEnum):
    """How a file is handed over by HTTPS."""

    PUT = "put"
    POST = "post"


class CallColumn(StrEnum):
    """A column of the file; they are those of ``centralino calls export``."""

    ID = "id"
    STARTED = "started"
    ANSWERED = "answered"
    ENDED = "ended"
    DIRECTION = "direction"
    OUTCOME = "outcome"
    FROM_NUMBER = "from_number"
    FROM_NAME = "from_name"
    FROM_EXTENSION = "from_extension"
    FROM_DEVICE = "from_device"
    FROM_SITE = "from_site"
    FROM_TRUNK = "from_trunk"
    DIALLED = "dialled"
    REACHED_NUMBER = "reached_number"
    REACHED_EXTENSION = "reached_extension"
    REACHED_DEVICE = "reached_device"
    REACHED_SITE = "reached_site"
    TRUNK = "trunk"
    FAILOVERS = "failovers"
    RING_S = "ring_s"
    TALK_S = "talk_s"
    LOSS_PERCENT = "loss_percent"
    JITTER_MS = "jitter_ms"
    CAUSE = "cause"
    TRANSFERS = "transfers"
    FORWARDS = "forwards"
    INCOMPLETE = "incomplete"
    LINKED_ID = "linked_id"


class SftpTarget(Part):
    """A directory on an SFTP server."""

    type: Literal["sftp"] = "sftp"
    host: Host
    port: Port = 22
    username: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@\\-]{1,64}$")]
    secret: SecretRef = Field(description="A password, or a private key in OpenSSH's or PEM form")
    host_key: Annotated[str, StringConstraints(pattern=r"^(ssh-|ecdsa-)[a-z0-9-]+ [A-Za-z0-9+/]+={0,2}$", max_length=2000)] = Field(
        description="The server's public key, as ssh-keyscan shows it after the host: no other server gets the file"
    )  # fmt: skip
    directory: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]{1,500}$")] = Field(
        ".", description="Where the files are put; a dot: where the server leads this user"
    )
    allow_local: bool = Field(False, description="The server may be on this machine (loopback or link-local address)")


class HttpsTarget(WebReceiver):
    """A web server that takes files, signed with a secret."""

    type: Literal["https"] = "https"
    method: Method = Field(Method.PUT, description="PUT: the file's name is put behind the URL")


class HistoryExport(Object):
    """A file of the calls since the one before, made and sent regularly."""

    kind: ClassVar[str] = "history_export"
    name: Label
    site: SiteRef = Field(description="Whose time counts, also in the file")
    every: Every = Every.DAY
    weekday: Weekday = Field(Weekday.MONDAY, description="If it is made every week; every month: on the first")
    time: Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] = "02:30"
    only_site: bool = Field(False, description="Only calls in which this site took part")
    directions: Annotated[tuple[Direction, ...], ListField, AnyOrder()] = Field((), description="None: all")
    columns: Annotated[tuple[CallColumn, ...], ListField] = Field((), description="In this order; none: all")
    separator: Separator = Separator.COMMA
    byte_order_mark: bool = Field(False, description="So that spreadsheets read accents rightly")
    target: Annotated[SftpTarget | HttpsTarget, Field(discriminator="type")]
