"""Every kind, field, choice, part and number's unit has a label, in English and in Italian, and no label is left over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance import labels
from appliance.access.roles import AREAS, BUILT_IN
from appliance.console.portal.forms import Form, FormField, Widget, form_of
from appliance.core.model import Object, Part
from appliance.i18n import speaking, translated
from appliance.kinds import KINDS


def parts(model: type[Part]) -> Iterator[type[Part]]:
    from appliance.commands.fields import parts_of

    yield model
    for info in model.model_fields.values():
        for part, _is_list in parts_of(info.annotation):
            yield from parts(part)


MODELS = sorted({part.__name__: part for model in KINDS.values() for part in parts(model)}.items())


def everything(form: Form) -> Iterator[FormField]:
    def inside(one: FormField) -> Iterator[FormField]:
        yield one
        for inner in (*one.fields, *one.options, *((one.item,) if one.item else ())):
            yield from inside(inner)

    for one in form.fields:
        yield from inside(one)


def missing(name: str, model: type[Part]) -> list[str]:
    """Fields of a model that have no label."""
    return [
        field for field in model.model_fields if f"{name}.{field}" not in labels.FIELDS and field not in labels.FIELDS
    ]


@pytest.mark.parametrize(("name", "model"), MODELS, ids=[name for name, _model in MODELS])
def test_every_field_has_a_label(name: str, model: type[Part]) -> None:
    assert missing(name, model) == [], "put a label into appliance/labels"


def test_every_kind_has_its_names_and_a_topic() -> None:
    assert set(labels.KINDS) == set(KINDS)
    assert set(labels.AREAS) == set(AREAS)
    assert all(f"Role.{id}" in labels.CHOICES for id in BUILT_IN)
    placed = [kind for kinds in labels.TOPICS.values() for kind in kinds]
    assert sorted(placed) == sorted(KINDS)


def test_every_choice_part_and_number_is_labelled() -> None:
    for model in KINDS.values():
        for one in everything(form_of(model)):
            for _value, label in one.choices:
                assert label in labels.CHOICES.values(), f"{model.kind} {one.name}: {label}"
            for option in one.options:
                assert option.label in labels.PARTS.values(), f"{model.kind} {one.name}: {option.label}"
            if one.item is not None and one.item.widget is Widget.GROUP:
                assert one.item.label in labels.PARTS.values(), f"{model.kind} {one.name}: {one.item.label}"
            if one.widget is Widget.NUMBER:
                assert one.name in labels.UNITS, f"{model.kind} {one.name}"


def test_no_label_is_left_over() -> None:
    models = dict(MODELS)
    names = {field for model in models.values() for field in model.model_fields}
    for key in (*labels.FIELDS, *labels.INHERITED):
        model, dot, field = key.rpartition(".")
        assert field in models[model].model_fields if dot else key in names, key
    assert set(labels.PARTS) <= set(models)
    assert set(labels.UNITS) <= names


def test_every_label_is_said_in_italian() -> None:
    speaking("it")
    try:
        same = {text for text in labels.texts() if translated(text) == text}
    finally:
        speaking("")
    # Words that are the same in both languages; anything else here lacks its translation.
    assert same == SAME


SAME = {
    "Client ID", "Directory", "Issuer", "Router", "STARTTLS", "Server", "TLS (LDAPS)", "DTLS-SRTP", "E-mail", "From", "G.711 A-law", "G.711 µ-law", "G.722", "Host", "Id", "Opus", "Jitter", "POST", "PUT",
    "P-Asserted-Identity", "PRACK", "Password", "Privacy: id (RFC 3323)", "RFC 4733", "Remote-Party-ID", "SDES", "SIP INFO", "TCP", "TLS", "UDP", "URL",
    "WebSocket (WSS)", "Webhook (HTTPS)", "kbit/s", "GB",
}  # fmt: skip


def test_the_check_sees_a_field_without_a_label() -> None:
    class ParkingLot(Object):
        kind = "parking_lot"
        name: str
        first_slot: int

    assert missing("ParkingLot", ParkingLot) == ["first_slot"]
    assert labels.of_field("ParkingLot", "first_slot") == "First slot"
    assert labels.topics(["parking_lot", "site"]) == [("Organisation", ["site"]), ("System", ["parking_lot"])]
