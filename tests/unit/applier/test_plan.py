"""From files to files: which steps, in which order, with which effect."""

from __future__ import annotations

import re

from appliance.applier import plan as plans
from appliance.applier.plan import RUNTIME, Files, build, checkpoints
from appliance.core.asterisk import ConfFile, Section, dialplan, table
from appliance.core.document import Change, Document
from appliance.core.plan import CollectState, Effect, LoadRules, ReadBack, ReloadModule, RestartEngine, WriteFile
from appliance.organisation.model import Secret
from appliance.pbx.context import Installation
from appliance.pbx.extensions.model import Extension
from appliance.pbx.groups.model import RingGroup, Strategy
from appliance.pbx.plan import desired
from appliance.run.demo import demo

UDP = Section("udp", (("protocol", "udp"), ("bind", "192.0.2.1:5060")), "transport")
PHONE = Section("desk", (("context", "from-device"), ("aors", "desk")), "endpoint")
AOR = Section("desk", (("max_contacts", "1"),), "aor")


def pjsip(*sections: Section) -> ConfFile:
    return ConfFile("pjsip.conf", sections)


OLD: Files = {
    "asterisk.conf": "[options]\n",
    "pjsip.conf": pjsip(UDP, PHONE, AOR),
    "extensions.conf": ConfFile("extensions.conf", (dialplan("a", ("1", ["NoOp()"])),)),
    "tables/names.conf": table("names", [("201", "Rossi"), ("301", "Bianchi")]),
}


def replaced(**files: ConfFile | str) -> Files:
    return {**OLD, **{name.replace("_", ".", 1): file for name, file in files.items()}}


def test_equal_files_need_no_step() -> None:
    assert build(OLD, dict(OLD)).steps == ()
    assert build(OLD, replaced(pjsip_conf=pjsip(UDP, PHONE, AOR))).steps == ()


def test_one_changed_endpoint_is_written_reloaded_and_read_back() -> None:
    changed = Section("desk", (("context", "elsewhere"), ("aors", "desk")), "endpoint")
    plan = build(OLD, replaced(pjsip_conf=pjsip(UDP, changed, AOR)))
    assert plan.steps == (
        WriteFile("pjsip.conf", pjsip(UDP, changed, AOR).text),
        ReloadModule("res_pjsip.so"),
        ReadBack("pjsip.conf", "desk", "endpoint", PHONE, changed),
    )
    assert plan.effect is Effect.LIVE


def test_a_hot_table_is_written_and_read_back_but_nothing_is_reloaded() -> None:
    names = table("names", [("201", "Verdi"), ("301", "Bianchi")])
    plan = build(OLD, {**OLD, "tables/names.conf": names})
    assert [type(step) for step in plan.steps] == [WriteFile, ReadBack]
    assert plan.steps[1] == ReadBack(
        "tables/names.conf",
        "01",
        "",
        OLD["tables/names.conf"].sections[0],
        names.sections[0],  # type: ignore[union-attr]
    )


def test_changed_hints_reload_the_dialplan_once_so_that_lamps_follow() -> None:
    old = {**OLD, "tables/hints.conf": table("hints", [("201", "PJSIP/desk")])}
    new = {**old, "tables/hints.conf": table("hints", [("201", "PJSIP/desk&PJSIP/cordless")])}
    reloads = [step for step in build(old, new).steps if isinstance(step, ReloadModule)]
    assert reloads == [ReloadModule("pbx_config.so")]
    new["extensions.conf"] = ConfFile("extensions.conf", (dialplan("b", ("1", ["NoOp()"])),))
    reloads = [step for step in build(old, new).steps if isinstance(step, ReloadModule)]
    assert reloads == [ReloadModule("pbx_config.so")]


def test_several_files_are_reloaded_once_per_module_before_anything_is_read_back() -> None:
    new = replaced(
        pjsip_conf=pjsip(UDP, PHONE), extensions_conf=ConfFile("extensions.conf", (dialplan("b", ("1", ["NoOp()"])),))
    )
    kinds = [type(step) for step in build(OLD, new).steps]
    assert kinds == [WriteFile, WriteFile, ReloadModule, ReloadModule, ReadBack, ReadBack, ReadBack]


def test_a_removed_object_is_to_be_gone() -> None:
    plan = build(OLD, replaced(pjsip_conf=pjsip(UDP, PHONE)))
    assert ReadBack("pjsip.conf", "desk", "aor", AOR, None) in plan.steps


def test_a_changed_transport_drops_connections_a_removed_one_needs_a_restart_a_new_one_neither() -> None:
    moved = Section("udp", (("protocol", "udp"), ("bind", "192.0.2.1:5070")), "transport")
    tcp = Section("tcp", (("protocol", "tcp"), ("bind", "192.0.2.1:5060")), "transport")
    assert build(OLD, replaced(pjsip_conf=pjsip(moved, PHONE, AOR))).effect is Effect.DROPS_CONNECTIONS
    assert build(OLD, replaced(pjsip_conf=pjsip(PHONE, AOR))).effect is Effect.NEEDS_RESTART
    assert build(OLD, replaced(pjsip_conf=pjsip(UDP, tcp, PHONE, AOR))).effect is Effect.LIVE


