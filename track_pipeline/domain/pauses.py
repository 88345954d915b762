"""The scopes of a pause: all sending, one hospital, or one channel."""

from collections.abc import Collection
from typing import Final

from track_pipeline.domain.channels import Channel

ALL_SENDING: Final = "all"


def hospital_scope(code: str) -> str:
    """Return the scope that stops one hospital."""
    return f"hospital:{code}"


def channel_scope(channel: Channel) -> str:
    """Return the scope that stops one channel."""
    return f"channel:{channel}"


def scopes_over(hospital: str, channel: Channel | None = None) -> set[str]:
    """Return the scopes that stop the lines of a hospital, including that of the channel if one is given."""
    scopes = {ALL_SENDING, hospital_scope(hospital)}
    return scopes if channel is None else {*scopes, channel_scope(channel)}


def is_scope(text: str, hospitals: Collection[str]) -> bool:
    """Whether a text is the scope of a pause in an installation with these hospitals."""
    known = {ALL_SENDING, *map(hospital_scope, hospitals), *map(channel_scope, Channel)}
    return text in known
