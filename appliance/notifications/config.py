"""What the document in force asks for, read again when there is a newer revision; and the secrets that the applier handed over."""

from __future__ import annotations

from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from appliance.notifications.events import Names
from appliance.notifications.model import HistoryExport, NotificationEndpoint, WebhookEndpoint, WebReceiver
from appliance.notifications.queue import Wants
from appliance.organisation.model import Site
from appliance.paths import Paths
from appliance.store import Store
from appliance.store.handed import Handed


@dataclass(frozen=True, slots=True)
class Config:
    """One revision, as far as it matters here."""

    revision: int = -1
    endpoints: dict[str, NotificationEndpoint] = field(default_factory=dict)
    exports: dict[str, HistoryExport] = field(default_factory=dict)
    zones: dict[str, ZoneInfo] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def wants(self) -> list[Wants]:
        """What each endpoint that we can reach is to be told."""
        return [
            Wants(each.id, frozenset(e.value for e in each.events), frozenset(f.value for f in each.fields))
            for each in self.endpoints.values()
        ]

    def zone(self, export: HistoryExport) -> ZoneInfo:
        """An export's time zone."""
        return self.zones.get(export.site) or ZoneInfo("UTC")


class Source:
    """Reads them."""

    def __init__(self, store: Store, paths: Paths) -> None:
        self._store = store
        self._handed = Handed(paths.handed_to("notifications"))
        self._config = Config()

    def current(self) -> Config:
        """The newest. :raises CentralinoError: the store refuses."""
        head = self._store.head().number
        if head != self._config.revision:
            document = self._store.document(head)
            endpoints = document.all(NotificationEndpoint)
            self._config = Config(
                head,
                {id: each for id, each in endpoints.items() if isinstance(each.target, WebhookEndpoint)},
                dict(document.all(HistoryExport)),
                {id: ZoneInfo(site.time_zone) for id, site in document.all(Site).items()},
                Names.of(document),
            )
        return self._config

    def secrets(self, target: WebReceiver) -> list[str]:
        """The secrets to sign with, the new one first; none: they haven't been handed over yet, or have no value."""
        new = self.secret(target.secret)
        old = self.secret(target.previous_secret) if target.previous_secret is not None else None
        return [each for each in (new, old) if each] if new else []

    def secret(self, id: str) -> str | None:
        """One secret in the clear."""
        return self._handed.get(id)
