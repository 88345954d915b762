"""The morning's work: extraction, invitation, dispatch and reminders of a hospital-day."""