def test_files_read_at_start_only_restart_the_engine_once_and_reload_nothing() -> None:
    new = replaced(asterisk_conf="[options]\nverbose=1\n", modules_conf="[modules]\n", pjsip_conf=pjsip(UDP, PHONE))
    plan = build(OLD, new)
    restarts = [step for step in plan.steps if isinstance(step, RestartEngine)]
    assert [step.reason for step in restarts] == ["asterisk.conf, modules.conf: read at start only"]
    assert not [step for step in plan.steps if isinstance(step, ReloadModule)]
    assert plan.effect is Effect.NEEDS_RESTART


def test_a_file_that_is_no_longer_wanted_goes() -> None:
    new = {name: file for name, file in OLD.items() if not name.startswith("tables")}
    plan = build(OLD, new)
    assert WriteFile("tables/names.conf", None) in plan.steps
    assert [step.section for step in plan.steps if isinstance(step, ReadBack)] == ["01"]


def test_contexts_of_one_name_are_compared_as_the_engine_merges_them() -> None:
    one = ConfFile("extensions.conf", (dialplan("a", ("1", ["NoOp()"])), dialplan("a", ("2", ["NoOp()"]))))
    [step] = [s for s in build(OLD, replaced(extensions_conf=one)).steps if isinstance(s, ReadBack)]
    assert step.after is not None
    assert step.after.options == (("exten", "1,1,NoOp()"), ("exten", "2,1,NoOp()"))


def test_runtime_values_of_deleted_objects_are_collected_but_not_of_changed_ones() -> None:
    extension = Extension(id="e", number="201", label="Desk", site="hq")
    secret = Secret(id="s")
    gone = Change("extension", "e", extension, None)
    changed = Change("extension", "f", extension, extension)
    assert build(OLD, OLD, [gone, changed, Change("secret", "s", secret, None)]).steps == (
        CollectState("extension", "e"),
    )


def test_checkpoints_name_every_moment_between_the_steps() -> None:
    names = table("names", [("201", "Verdi")])
    new = {**OLD, "pjsip.conf": pjsip(UDP, PHONE), "tables/names.conf": names}
    assert checkpoints(build(OLD, new), confirm=True) == (
        "journalled", "wrote pjsip.conf", "wrote tables/names.conf", "generation complete", "switched",
        "reloaded res_pjsip.so", "read back", "confirm pending", "promoted", "settled", "handed out", "collected", "pruned",
    )  # fmt: skip


def test_a_plan_shown_holds_no_content() -> None:
    auth = Section("desk", (("password_digest", "MD5:0123456789abcdef"),), "auth")
    shown = plans.as_json(build(OLD, replaced(pjsip_conf=pjsip(UDP, PHONE, AOR, auth))))
    assert "0123456789abcdef" not in str(shown)
    assert plans.for_people(shown).splitlines()[-1] == "[live] read back auth desk of pjsip.conf (added)"


def test_a_plan_for_people_names_the_effect_of_each_step_and_counts_what_it_leaves_out() -> None:
    phones = [Section(f"d{index}", (("context", "x"),), "endpoint") for index in range(30)]
    lines = plans.for_people(plans.as_json(build(OLD, replaced(pjsip_conf=pjsip(UDP, PHONE, AOR, *phones)))))
    assert "[live] reload res_pjsip.so" in lines
    assert lines.endswith("[live] … and 10 more objects to read back")
    assert plans.for_people(plans.as_json(build(OLD, OLD))) == "nothing to do on the engine"


def test_every_family_of_runtime_values_that_the_dialplan_uses_is_collected() -> None:
    company = demo("192.0.2.1", lambda: "secret")
    turns = {"strategy": Strategy.ROUND_ROBIN}
    objects = [o.model_copy(update=turns) if isinstance(o, RingGroup) else o for o in company.objects]
    files = desired(Document.of(objects), Installation("token", company.secrets, {"appliance": ("c", "k")}))
    used = set(re.findall(r"DB(?:_DELETE)?\(([a-z-]+)/", files["extensions.conf"].text))
    assert used >= {"dnd", "forward", "lock", "round-robin"}
    of_calls = {"redirect"}  # gone with its call
    assert used - of_calls == {family for families in RUNTIME.values() for family in families}


def test_a_branch_s_routes_disturb_nobody_and_a_daemon_that_changes_drops_its_tunnels() -> None:
    name, client = "host/vpn/voice-0.conf", "host/vpn/voice-0/torino"
    old: Files = {name: "port 1194\nroute 10.3.0.0 255.255.255.0\n", client: "iroute 10.3.0.0 255.255.255.0\n"}

    def effect(new: Files) -> Effect:
        plan = build(old, new)
        assert {type(step) for step in plan.steps} == {WriteFile}  # its keeper follows the files by itself
        return plan.effect

    assert (
        effect({**old, name: "port 1194\nroute 10.4.0.0 255.255.255.0\n", client: "iroute 10.4.0.0\n"}) is Effect.LIVE
    )
    assert effect({**old, name: "port 1195\nroute 10.3.0.0 255.255.255.0\n"}) is Effect.DROPS_CONNECTIONS
    assert effect({}) is Effect.DROPS_CONNECTIONS
    assert build({}, old).effect is Effect.LIVE


def test_the_firewall_s_rules_are_loaded_when_they_change_and_only_then() -> None:
    old: Files = {"host/firewall.nft": "one"}
    assert build(old, old).steps == ()
    plan = build(old, {"host/firewall.nft": "two"})
    assert plan.steps == (WriteFile("host/firewall.nft", "two"), LoadRules("host/firewall.nft"))
    assert checkpoints(plan)[:4] == ("journalled", "wrote host/firewall.nft", "generation complete", "switched")
    assert "loaded the firewall's rules" in checkpoints(plan)
