"""From one script of rules to another: what is there in the end, and that no rule ever looks at a set that isn't filled."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings

from appliance.core.document import Document
from appliance.firewall.promise import Machine, promise
from appliance.firewall.rules import TABLE, script
from appliance.firewall.transition import Standing, transitions
from tests import strategies
from tests.unit.firewall.test_promise import document, network

EMPTY: Final = script(promise(Document(), Machine()))
BLOCK: Final = re.compile(r"^  (set|chain) (\S+) \{\n(.*?)^  \}\n", re.MULTILINE | re.DOTALL)


class Kernel:
    """As much of the kernel as our scripts use; it refuses what the real one does."""

    def __init__(self, whole: str) -> None:
        self.sets: dict[str, str] = {}
        self.chains: dict[str, str] = {}
        self.counters: set[str] = set()
        self._table(whole[whole.index(f"table inet {TABLE} {{") :])

    def run(self, step: str) -> None:
        head, _, table = step.partition(f"table inet {TABLE} {{\n")
        for line in head.splitlines():
            match line.split():
                case ["flush", "table", "inet", _]:
                    self.chains = dict.fromkeys(self.chains, "")
                case ["flush", "set", "inet", _, name]:
                    self.sets[name] = re.sub(r"    elements = .*\n", "", self.sets[name])
                case ["delete", kind, "inet", _, name]:
                    assert f" {name} " not in " ".join(self.chains.values()).replace("@", " "), "it is in use"
                    {"set": self.sets, "chain": self.chains}[kind].pop(
                        name
                    ) if kind != "counter" else self.counters.remove(name)
                case _:
                    raise AssertionError(line)
        self._table(table)

    def _table(self, text: str) -> None:
        self.counters |= set(re.findall(r"^  counter (\S+) \{ \}$", text, re.MULTILINE))
        for kind, name, body in BLOCK.findall(text):
            if kind == "set":
                stood = self.sets.get(name)
                assert stood is None or stood.splitlines()[0] == body.splitlines()[0], "a set of another kind"
                assert stood is None or "elements" not in stood, "elements that overlap"
                self.sets[name] = body
            else:
                self.chains[name] = self.chains.get(name, "") + body

    def has(self) -> tuple[dict[str, str], dict[str, str], set[str]]:
        return self.sets, self.chains, self.counters

    def standing(self) -> Standing:
        return Standing.of([
            {"metainfo": {}}, {"table": {"name": TABLE}}, *({"set": {"name": each}} for each in self.sets),
            *({"chain": {"name": each}} for each in self.chains), *({"counter": {"name": each}} for each in self.counters),
            {"rule": {"chain": "input"}},
        ])  # fmt: skip


def rules(of: Document) -> str:
    return script(promise(of, Machine(provisioning=8088)))


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(strategies.documents(), strategies.documents())
def test_the_end_is_what_the_script_says_and_new_sets_are_filled_first(before: Document, after: Document) -> None:
    kernel, wanted = Kernel(rules(before)), rules(after)
    chains, sets = dict(kernel.chains), dict(kernel.sets)
    *first, switch = transitions(wanted, TABLE, kernel.standing())
    for step in first:
        kernel.run(step)
        assert kernel.chains == chains, "no rule is another yet"
        assert {name: kernel.sets[name] for name in sets} == sets
    new = kernel.sets.keys() - sets.keys()
    assert new == Kernel(wanted).sets.keys() - sets.keys(), "all of them are there before the rules"
    for name in new:
        assert kernel.sets[name] == Kernel(wanted).sets[name]
        kernel.sets[name] = re.sub(r"    elements = .*\n", "", kernel.sets[name])  # the kernel takes the same once more
    kernel.run(switch)
    assert kernel.has() == Kernel(wanted).has()


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(strategies.documents())
def test_the_same_again_makes_nothing_and_removes_nothing(made: Document) -> None:
    kernel = Kernel(rules(made))
    (switch,) = transitions(rules(made), TABLE, kernel.standing())
    assert "delete" not in switch
    kernel.run(switch)
    assert kernel.has() == Kernel(rules(made)).has()


def test_what_nobody_needs_any_more_is_removed() -> None:
    """Groups that come and go, there and back."""
    phones = network("phones", "voice", "192.0.2.0/24")
    some = [document(), document(phones, network("office", "management", "10.5.0.0/16")), document(phones), Document()]
    kernel = Kernel(rules(some[0]))
    for made in (*some[1:], *some):
        for step in transitions(rules(made), TABLE, kernel.standing()):
            for name in kernel.sets.keys() & set(
                re.findall(r"^  set (\S+) ", step, re.MULTILINE)
            ):  # what is there is taken once more
                if f"flush set inet {TABLE} {name}\n" not in step:
                    kernel.sets[name] = re.sub(r"    elements = .*\n", "", kernel.sets[name])
            kernel.run(step)
        assert kernel.has() == Kernel(rules(made)).has()


@pytest.mark.parametrize(
    "listed",
    [
        [],
        [{"metainfo": {}}, {"table": {"name": TABLE}}],
        [{"chain": {"name": "input"}}, {"map": {"name": "mine"}}],
        [{"chain": {"name": "input"}}, {"flowtable": {"name": "fast"}}],
    ],
    ids=["no table", "an empty one", "a map", "a flow table"],
)
def test_what_cannot_be_reached_is_replaced_as_a_whole(listed: list[dict[str, Any]]) -> None:
    assert transitions(EMPTY, TABLE, Standing.of(listed)) == ()


def test_to_take_all_rules_away_is_no_transition() -> None:
    script = f"table inet {TABLE}\ndelete table inet {TABLE}\n"
    assert transitions(script, TABLE, Kernel(EMPTY).standing()) == ()
