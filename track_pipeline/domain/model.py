"""The base class of all models that are read from files."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen model that refuses unknown fields, so that a misspelt field is an error and not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
