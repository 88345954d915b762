"""Errors shown to operators: each says what happened, where, and what to do next.

Only errors that several packages share belong here. An error text never holds a patient's name, contact or number.
"""


class TrackPipelineError(Exception):
    """Base class of all errors that this project raises; the text is for the operator and safe to show."""


class ConfigError(TrackPipelineError):
    """Settings, registry, rules or policy are invalid; nothing was started or changed."""
