"""Errors an operator reads: each says what happened, where, and what to do next.

Only errors that several rooms share belong here. None of them ever carries a name, an address or a number.
"""


class TrackPipelineError(Exception):
    """Base of every error this project raises on purpose; its text is written for the operator."""


class ConfigError(TrackPipelineError):
    """Settings, registry, rules or policy are wrong; nothing was started and nothing changed."""
