"""Small numbers that are hidden, and the numbers that have to be hidden with them."""

from collections.abc import Sequence

import polars as pl


def is_cover(count: pl.Expr, is_hidden: pl.Expr, group: Sequence[str], least: int) -> pl.Expr:
    """Whether a shown number must be hidden too, so that subtraction from its group's total reveals nothing.

    Where the hidden numbers of a group are together more than 0 and less than `least`, that is the group's smallest
    shown number above 0. Never null.
    """
    hidden = count.filter(is_hidden).sum().over(*group)
    smallest_shown = count.filter(~is_hidden & (count > 0)).min().over(*group)
    return (hidden.is_between(1, least - 1) & (count == smallest_shown)).fill_null(value=False)
