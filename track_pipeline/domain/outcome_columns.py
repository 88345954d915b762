"""Outcomes in columns of frames: the expressions that print and parse them as `outcomes.Outcome` does."""

import polars as pl


def outcome_kind(column: str) -> pl.Expr:
    """The kind in a column of printed outcomes."""
    return pl.col(column).str.split_exact(":", 1).struct.field("field_0")


def outcome_reason(column: str) -> pl.Expr:
    """The reason in a column of printed outcomes; null where there is none."""
    return pl.col(column).str.split_exact(":", 1).struct.field("field_1")


def outcome_text(kind: str, reason: str) -> pl.Expr:
    """The printed outcome of two columns; the kind alone where the reason is null."""
    return pl.concat_str(kind, pl.col(reason), separator=":", ignore_nulls=True)
