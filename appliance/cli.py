"""The ``centralino`` command: puts the verbs together and turns errors into one line with a hint."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from appliance.commands import (
    access,
    bans,
    calls,
    configuration,
    edge,
    files,
    firewall,
    keys,
    lab,
    notifications,
    objects,
    schedule,
    system,
    vpn,
)
from appliance.commands.common import print_error
from appliance.core.errors import CentralinoError
from appliance.i18n import _, speak
from appliance.kinds import KINDS

app = typer.Typer(
    name="centralino",
    help=_("On-premises telephone system: configuration, calls, health."),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help=_("Show a traceback when something fails"))] = False,
) -> None:
    """Options of every verb."""
    if debug:
        os.environ["CENTRALINO_DEBUG"] = "1"


configuration.add_to(app)
files.add_to(app)
schedule.add_to(app)
keys.add_to(app)
system.add_to(app)
calls.add_to(app)
notifications.add_to(app)
vpn.add_to(app)
edge.add_to(app)
firewall.add_to(app)
bans.add_to(app)
lab.add_to(app)
access.add_to(app)
for _kind in KINDS:
    app.add_typer(objects.command(_kind), name=_kind, rich_help_panel=_("Objects of the document"))


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 an error of ours, 2 wrong usage, 130 interrupted."""
    speak()
    try:
        app(prog_name="centralino")
    except CentralinoError as error:
        if os.environ.get("CENTRALINO_DEBUG"):
            raise
        print_error(error, json="--json" in sys.argv)
        sys.exit(1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("CENTRALINO_DEBUG"):
            raise
        print_error(
            CentralinoError(f"{type(error).__name__}: {error}", "run it again with --debug and report what it says"),
            json="--json" in sys.argv,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
