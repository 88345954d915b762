"""The two READMEs say the same, and every command that the docs name exists."""

import re
from pathlib import Path

import pytest
import typer.main

from track_pipeline.cli import app

ROOT = Path(__file__).parent.parent
ENGLISH, PORTUGUESE = ROOT / "README.md", ROOT / "README.pt-BR.md"
DOCS = [ENGLISH, PORTUGUESE, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


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


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_track_command_that_a_document_names_exists(path: Path) -> None:
    group = typer.main.get_command(app)
    for command in code(path):
        for used in re.findall(r"(?:^|uv run )track ([a-z-]+)(?: ([a-z|\\]+))?", command):
            name, sub = used
            found = group.commands.get(name)  # type: ignore[attr-defined]
            assert found is not None, command
            for word in filter(None, sub.replace("\\", "").split("|")):
                subcommands = getattr(found, "commands", {})
                assert not subcommands or word in subcommands, command
