"""What may be shown in a terminal or a line of a log: text of hospitals and servers, without what steers either."""


def shown(text: str) -> str:
    """The text with a blank for every control character but line breaks: an escape sequence could forge lines."""
    return text if text.isprintable() else "".join(each if each.isprintable() or each == "\n" else " " for each in text)
