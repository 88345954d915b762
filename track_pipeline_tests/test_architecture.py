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

MOST_FUNCTION_LINES = 60
MOST_ARGUMENTS = 7
MOST_METHODS = 19

# The modules beside the folders; everything else has a room.
AT_THE_ROOT = {"__init__.py", "__main__.py", "definitions.py", "errors.py", "ports.py", "runtime.py"}

# What a room may import of this package besides itself; every other direction is wrong. `errors` is for all.
MAY_IMPORT = {
    "domain": set(),
    "ports": {"domain"},
    "config": {"domain"},
    "logs": {"domain"},
    "adapters": {"domain", "ports", "config"},
    "services": {"domain", "ports", "config", "adapters", "logs"},
    "runtime": {"domain", "ports", "config", "adapters", "logs", "services", "demo"},
    "hosting": set(),
    "reporting": {"domain", "adapters", "services"},
    "defs": {"domain", "ports", "logs", "services", "reporting", "runtime"},
    "definitions": {"config", "defs", "hosting", "runtime"},
    "web": {"domain", "adapters", "logs", "services", "hosting", "runtime", "config"},
    "demo": {"domain", "ports", "config", "adapters", "services", "defs", "definitions", "hosting", "runtime"},
    "cli": {"domain", "config", "logs", "services", "hosting", "runtime", "web", "demo"},
    "__main__": {"cli"},
    "__init__": set(),
}

# Packages that a room must not know, whatever else it imports.
FORBIDDEN_PACKAGES = {
    "domain": (
        *("dagster", "sqlalchemy", "requests", "duckdb", "oracledb", "alembic", "psycopg", "urllib3", "http"),
        # It reads no files and no environment.
        *("pathlib", "tomllib", "os", "io", "importlib", "dotenv"),
    ),
    "config": ("dagster", "sqlalchemy", "requests", "duckdb", "oracledb", "psycopg"),
    "adapters": ("dagster",),
    "services": ("dagster", "requests", "sqlalchemy", "oracledb", "duckdb"),
    "defs": ("requests", "sqlalchemy", "oracledb", "duckdb"),
}

# Who may know that the survey vendor is Track.co: its folder, the composition, and the demo that simulates it.
OF_THE_VENDOR = ("adapters/track/", "demo/", "runtime.py")
CHANNELS_AND_WAVES = {"email", "whatsapp", "link", "reminder_7d", "reminder_14d", "invite"}

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


def room_of(module: Path) -> str:
    """The folder of a module, or its name where it is at the root."""
    first = module.relative_to(ROOT).parts[0]
    return first.removesuffix(".py")


def modules_of(room: str) -> list[Path]:
    return [module for module in MODULES if room_of(module) == room]


def test_the_root_holds_only_what_has_no_room() -> None:
    assert {module.name for module in MODULES if module.parent == ROOT} == AT_THE_ROOT


def test_every_room_says_what_it_may_import() -> None:
    assert {room_of(module) for module in MODULES} - {"errors"} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    allowed = {room, "errors", *MAY_IMPORT[room]}

    wrong = {
        f"{name_of(module)} imports {name}"
        for module in modules_of(room)
        for name in imports(tree_of(module))
        if is_within(name, "track_pipeline") and name != "track_pipeline" and name.split(".")[1] not in allowed
    }

    assert modules_of(room)
    assert not wrong


def test_no_two_rooms_import_each_other() -> None:
    both = [
        (one, other)
        for one, allowed in MAY_IMPORT.items()
        for other in allowed
        # The demo takes the place of real hospitals only when a runtime asks for it.
        if one in MAY_IMPORT[other] and {one, other} != {"runtime", "demo"}
    ]

    assert not both


@pytest.mark.parametrize("room", FORBIDDEN_PACKAGES)
def test_a_room_does_not_know_what_others_are_there_to_hide(room: str) -> None:
    wrong = {
        f"{name_of(module)} imports {name}"
        for module in modules_of(room)
        for name in imports(tree_of(module))
        for package in FORBIDDEN_PACKAGES[room]
        if is_within(name, package)
    }

    assert not wrong


def test_only_its_own_folder_and_the_composition_know_the_vendor() -> None:
    wrong = {
        f"{name_of(module)} imports {name}"
        for module in MODULES
        if not name_of(module).startswith(OF_THE_VENDOR)
        for name in imports(tree_of(module))
        if is_within(name, "track_pipeline.adapters.track")
    }

    assert not wrong


def test_channels_and_waves_are_no_literals() -> None:
    wrong = [
        f"{name_of(module)}:{node.lineno}"
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).split(".")[-1] == "Literal"
        if {each.value for each in ast.walk(node.slice) if isinstance(each, ast.Constant)} & CHANNELS_AND_WAVES
        # The kinds of a person's keys and the fields of a line are other words for other things.
        if not {"cpf", "send_id"} & {each.value for each in ast.walk(node.slice) if isinstance(each, ast.Constant)}
    ]

    assert not wrong


def test_functions_are_short() -> None:
    long = [
        f"{name_of(module)}: {node.name} has {lines} lines"
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (lines := (node.end_lineno or 0) - node.lineno + 1) >= MOST_FUNCTION_LINES
    ]

    assert not long


def test_classes_are_narrow_and_their_constructors_short() -> None:
    classes = [
        (name_of(module), node)
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.ClassDef)
    ]
    wide = [
        f"{module}: {node.name} has {len(methods)} public methods"
        for module, node in classes
        if len(methods := [each for each in node.body if is_public_method(each)]) > MOST_METHODS
    ]
    long = [
        f"{module}: {node.name} takes {count} arguments"
        for module, node in classes
        for each in node.body
        if isinstance(each, ast.FunctionDef) and each.name == "__init__"
        if (count := len(each.args.args) + len(each.args.kwonlyargs) - 1) > MOST_ARGUMENTS
    ]

    assert not wide
    assert not long


def is_public_method(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")


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
