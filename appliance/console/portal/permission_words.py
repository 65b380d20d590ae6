"""Permissions in words: ``extension.label:edit`` is "Extensions, Label: edit" (pure)."""

from __future__ import annotations

from typing import Final

from appliance import labels
from appliance.access.roles import ANY, AREAS, permission
from appliance.console.portal.forms import FormField, form_of
from appliance.core.fields import FORMS
from appliance.i18n import _, translated
from appliance.kinds import KINDS

_FORM: Final = next(form for form in FORMS.values() if form.startswith("permission "))


def is_permission(one: FormField) -> bool:
    """Whether a field holds one."""
    return one.hint == _FORM


def permission_text(text: str) -> str:
    """A permission in the reader's language; what is none comes back as it is."""
    found = permission(text)
    if found is None or found.subject not in (ANY, *KINDS, *AREAS):
        return text
    if found.subject == ANY:
        what = _("Everything")
    elif found.subject in AREAS:
        what = translated(labels.AREAS[found.subject])
    else:
        what = translated(labels.of_kind(found.subject, several=True))
        one = form_of(KINDS[found.subject]).field(found.field)
        what = f"{what}, {translated(one.label)}" if one is not None else what
    return f"{what}: {_('edit') if found.edit else _('view')}"


def offered_permissions() -> list[tuple[str, str]]:
    """Those that forms offer, with their words; of single fields one types them."""
    texts = (f"{subject}:{verb}" for subject in (*KINDS, *AREAS, ANY) for verb in ("view", "edit"))
    return [(text, permission_text(text)) for text in texts]
