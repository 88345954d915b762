"""The structure of the package: the allowed imports, and a docstring in every module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import track_pipeline
from track_pipeline.domain.his.table import SYSTEMS

ROOT = Path(track_pipeline.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
LONGEST_ASSET_BODY = 25

# A room, and what nothing in it may import: packages, or rooms of this package.
FORBIDDEN = {
    "domain": (
        *("dagster", "sqlalchemy", "requests", "duckdb", "oracledb", "alembic", "psycopg", "urllib3", "http"),
        *(f"track_pipeline.{room}" for room in ("adapters", "services", "defs", "demo", "settings", "runtime", "cli")),
    ),
    "adapters": ("dagster", *(f"track_pipeline.{room}" for room in ("services", "defs", "demo", "runtime", "cli"))),
    "services": ("dagster", *(f"track_pipeline.{room}" for room in ("defs", "demo", "runtime", "cli"))),
    "defs": ("track_pipeline.demo", "track_pipeline.cli"),
}

# The only folders that may name a hospital information system.
OF_SYSTEMS = ("domain/his/", "demo/his/")


def name_of(module: Path) -> str:
    return module.relative_to(ROOT).as_posix()


def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), module.name)


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module or name that a module imports, wherever in it: `from a import b` gives `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def asset_bodies(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    """Functions decorated with `dg.asset` or `dg.multi_asset`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            decorators = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
            if any(ast.unparse(decorator) in ("dg.asset", "dg.multi_asset") for decorator in decorators):
                yield node


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    modules = [module for module in MODULES if name_of(module).startswith(f"{room}/")]

    wrong = {
        f"{name_of(module)} imports {name}"
        for module in modules
        for name in imports(tree_of(module))
        for package in FORBIDDEN[room]
        if is_within(name, package)
    }

    assert modules
    assert not wrong


def test_only_its_own_folders_know_a_hospital_system() -> None:
    modules = [module for module in MODULES if not name_of(module).startswith(OF_SYSTEMS)]
    owned = [f"track_pipeline.{folder.replace('/', '.')}{key}" for folder in OF_SYSTEMS for key in SYSTEMS]

    literals = [
        f"{name_of(module)}, line {node.lineno}: {node.value!r}"
        for module in modules
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Constant) and node.value in SYSTEMS
    ]
    imported = [
        f"{name_of(module)} imports {name}"
        for module in modules
        for name in imports(tree_of(module))
        if any(is_within(name, package) for package in owned)
    ]

    assert len(modules) < len(MODULES)
    assert not literals
    assert not imported


def test_nobody_imports_private_parts_of_dagster() -> None:
    tests = sorted(Path(__file__).parent.rglob("*.py"))
    private = [
        f"{module.name} imports {name}"
        for module in [*MODULES, *tests]
        for name in imports(tree_of(module))
        if name.startswith("dagster") and any(part.startswith("_") for part in name.split("."))
    ]

    assert not private


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(module) for module in MODULES if not ast.get_docstring(tree_of(module))] == []


def test_asset_bodies_are_short() -> None:
    bodies = [
        (name_of(module), body)
        for module in MODULES
        if name_of(module).startswith("defs/")
        for body in asset_bodies(tree_of(module))
    ]

    long = [
        f"{module}: {body.name} has {lines} lines"
        for module, body in bodies
        if (lines := (body.end_lineno or 0) - body.lineno + 1) > LONGEST_ASSET_BODY
    ]

    assert bodies
    assert not long
