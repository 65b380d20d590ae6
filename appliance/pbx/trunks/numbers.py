"""Numbers as a provider writes them, as dialplan expressions (pure)."""

from __future__ import annotations

from appliance.pbx.numbers.dialling import national
from appliance.pbx.trunks.model import NumberForm, Provider


def to_wire(variable: str, form: NumberForm, country: str) -> str:
    """The expression for a normalised number in a provider's form. ``variable`` is the *name* of a channel variable.

    Short numbers (112, 187) have no E.164 form: they are sent as they are.
    """
    if form is NumberForm.E164_PLUS:
        return f"${{{variable}}}"
    if form is NumberForm.E164:
        return f'${{IF($["${{{variable}:0:1}}" = "+"]?${{{variable}:1}}:${{{variable}}})}}'
    return national(variable, country)


def called_from_wire(variable: str, provider: Provider) -> str:
    """The expression for a called number from a provider, ready for normalisation. ``variable``: digits and plus only.

    Providers that promise ``+39…`` or ``02…`` send ``39…`` all the same now and then: a DID of ours decides.
    """
    if provider.identity.called_form is NumberForm.E164:
        return _plus(variable)
    return f"${{IF(${{DIALPLAN_EXISTS(did,+${{{variable}}},1)}}?+${{{variable}}}:${{{variable}}})}}"


def calling_from_wire(variable: str, provider: Provider) -> str:
    """The expression for a calling number from a provider, ready for normalisation."""
    return _plus(variable) if provider.identity.calling_form is NumberForm.E164 else f"${{{variable}}}"


def _plus(variable: str) -> str:
    """No calling code starts with 0, so what starts with 0 is written in another form after all."""
    first, number = f"${{{variable}:0:1}}", f"${{{variable}}}"
    return f'${{IF($["{first}" = "+" | "{first}" = "0"]?{number}:+{number})}}'
