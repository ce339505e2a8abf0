"""What of a policy is in shadow: it says what it would do, and does nothing.

Contract: pure.  What is nearest counts: a rule's own `shadow`, else its rule set's, else the policy's.  `in_shadow`
names what is in shadow as a person calls it, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .policy_models import PolicyModel

WHOLE: Final = "the whole policy"


def nearest(*said: bool | None) -> bool:
    """Return what was said first, the nearest being the first; False if nothing was."""
    return next((one for one in said if one is not None), False)


def in_shadow(model: PolicyModel) -> tuple[str, ...]:
    """Return the names of what is in shadow; WHOLE alone if nothing at all acts."""
    parts = dict(_parts(model))
    if model.shadow and all(parts.values()):
        return (WHOLE,)
    return tuple(name for name, shadow in parts.items() if shadow)


def _parts(model: PolicyModel) -> Iterator[tuple[str, bool]]:
    """Yield what there is, and whether it is in shadow; a rule set that is so as a whole is one."""
    if model.privacy_options:
        yield "privacy_options", model.shadow
    if model.banner != "unchanged":
        yield "banner", model.shadow
    if "budgets" in model.model_fields_set:
        yield "budgets", model.shadow
    if model.auth.require_tls:
        yield "auth", nearest(model.auth.shadow, model.shadow)
    if model.relay_domains is not None:
        yield "relay_domains", nearest(model.relay_domains.shadow, model.shadow)
    for name, limit in model.limits.items():
        yield f"limit {name}", nearest(limit.shadow, model.shadow)
    for name, rule_set in model.rulesets.items():
        found = [nearest(rule.shadow, rule_set.shadow, model.shadow) for rule in rule_set.rules]
        if all(found) or not any(found):
            yield name, bool(found) and found[0]
        else:
            yield from ((f"{name}, rule {number}", shadow) for number, shadow in enumerate(found, 1))
