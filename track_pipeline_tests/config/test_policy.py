"""The policy: the shipped file loads, and an error names file and field."""

from pathlib import Path

import pytest

from track_pipeline.config.files import digest, package_file
from track_pipeline.config.policy import load_policy
from track_pipeline.domain.channels import Channel
from track_pipeline.domain.policy import Policy
from track_pipeline.domain.waves import Wave
from track_pipeline.errors import ConfigError

SHIPPED = package_file("policy.toml").read_text(encoding="utf-8")


def write(text: str, folder: Path) -> Path:
    path = folder / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def load(text: str, folder: Path) -> Policy:
    return load_policy(write(text, folder))


def test_the_shipped_policy_keeps_to_sixty_per_cent_of_the_documented_limit() -> None:
    policy = load_policy()

    assert policy.sending.requests_per_5_minutes == 600
    assert policy.sending.batch_size == 500
    assert policy.eligibility.adult_age == 18
    assert "naotem" in policy.placeholders.email_locals


def test_only_links_leave_without_name_cpf_or_contact() -> None:
    fields = load_policy().line_fields

    assert {"name", "cpf", "email", "phone", "medico"}.isdisjoint(fields[Channel.LINK])
    assert "phone" not in fields[Channel.EMAIL]
    assert "email" not in fields[Channel.WHATSAPP]


def test_the_ledger_is_looked_at_as_far_back_as_the_longest_cooldown() -> None:
    quarantine = load_policy().quarantine

    for name in type(quarantine).model_fields:
        longer = quarantine.model_copy(update={name: 365})
        assert (longer.after_invite if name.endswith("invite") else longer.after_answer) == 365


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[sending]", "[sending]\nspeed = 1", "sending: speed: Extra inputs are not permitted"),
        ("adult_age = 18", "", "eligibility: adult_age: Field required"),
        ("adult_age = 18", 'adult_age = "old"', "eligibility: adult_age: Input should be a valid integer"),
        ("batch_size = 500", "batch_size = 0", "sending: batch_size: Input should be greater than or equal to 1"),
        ("min_contact_share = 0.2", "min_contact_share = 2", "gates: min_contact_share: Input should be less than"),
        ('"O364"', '"O36.4"', "eligibility: obstetric_loss_cid number 10: String should match pattern"),
        ('psychiatric_cid = ["F"]', 'psychiatric_cid = ["f"]', "eligibility: psychiatric_cid number 1: String should"),
        ('link = ["send_id"', 'link = ["address"', "line_fields: link number 1: Input should be 'send_id'"),
        ('link = ["send_id", ', "link = [", "line_fields: link: send_id must be among the fields"),
        ('"name", "email", ', '"name", ', "line_fields: email: email must be among the fields"),
        ('"name", "phone", ', '"name", ', "line_fields: whatsapp: phone must be among the fields"),
    ],
)
def test_a_mistake_is_named_by_file_and_field(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SHIPPED

    with pytest.raises(ConfigError) as caught:
        load(SHIPPED.replace(old, new, 1), tmp_path)

    assert f"policy.toml: {said}" in str(caught.value)


def test_a_missing_part_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policy\.toml: sending: Field required"):
        load("[eligibility]" + SHIPPED.partition("[eligibility]")[2], tmp_path)
    with pytest.raises(ConfigError, match=r"none\.toml: there is no file"):
        load_policy(tmp_path / "none.toml")


def test_the_version_changes_with_the_text_but_not_with_its_line_endings(tmp_path: Path) -> None:
    version = load(SHIPPED, tmp_path).version
    windows = tmp_path / "windows.toml"
    windows.write_bytes(SHIPPED.replace("\n", "\r\n").encode())

    assert len(version) == 12
    assert digest(windows) == version
    assert load(SHIPPED.replace("adult_age = 18", "adult_age = 21"), tmp_path).version != version


def test_the_file_cannot_name_its_own_version(tmp_path: Path) -> None:
    assert load('version = "mine"\n' + SHIPPED, tmp_path).version != "mine"


# --- waves of reminders


def with_wave(days: int, **changes: object) -> str:
    """The packaged policy with one more block of reminders, put behind the others."""
    fields = {"days": days, "catch_up_days": 3, "channels": ["email", "whatsapp"]} | changes
    block = "\n".join(["[[reminder]]", *(f"{name} = {value!r}".replace("'", '"') for name, value in fields.items())])
    return SHIPPED.replace("[feedback]", f"{block}\n\n[feedback]", 1)


def test_another_wave_is_a_block_of_the_policy(tmp_path: Path) -> None:
    policy = load(with_wave(21), tmp_path)

    assert [wave.key for wave in policy.waves] == ["reminder_7d", "reminder_14d", "reminder_21d"]
    assert policy.reminding_days == 24
    assert policy.reminder(Wave(21)).channels == (Channel.EMAIL, Channel.WHATSAPP)


def test_a_policy_may_have_no_reminders(tmp_path: Path) -> None:
    policy = load(SHIPPED[: SHIPPED.index("[[reminder]]")] + SHIPPED[SHIPPED.index("[feedback]") :], tmp_path)

    assert policy.waves == ()
    assert policy.reminding_days == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (with_wave(17), "reminder: 14 and 17 days are fewer than min_days_between_reminders apart"),
        (
            with_wave(10),
            "reminder: 14 and 10 days are fewer than min_days_between_reminders apart, or not in ascending",
        ),
        (SHIPPED.replace("catch_up_days = 3", "catch_up_days = 7", 1), "reminder: after 7 days, catch_up_days must be"),
        (with_wave(29), "retention_days: write at least 33; the last reminder"),
        (with_wave(21, channels=["email"]), "reminder number 3: channels: name each channel once: email, whatsapp"),
        (with_wave(21, channels=["email", "link"]), "reminder number 3: channels: name each channel once"),
        (with_wave(0), "reminder number 3: days: Input should be greater than or equal to 1"),
        (SHIPPED.replace("min_days_between_reminders = 4", "min_days_between_reminders = 0"), "min_days_between_remin"),
    ],
)
def test_waves_that_could_meet_or_outlive_the_contacts_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)

    assert f"policy.toml: {said}" in str(caught.value)
