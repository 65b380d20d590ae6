"""A kind's model as a form (pure): which controls it has, what they are called, and what stands in them.

Every control has a flat name, which is its name in a submitted form and its id on the page: ``members-0-extension``,
``destination-type``, ``destination-number-site`` (the field ``site`` of the option ``number``). The way back is in
:mod:`appliance.console.portal.submission`.
"""

from __future__ import annotations

import re
import types
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from appliance import labels
from appliance.core.errors import Fault
from appliance.core.fields import FORMS, AnyOrder, Lines, RefTo
from appliance.core.model import Object, Part


class Widget(StrEnum):
    """What a field is edited with; each has a macro of its name in ``widgets.html``."""

    TEXT = "text"
    LINES = "lines"
    NUMBER = "number"
    SWITCH = "switch"
    CHOICE = "choice"
    REFERENCE = "reference"
    TIME_ZONE = "time_zone"
    SECRET = "secret"  # noqa: S105
    BOXES = "boxes"
    LIST = "list"
    GROUP = "group"
    UNION = "union"


@dataclass(frozen=True, slots=True)
class FormField:
    """One field. Texts are English message ids.

    ``hint``: the right form in words. ``nullable``: left empty it is none, not its default. ``empty_is_text``: the empty
    text is a value of its own. ``placeholder``: what holds while it is empty. ``fewest``, ``most``: entries of a list.
    ``item``: an entry of a list. ``fields``: those of a group. ``options``: groups, of which a union is one; their names
    are its types.
    """

    name: str
    label: str
    widget: Widget
    help: str = ""
    unit: str = ""
    hint: str = ""
    required: bool = False
    nullable: bool = False
    empty_is_text: bool = False
    default: Any = None
    placeholder: str = ""
    minimum: int | None = None
    maximum: int | None = None
    longest: int | None = None
    input_mode: str = "text"
    choices: tuple[tuple[str, str], ...] = ()
    kinds: tuple[str, ...] = ()
    built_in: tuple[str, ...] = ()
    ordered: bool = True
    fewest: int = 0
    most: int | None = None
    item: FormField | None = None
    fields: tuple[FormField, ...] = ()
    options: tuple[FormField, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """The form of one kind; ``fields`` are all but the id."""

    kind: str
    fields: tuple[FormField, ...]

    def field(self, name: str) -> FormField | None:
        """One field."""
        return next((one for one in self.fields if one.name == name), None)


@cache
def form_of(model: type[Object]) -> Form:
    """The form of a kind."""
    return Form(model.kind, _fields(model, skip="id"))


def _fields(model: type[Part], skip: str = "") -> tuple[FormField, ...]:
    return tuple(_field(model, name, info) for name, info in model.model_fields.items() if name != skip)


_ADDRESSES: Final = {"_address": "IP address", "_network": "network (CIDR)"}
_MODES: Final = {
    "2 to 10 digits": "numeric",
    "digits, * and #": "tel",
    "number in E.164 form (+39…)": "tel",
    "beginning of an E.164 number": "tel",
    "e-mail address": "email",
}
"""Which keys a phone's screen offers for a form."""
_LANGUAGE: Final = r"^(it|en)$"


def _field(model: type[Part], name: str, info: FieldInfo) -> FormField:
    annotation = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    found = _described(f"{model.__name__}.{name}", annotation)
    default = None if info.is_required() else _json(info.get_default(call_default_factory=True))
    if info.repr is False:
        found = replace(found, widget=Widget.SECRET)
    return replace(
        found,
        name=name,
        label=labels.of_field(model.__name__, name),
        help="" if found.item is not None and found.item.built_in else info.description or "",
        unit=labels.unit_of(name),
        required=info.is_required(),
        default=default,
        placeholder=labels.INHERITED.get(f"{model.__name__}.{name}", ""),
        empty_is_text=found.widget is Widget.TEXT and not found.nullable and _takes_empty(annotation),
    )


def _json(value: Any) -> Any:
    """A default as plain data."""
    if isinstance(value, Part):
        return value.model_dump(mode="json")
    if isinstance(value, tuple):
        return [_json(one) for one in value]
    if isinstance(value, Enum):
        return value.value
    return None if value is PydanticUndefined else value


def _takes_empty(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python("")
    except ValidationError:
        return False
    return True


def _opened(annotation: Any) -> tuple[Any, list[Any], bool]:
    """A type without its marks, all marks, and whether it may be none."""
    marks: list[Any] = []
    nullable = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            marks += [inner for mark in more for inner in (getattr(mark, "metadata", None) or [mark])]
        elif origin in (Union, types.UnionType) and type(None) in get_args(annotation):
            nullable = True
            rest = [option for option in get_args(annotation) if option is not type(None)]
            annotation = rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007 (made at run time)
        else:
            return annotation, marks, nullable


def _mark(marks: Sequence[Any], name: str) -> Any:
    return next((found for mark in marks if (found := getattr(mark, name, None)) is not None), None)


def _described(place: str, annotation: Any) -> FormField:
    """What a type is edited with. ``place``: ``Model.field``, under which labels of choices are found."""
    inner, marks, nullable = _opened(annotation)
    base = FormField(name="", label="", widget=Widget.TEXT, nullable=nullable)
    origin = get_origin(inner)
    if origin is tuple:
        return _list(place, get_args(inner)[0], marks, base)
    for mark in marks:
        if isinstance(mark, RefTo):
            built_in = tuple(sorted(getattr(mark, "built_in", ())))
            return replace(base, widget=Widget.REFERENCE, kinds=mark.kinds, built_in=built_in)
    if origin in (Union, types.UnionType):
        options = tuple(option_of(part) for part in get_args(inner))
        return replace(base, widget=Widget.UNION, options=options)
    if isinstance(inner, type) and issubclass(inner, Part):
        return replace(base, widget=Widget.GROUP, fields=_fields(inner), label=labels.of_part(inner.__name__))
    if inner is bool:
        return replace(base, widget=Widget.SWITCH)
    if choices := _choices(place, inner):
        return replace(base, widget=Widget.CHOICE, choices=choices)
    if inner is int:
        least, most = _mark(marks, "ge"), _mark(marks, "le")
        return replace(base, widget=Widget.NUMBER, minimum=least, maximum=most, input_mode="numeric")
    return _text(marks, base)


def option_of(part: type[Part]) -> FormField:
    """An option of a union, as a group of the fields that it has besides its type."""
    name = get_args(part.model_fields["type"].annotation)[0]
    return FormField(name, labels.of_part(part.__name__), Widget.GROUP, fields=_fields(part, skip="type"))


def _list(place: str, entry: Any, marks: Sequence[Any], base: FormField) -> FormField:
    item = _described(place, entry)
    ordered = not any(isinstance(mark, AnyOrder) for mark in marks)
    fewest, most = _mark(marks, "min_length") or 0, _mark(marks, "max_length")
    if item.widget is Widget.CHOICE and not ordered:
        return replace(base, widget=Widget.BOXES, choices=item.choices, ordered=False, fewest=fewest, most=most)
    item = replace(item, required=True, label=item.label or labels.of_field(*place.split(".")))
    return replace(base, widget=Widget.LIST, item=item, ordered=ordered, fewest=fewest, most=most)


def _choices(place: str, inner: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(inner, type) and issubclass(inner, StrEnum):
        members: Sequence[Any] = list(inner)
    elif get_origin(inner) is Literal:
        members = get_args(inner)
    else:
        return ()
    group = type(members[0]).__name__ if isinstance(members[0], Enum) else place
    values = [str(getattr(member, "value", member)) for member in members]
    return tuple((value, labels.of_choice(group, value)) for value in values)


def _text(marks: Sequence[Any], base: FormField) -> FormField:
    pattern = _mark(marks, "pattern")
    pattern = getattr(pattern, "pattern", pattern)
    if pattern == _LANGUAGE:
        choices = tuple((value, labels.of_choice("Language", value)) for value in ("it", "en"))
        return replace(base, widget=Widget.CHOICE, choices=choices)
    for mark in marks:
        if isinstance(mark, AfterValidator):
            name = getattr(mark.func, "__name__", "")
            if name == "_zone":
                return replace(base, widget=Widget.TIME_ZONE)
            if name in _ADDRESSES:
                return replace(base, hint=_ADDRESSES[name])
    hint = FORMS.get(pattern, "") if pattern else ""
    longest = _mark(marks, "max_length")
    if any(isinstance(mark, Lines) for mark in marks):
        return replace(base, widget=Widget.LINES, longest=longest)
    return replace(base, hint=hint, longest=longest, input_mode=_MODES.get(hint, "text"))


# -- what stands in a form ----------------------------------------------------------------------------------------


def initial(form: Form) -> dict[str, Any]:
    """What a new object's form starts with. Numbers and references with a default stay empty: it is shown instead."""
    return _initial_of(form.fields)


def _initial_of(fields: Sequence[FormField]) -> dict[str, Any]:
    return {one.name: value for one in fields if (value := start_of(one)) is not None}


def start_of(one: FormField) -> Any:
    """What one field starts with; None: nothing."""
    match one.widget:
        case Widget.GROUP:
            return one.default if one.default is not None else None if one.nullable else _initial_of(one.fields)
        case Widget.LIST | Widget.BOXES:
            return list(one.default or [])
        case Widget.SWITCH:
            return bool(one.default)
        case Widget.CHOICE | Widget.TEXT | Widget.LINES | Widget.TIME_ZONE:
            return one.default
        case Widget.NUMBER if one.nullable:
            return one.default
        case _:
            return None


def entry_of(item: FormField) -> Any:
    """A new entry of a list, or of an optional group."""
    return _initial_of(item.fields) if item.widget is Widget.GROUP else ""


@dataclass(frozen=True, slots=True)
class Filled:
    """A field with what stands in it, as templates show it.

    ``name``: flat name. ``locked``: may be seen, not edited. ``position`` of ``count``: an entry of a list. ``inner``:
    filled fields of a group, entries of a list, options of a union. ``given``: whether an optional group is there; of a
    union's option: whether it is the one.
    """

    field: FormField
    name: str
    value: Any
    faults: tuple[Fault, ...] = ()
    locked: bool = False
    position: int = 0
    count: int = 0
    inner: tuple[Filled, ...] = ()
    given: bool = True

    @property
    def wrong(self) -> bool:
        """Whether something is wrong with it itself."""
        return bool(self.faults)

    @property
    def choices(self) -> tuple[tuple[str, str], ...]:
        """Boxes in the model's order, unless what is ticked has an order of its own: that stays."""
        known = dict(self.field.choices)
        ticked = [value for value in self.value or () if value in known]
        if ticked == [value for value in known if value in ticked]:
            return self.field.choices
        return (
            *((value, known[value]) for value in ticked),
            *(pair for pair in known.items() if pair[0] not in ticked),
        )


@dataclass(frozen=True, slots=True)
class _Filling:
    faults: Mapping[str, Sequence[Fault]]
    locked: bool = False

    def fill(self, one: FormField, name: str, value: Any, position: int = 0, count: int = 0) -> Filled:
        inner: tuple[Filled, ...] = ()
        given = True
        if one.widget is Widget.GROUP:
            given = value is not None or not one.nullable
            inner = self.group(one.fields, name, value) if given else ()
        elif one.widget is Widget.UNION:
            kind = value.get("type") if isinstance(value, dict) else None
            given = kind is not None
            inner = tuple(self.option(option, f"{name}-{option.name}", value, kind) for option in one.options)
        elif one.widget is Widget.LIST and one.item is not None:
            entries = value if isinstance(value, list | tuple) else []
            if not entries and one.fewest and not self.locked:
                entries = [entry_of(one.item)]
            inner = tuple(
                self.fill(one.item, f"{name}-{index}", entry, index + 1, len(entries))
                for index, entry in enumerate(entries)
            )
        faults = tuple(self.faults.get(name, ()))
        return Filled(one, name, value, faults, self.locked, position, count, inner, given)

    def group(self, fields: Sequence[FormField], name: str, value: Any) -> tuple[Filled, ...]:
        values = value if isinstance(value, dict) else {}
        return tuple(self.fill(one, f"{name}-{one.name}", values.get(one.name)) for one in fields)

    def option(self, option: FormField, name: str, value: Any, kind: object) -> Filled:
        chosen = kind == option.name
        filled = self.fill(option, name, value if chosen else _initial_of(option.fields))
        return replace(filled, given=chosen)


def filled(
    form: Form,
    data: Mapping[str, Any],
    faults: Mapping[str, Sequence[Fault]] | None = None,
    editable: frozenset[str] | set[str] | None = None,
    visible: frozenset[str] | set[str] | None = None,
) -> tuple[Filled, ...]:
    """A form with data in it. ``faults`` by flat name. ``editable``, ``visible``: names of fields; None: all."""
    return tuple(
        _Filling(faults or {}, locked=editable is not None and one.name not in editable).fill(
            one, one.name, data.get(one.name)
        )
        for one in form.fields
        if visible is None or one.name in visible
    )


# -- what lists and confirmations need ------------------------------------------------------------------------------

_TITLES: Final = ("name", "label", "number", "code")
COLUMNS_MAX: Final = 5


def title_of(data: Mapping[str, Any]) -> str:
    """What people call an object: its name, label, number (of a telephone, not one that counts), else its id."""
    return next(
        (data[name] for name in _TITLES if data.get(name) and isinstance(data[name], str)), str(data.get("id", ""))
    )


def lead_of(form: Form) -> FormField | None:
    """The field that a list's lines begin with: what people call the object by. None: they begin with its id."""
    fields = (one for name in _TITLES if (one := form.field(name)) is not None)
    return next((one for one in fields if one.widget is not Widget.NUMBER), None)


def columns(form: Form, most: int = COLUMNS_MAX) -> tuple[FormField, ...]:
    """The fields that a list shows beside the one that leads: required ones before others, in the model's order. Which secret
    holds a password tells nobody anything, and looks like the password."""
    lead = lead_of(form)
    shown = [
        one
        for one in form.fields
        if one.widget not in (Widget.GROUP, Widget.LINES) and one is not lead and one.kinds != ("secret",)
    ]
    most -= lead is not None
    wanted = sorted(shown, key=lambda one: (not one.required, shown.index(one)))[:most]
    return tuple(one for one in shown if one in wanted)


def control_of(one: FormField, name: str) -> str:
    """The name of the first control inside a field, to which the keyboard goes."""
    if one.widget is Widget.GROUP and one.fields:
        return control_of(one.fields[0], f"{name}-{one.fields[0].name}")
    return f"{name}-type" if one.widget is Widget.UNION else name


def suggested_id(data: Mapping[str, Any], taken: frozenset[str] | set[str]) -> str:
    """An id for a new object, made from what people call it; one that is free."""
    text = title_of({name: value for name, value in data.items() if name != "id"}).lower()
    stem = re.sub(r"[^a-z0-9]+", "-", _unaccented(text)).strip("-")[:32].strip("-") or "new"
    return next(id for id in (stem, *(f"{stem}-{number}" for number in range(2, len(taken) + 3))) if id not in taken)


def _unaccented(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
