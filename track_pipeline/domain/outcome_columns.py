"""Expressions that parse and print outcomes in columns of frames, in the form of `outcomes.Outcome`."""

import polars as pl


def outcome_kind(column: str) -> pl.Expr:
    """Return the kind from a column of printed outcomes."""
    return pl.col(column).str.split_exact(":", 1).struct.field("field_0")


def outcome_reason(column: str) -> pl.Expr:
    """Return the reason from a column of printed outcomes; null where there is none."""
    return pl.col(column).str.split_exact(":", 1).struct.field("field_1")


def outcome_text(kind: str, reason: str) -> pl.Expr:
    """Return the printed outcome of two columns; the kind alone where the reason is null."""
    return pl.concat_str(kind, pl.col(reason), separator=":", ignore_nulls=True)
