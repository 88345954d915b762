"""The documents: the two READMEs agree, links have targets, and the forms for issues and changes are complete.

`test_docs_commands` checks that the commands in the documents work.
"""

import re
from pathlib import Path

import pytest
import yaml

from track_pipeline.domain.outcomes import Deferral, Exclusion, Suppression, Withheld

ROOT = Path(__file__).parent.parent
ENGLISH, PORTUGUESE = ROOT / "README.md", ROOT / "README.pt-BR.md"
FORMS = ROOT / ".github" / "ISSUE_TEMPLATE"
DOCS = [
    *(ROOT / name for name in ("README.md", "README.pt-BR.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def code(path: Path) -> list[str]:
    """Commands and names in back-quotes or fences, without their comments."""
    text = path.read_text(encoding="utf-8")
    fenced = [
        line.split("#")[0].strip()
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    return fenced + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


def test_both_readmes_name_the_same_commands_files_and_settings() -> None:
    assert sorted(code(ENGLISH)) == sorted(code(PORTUGUESE))


def test_both_readmes_have_the_same_headings_and_links() -> None:
    shapes = [
        [
            len(line) - len(line.lstrip("#"))
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        ]
        for path in (ENGLISH, PORTUGUESE)
    ]
    assert shapes[0] == shapes[1]
    links = [
        sorted(set(re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8"))) - {"README.md", "README.pt-BR.md"})
        for path in (ENGLISH, PORTUGUESE)
    ]
    assert links[0] == links[1]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_exists(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted(FORMS.glob("*.yml")), ids=lambda path: path.name)
def test_a_form_for_issues_asks_for_the_place_and_never_for_patients(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": False}
        return
    first, *asked = form["body"]
    assert "Never paste patient data" in first["attributes"]["value"]
    assert {"hospital", "partition", "run"} <= {field["id"] for field in asked}
    assert asked[-1]["attributes"]["options"][0]["required"]


@pytest.mark.parametrize("name", ["glossary.md", "glossary.pt-BR.md"])
def test_the_glossary_has_every_reason_once_per_outcome(name: str) -> None:
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    for outcome, reasons in (
        ("excluded", set(Exclusion)),
        ("deferred", set(Deferral)),
        ("suppressed", {reason.value for reason in (*Suppression, *Withheld)}),
    ):
        section = text.split(f" `{outcome}`\n")[1].split("\n### ")[0]
        assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(reasons)


def test_a_change_is_held_to_the_list_that_contributors_read() -> None:
    asked, told = (
        [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("- [ ]")]
        for path in (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md", ROOT / "CONTRIBUTING.md")
    )
    assert asked == told != []
