"""Daily steps of a hospital-day: extraction, invitation, dispatch and reminders."""
