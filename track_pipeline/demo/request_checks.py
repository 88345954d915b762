"""The simulator's checks of requests.

It refuses all requests that differ from the public copy of the API's documentation and from the original system. The
reasons of refused lines are invented.
"""

import re
from typing import Any, Final

Object = dict[str, Any]

_DISTRIBUTION_KEYS: Final = {
    "survey_uuid", "distribution_channel", "import_lines", "reminder_channel", "reminder_at", "validity_at",
    "template_invite_hash", "template_expired_hash", "template_thanks_hash",
    "whatsapp_template", "whatsapp_reminder_template", "whatsapp_integration_uuid",
}  # fmt: skip
_LINK_LIST_KEYS: Final = {"survey_uuid", "import_lines", "async", "shortened_link"}
_TEMPLATE_KEYS: Final = {"name": str, "language": str, "variables": list, "id_provider": str}
# Epoch seconds with ten digits; milliseconds have thirteen.
_EPOCH_SECONDS: Final = range(10**9, 10**10)


def problem_of_distribution(body: object) -> str | None:
    """Return what is wrong with the body of a distribution, or None."""
    problem = _problem_of_common_parts(body, _DISTRIBUTION_KEYS)
    if problem is not None or not isinstance(body, dict):
        return problem
    reminder, validity = body.get("reminder_at"), body.get("validity_at")
    hashes = [body[key] for key in body if re.fullmatch("template_.*_hash", key)]
    wants = [
        (body.get("distribution_channel") == "whatsapp", "whatsapp_template"),
        (body.get("reminder_channel") == "whatsapp", "whatsapp_reminder_template"),
    ]
    templates = [body[key] for _, key in wants if key in body]
    checks = [
        (body.get("distribution_channel") in ("email", "whatsapp"), "distribution_channel is email or whatsapp"),
        (all(_is_epoch(value) for value in (reminder, validity) if value is not None), "times are epoch seconds"),
        (("reminder_at" in body) == ("reminder_channel" in body), "reminder_at and reminder_channel go together"),
        (reminder is None or validity is None or reminder < validity, "reminder_at is before validity_at"),
        (all(re.fullmatch("[A-Za-z0-9]{6}", str(value)) for value in hashes), "a template hash has 6 characters"),
        (all(key in body for wanted, key in wants if wanted), "WhatsApp needs a template"),
        (all(_is_template(template) for template in templates), "malformed WhatsApp template"),
        (not templates or bool(body.get("whatsapp_integration_uuid")), "whatsapp_integration_uuid is missing"),
    ]
    return next((text for good, text in checks if not good), None)


def problem_of_link_list(body: object) -> str | None:
    """Return what is wrong with the body of a link list, or None."""
    problem = _problem_of_common_parts(body, _LINK_LIST_KEYS)
    if problem is not None or not isinstance(body, dict):
        return problem
    flags = ("async", "shortened_link")
    return None if all(isinstance(body.get(key), bool) for key in flags) else "async and shortened_link are booleans"


def _problem_of_common_parts(body: object, known: set[str]) -> str | None:
    if not isinstance(body, dict):
        return "the body is not an object"
    lines = body.get("import_lines")
    checks = [
        (not body.keys() - known, f"unknown keys: {', '.join(sorted(body.keys() - known))}"),
        (None not in body.values(), "a value is null; leave the key out instead"),
        (isinstance(body.get("survey_uuid"), str) and body["survey_uuid"], "survey_uuid is missing"),
        (isinstance(lines, list) and lines and all(_is_flat(line) for line in lines), "import_lines: flat objects"),
    ]
    return next((text for good, text in checks if not good), None)


def problem_of_line(line: Object, identifier: str, channel: str) -> str | None:
    """Return the reason why a line is refused, or None."""
    if not line.get(identifier):
        return "identifier_missing"
    good = {
        "email": "@" in str(line.get("email") or ""),
        # Country code, area code, number.
        "whatsapp": re.fullmatch(r"55\d{10,11}", str(line.get("phone") or "")) is not None,
        "link": True,
    }
    return None if good[channel] else "contact_missing"


def _is_flat(line: object) -> bool:
    return isinstance(line, dict) and not any(isinstance(value, list | dict) for value in line.values())


def _is_epoch(value: object) -> bool:
    return isinstance(value, int) and value in _EPOCH_SECONDS


def _is_template(template: object) -> bool:
    return (
        isinstance(template, dict)
        and template.keys() == _TEMPLATE_KEYS.keys()
        and all(isinstance(template[key], kind) and template[key] for key, kind in _TEMPLATE_KEYS.items())
    )
