"""The report of a day as one HTML file with counts only; charts and tables are inside it and nothing is fetched."""

import base64
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader

from track_pipeline.adapters.lake import make_private_folder, replacing
from track_pipeline.services.insight.report import DayReport

_PAGES: Final = Environment(loader=PackageLoader("track_pipeline.reporting"), autoescape=True, trim_blocks=True)


def data_uri(png: bytes) -> str:
    """Return a `data:` URI with a PNG image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def write_page(report: DayReport, images: dict[str, bytes], home: Path) -> Path:
    """Write `TRACK_HOME/reports/<date>.html`, readable by its owner only, and return its path."""
    path = home / "reports" / f"{report.day.isoformat()}.html"
    text = _PAGES.get_template("report.html").render(
        report=report, images={title: data_uri(png) for title, png in images.items()}
    )
    make_private_folder(path.parent)
    with replacing(path) as file:
        file.write(text.encode())
    return path
