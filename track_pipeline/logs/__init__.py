"""The system log, and the redaction of texts before they are shown."""
