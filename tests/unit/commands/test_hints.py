"""What errors and alarms tell people to type exists: a hint that leads nowhere is worse than none."""

from __future__ import annotations

import re
from typing import Any

import typer.main

from appliance.cli import app
from tools.catalogue import messages

SENTENCES = {"calls shows", "calls lists"}
"""The command is the sentence's subject."""
TYPED = re.compile(r"\bcentralino ([a-z][a-z_-]*)((?: [a-z][a-z-]*)?)")


def commands(group: Any) -> dict[str, Any]:
    """Of a group, by name; empty: it is a command itself."""
    return dict(getattr(group, "commands", {}))


def test_every_command_that_a_text_names_can_be_typed() -> None:
    top = commands(typer.main.get_command(app))
    wrong, checked = [], 0
    for text in sorted(messages()):
        for verb, word in TYPED.findall(text):
            checked += 1
            if f"{verb}{word}" in SENTENCES:
                continue
            if verb not in top or (word and commands(top[verb]) and word.strip() not in commands(top[verb])):
                wrong.append((f"centralino {verb}{word}", text))
    assert checked > 40
    assert wrong == []
