"""Settings of interfaces that were made at the edge itself: for the day on which the provider gives the branch another address, and the
centre, which has the right settings, isn't reached to say so.

They hold in place of the document's, until the document says something else of that interface than it did then. Each change is on trial:
unless the centre is reached by that interface, or somebody says that it is right, the former settings come back by themselves.

What happens when…

* the agent dies within a trial: the next one carries it on; nobody starts it: the new settings stay;
* the machine is started within a trial: the former settings hold, for whoever made the new ones may have pulled the plug because of them;
* the file is garbage: there are no settings of our own, and the document's hold; the file is kept as ``network.json.bad``;
* the disk is full: a change is refused, and nothing is another. What can't be kept any more at a trial's end is tried again.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from appliance.clock import SECOND, Clock, system_clock
from appliance.core.document import parse
from appliance.core.errors import InvalidError, NotFoundError
from appliance.core.model import Part
from appliance.failover.model import LINES, Access, DeviceName, StaticAccess, WanLine
from appliance.failover.verify import access_faults
from appliance.vpn.files import put
from appliance.vpn.slices.model import Link

_log = logging.getLogger("centralino.edge")

HERE: Final = "here"
TRIAL: Final = 120 * SECOND
SURE: Final = 15 * SECOND
"""Not before: a line that was up may be told so for some seconds after it has gone."""


class Setting(Part):
    """Of one interface. ``instead``: what the document said of it then."""

    number: Annotated[int, Field(ge=1, le=LINES)]
    device: DeviceName
    access: Access
    instead: Access | None = None


class Trial(Part):
    """``before``: the settings that come back. ``devices``: by each of which the centre has to be reached. ``began``, ``until``: ms since the machine's start ``boot``."""

    before: tuple[Setting, ...]
    devices: tuple[DeviceName, ...]
    began: int
    until: int
    boot: str


class Settings(Part):
    """All of them, as the file has them."""

    settings: tuple[Setting, ...] = ()
    trial: Trial | None = None


class Own:
    """See this module. ``file``: where they are kept. ``lasts``: a trial, ms. Several threads may use it."""

    def __init__(self, file: Path, clock: Clock = system_clock, lasts: int = TRIAL) -> None:
        self._file, self._clock, self._lasts = file, clock, lasts
        self._turn = threading.Lock()
        self._now = self._read()

    def links(self, given: tuple[Link, ...]) -> tuple[Link, ...]:
        """What holds, of what the document says: ours in place of it, where it says what it said then."""
        ours = {each.device: each for each in self._valid(self._now.settings, given)}
        others = [each for each in given if each.device not in ours]
        made = [Link(number=each.number, device=each.device, access=each.access) for each in ours.values()]
        taken = {each.number for each in made}
        return tuple(
            sorted((*made, *(each for each in others if each.number not in taken)), key=lambda each: each.number)
        )

    def change(self, number: int, device: str, access: Any, given: tuple[Link, ...], *, on_trial: bool = True) -> None:
        """Set an interface up so. ``access`` None: as the document says. ``given``: that.

        :raises InvalidError: it can't be so; nothing has changed. :raises OSError: it can't be kept; so, too.
        """
        wanted = None if access is None else checked(number, device, access)
        with self._turn:
            settings = {each.device: each for each in self._valid(self._now.settings, given)}
            former, now = self._now.trial, self._clock()
            before = former.before if former is not None else tuple(settings.values())
            settings.pop(device, None)
            if wanted is not None:
                said = next((each.access for each in given if each.device == device), None)
                settings[device] = Setting(number=number, device=device, access=wanted, instead=said)
            trial = Trial(
                before=before, devices=tuple(dict.fromkeys((*(former.devices if former is not None else ()), device))),
                began=now.uptime, until=now.uptime + self._lasts, boot=now.boot,
            )  # fmt: skip
            self._write(Settings(settings=tuple(settings.values()), trial=trial if on_trial else None))

    def keep(self) -> None:
        """What is on trial is right. :raises NotFoundError: ``no_trial``: nothing is. :raises OSError: it can't be kept."""
        with self._turn:
            if self._now.trial is None:
                raise NotFoundError(
                    "nothing is on trial", "it was kept or undone: centralino edge network", error_id="no_trial"
                )
            self._write(self._now.model_copy(update={"trial": None}))

    def look(self, works: Callable[[str], bool]) -> str | None:
        """Whether a trial is over: ``kept``, ``undone``. :param works: whether the centre is reached by an interface.

        :raises OSError: it can't be kept; it is looked at again.
        """
        with self._turn:
            trial, now = self._now.trial, self._clock()
            if trial is None:
                return None
            here = trial.boot == now.boot
            if here and now.uptime - trial.began >= min(SURE, self._lasts // 2) and all(map(works, trial.devices)):
                self._write(self._now.model_copy(update={"trial": None}))
                return "kept"
            if here and now.uptime < trial.until:
                return None
            self._write(Settings(settings=trial.before))
            return "undone"

    def told(self) -> dict[str, Any]:
        """For whoever asks: the settings, and for how many seconds they are on trial."""
        trial = self._now.trial
        left = None if trial is None else max(0, trial.until - self._clock().uptime) // 1000
        return {
            "settings": [each.model_dump(mode="json") for each in self._now.settings], "trial_s": left,
            "devices": [] if trial is None else list(trial.devices),
        }  # fmt: skip

    @staticmethod
    def _valid(settings: tuple[Setting, ...], given: tuple[Link, ...]) -> tuple[Setting, ...]:
        said: Mapping[str, Access] = {each.device: each.access for each in given}
        return tuple(each for each in settings if said.get(each.device) == each.instead)

    def _read(self) -> Settings:
        try:
            return Settings.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return Settings()
        except (OSError, ValidationError) as error:
            _log.error("%s can't be read: %s", self._file, error if isinstance(error, OSError) else "garbage")
            with contextlib.suppress(OSError):
                self._file.replace(self._file.with_name(f"{self._file.name}.bad"))
            return Settings()

    def _write(self, settings: Settings) -> None:
        put(self._file, settings.model_dump_json().encode())
        self._now = settings


def checked(number: int, device: str, access: Any) -> Access:
    """How an interface gets its addresses, from plain data, as a line of the document would. :raises InvalidError: it can't be so."""
    plain = {"id": HERE, "name": "x", "site": HERE, "number": number, "device": device, "access": access}
    try:
        line = parse({WanLine.kind: WanLine}, WanLine.kind, plain)
    except InvalidError as error:
        raise InvalidError([replace(each, path=_field(each.path)) for each in error.faults]) from error
    found: Access = line.access  # type: ignore[attr-defined]
    faults = list(access_faults(found, str)) if isinstance(found, StaticAccess) else []
    if faults:
        raise InvalidError(faults)
    return found


def _field(path: str) -> str:
    """Of a path such as ``wan_line/here/access.static.addresses[0]`` the field that somebody has filled in."""
    return path.rpartition("/")[2].rpartition(".")[2]
