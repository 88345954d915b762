"""Quality of the contacts that front desks type: usable and unusable ones per hospital, area and day.

Counts only, as feedback for the front desk. The verdicts are those of the invitation, computed again from the lake's
extracts because a plan does not keep them. Days that the lake no longer has cannot be judged.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

import polars as pl

from track_pipeline.adapters.lake import Lake
from track_pipeline.domain.areas import AREAS
from track_pipeline.domain.contacts import EMAIL_VERDICTS, PHONE_VERDICTS, mark_shared
from track_pipeline.domain.hospital import Hospital
from track_pipeline.domain.identity import with_cleaned_contacts
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.small_numbers import is_cover
from track_pipeline.services.daily.extraction import extract_of
from track_pipeline.services.insight.serialise import INLINE

# One row per hospital, area, contact (`email`, `phone`) and verdict (`ok` is usable). `count` of the `encounters` have
# the verdict; `share` is count / encounters, `previous_share` that of the days before, `change` the difference.
# A number that is too small to be shown is null, and so is a `previous_share` or `change` without earlier days.
QUALITY: Final = pl.Schema(
    {
        "date": pl.Date(),
        "hospital": pl.String(),
        "area": pl.String(),
        "contact": pl.String(),
        "verdict": pl.String(),
        "encounters": pl.Int64(),
        "count": pl.Int64(),
        "share": pl.Float64(),
        "previous_share": pl.Float64(),
        "change": pl.Float64(),
    }
)


@dataclass(frozen=True)
class ContactGroup:
    """The contacts of one kind in an area of a hospital-day."""

    date: date
    hospital: str
    area: str
    contact: str


@dataclass(frozen=True)
class VerdictShare:
    """A row of `QUALITY`."""

    group: ContactGroup = field(metadata=INLINE)
    verdict: str
    encounters: int | None
    count: int | None
    share: float | None
    previous_share: float | None
    change: float | None


_VERDICTS: Final = {"email": EMAIL_VERDICTS, "phone": PHONE_VERDICTS}
_GROUP: Final = ("area", "contact")
_JUDGED: Final = pl.Schema({"area": pl.String(), "contact": pl.String(), "verdict": pl.String()})
_DIGITS: Final = 4


@dataclass(frozen=True)
class ContactQuality:
    """Verdicts on the contacts of extracts."""

    lake: Lake
    policy: Policy

    def of(self, hospital: Hospital, day: date, days: int) -> pl.DataFrame:
        """Return the quality (`QUALITY`) of a hospital-day, compared with the `days` before it.

        Every encounter in an area counts, invited or not. Areas without an extract or without encounters have no rows.
        A count below `min_answers_shown` of the policy is hidden; if subtraction would reveal it, the smallest shown
        count of its group is hidden too. Raises LakeError.
        """
        before = [day - timedelta(days=back) for back in range(1, days + 1)]
        today, earlier = (self._counted(hospital, each) for each in ([day], before))
        previous = earlier.select(*_GROUP, "verdict", previous_share="share")
        return (
            today.join(previous, on=[*_GROUP, "verdict"], how="left", maintain_order="left")
            .with_columns(
                date=pl.lit(day),
                hospital=pl.lit(hospital.code),
                change=(pl.col("share") - pl.col("previous_share")).round(_DIGITS),
            )
            .select(pl.col(name).cast(kind) for name, kind in QUALITY.items())
        )

    def of_each(
        self, hospitals: Iterable[Hospital], day: date, days: int, on_hospital: Callable[[str], None]
    ) -> pl.DataFrame:
        """Return the quality (`QUALITY`) of several hospitals; calls `on_hospital` with each finished code."""
        frames = [QUALITY.to_frame()]
        for hospital in hospitals:
            frames.append(self.of(hospital, day, days))
            on_hospital(hospital.code)
        return pl.concat(frames)

    def _counted(self, hospital: Hospital, days: Sequence[date]) -> pl.DataFrame:
        """Count the verdicts of days: area, contact, verdict, encounters, count, share; too small numbers are null."""
        judged = pl.concat([_JUDGED.to_frame(), *(self._judged(hospital, day) for day in days)])
        found = judged.group_by(*_GROUP, "verdict").agg(count=pl.len())
        groups = judged.group_by(_GROUP).agg(encounters=pl.len())
        every = pl.DataFrame(
            [(contact, verdict.value) for contact, verdicts in _VERDICTS.items() for verdict in verdicts],
            schema={"contact": pl.String, "verdict": pl.String},
            orient="row",
        )
        rows = (
            groups.join(every, on="contact", maintain_order="right")
            .join(found, on=[*_GROUP, "verdict"], how="left", maintain_order="left")
            .with_columns(pl.col("count").fill_null(0))
        )
        return _without_small_numbers(rows, self.policy.nps.min_answers_shown).sort(_GROUP, maintain_order=True)

    def _judged(self, hospital: Hospital, day: date) -> pl.DataFrame:
        """Return the verdict on every contact of a day's encounters that are in an area (`_JUDGED`)."""
        extract = extract_of(self.lake, hospital, day)
        if extract is None:
            return _JUDGED.to_frame()
        frame = with_cleaned_contacts(extract, self.policy.placeholders)
        # Encounters in no area also count for shared contacts, such as a front desk's phone.
        frame = mark_shared(frame, self.policy.eligibility.shared_contact_limit).filter(pl.col("area").is_not_null())
        keys = {area.label: area.value for area in AREAS}
        return frame.select(
            pl.col("area").replace_strict(keys, return_dtype=pl.String), email="email_verdict", phone="phone_verdict"
        ).unpivot(index="area", variable_name="contact", value_name="verdict")


def verdict_shares(quality: pl.DataFrame) -> list[VerdictShare]:
    """Return the rows of a frame of contact quality (`QUALITY`)."""
    return [VerdictShare(ContactGroup(*row[:4]), *row[4:]) for row in quality.iter_rows()]


def _without_small_numbers(rows: pl.DataFrame, least: int) -> pl.DataFrame:
    """Add `share`; hide counts below `least`, and the counts from which subtraction would reveal them."""
    count = pl.col("count")
    is_small = count.is_between(1, least - 1)
    is_shown = ~is_small & ~is_cover(count, is_small, _GROUP, least) & (pl.col("encounters") >= least)
    return rows.with_columns(
        count=pl.when(is_shown).then("count"),
        share=pl.when(is_shown).then((count / pl.col("encounters")).round(_DIGITS)),
        encounters=pl.when(pl.col("encounters") >= least).then("encounters"),
    )
