"""The slices of the generation in force: what the centre gives out.

They lie in the generation, written by the applier with everything else, so they go forward and back with it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from appliance.applier.generations import Generation
from appliance.core.errors import CorruptError, InvalidError, NotFoundError, UnavailableError
from appliance.vpn.slices.formats import read
from appliance.vpn.slices.model import Slice
from appliance.vpn.slices.plan import FOLDER

_SITE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class Slices:
    """``configuration``: the generation in force, or the link to it (``Paths.engine.current``)."""

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration
        self._read: tuple[Path, dict[str, Slice]] = (configuration, {})

    def of(self, site: str) -> Slice:
        """A site's.

        :raises NotFoundError: ``no_branch``; :raises UnavailableError: ``no_configuration``; :raises CorruptError: ``slice_damaged``.
        """
        top = self._configuration.resolve()  # one generation, even if the link moves meanwhile
        if not top.is_dir():
            raise UnavailableError("there is no configuration yet", "start the applier", error_id="no_configuration")
        if not _SITE.fullmatch(site):
            raise _unknown(site)
        if self._read[0] != top:
            self._read = (top, {})  # a generation's files never change: each is read once
        known = self._read[1].get(site)
        if known is None:
            known = self._read[1][site] = self._opened(top, site)
        return known

    def _opened(self, top: Path, site: str) -> Slice:
        try:
            content = (top / FOLDER / f"{site}.json").read_bytes()
        except FileNotFoundError:
            raise _unknown(site) from None
        except OSError as error:
            raise UnavailableError(
                f"the configuration can't be read: {error.strerror}", "it is tried again", error_id="no_configuration"
            ) from error
        try:
            return read(content).model_copy(update={"revision": Generation(top).revision})
        except InvalidError as error:
            raise CorruptError(
                f"what was made for {site} can't be read back: {error.message}",
                "commit anything: the applier writes it anew",
                error_id="slice_damaged",
            ) from error


def _unknown(site: str) -> NotFoundError:
    return NotFoundError(
        f"no branch of site {site!r} is in use", "add one and commit: centralino branch add", error_id="no_branch"
    )
