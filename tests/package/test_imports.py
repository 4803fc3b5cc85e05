"""The structure of the package, read from its source: layers, homes of dependencies, tasks, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "whisper_nb"
#: Folder → the folders that it may import from, besides itself: `core < tools, store < config < models < engine < team
#: < notebook`.
FLOORS: dict[str, set[str]] = {
    "core": set(),
    "tools": {"core"},
    "store": {"core"},
    "config": {"core", "tools", "store"},
    "models": {"core", "tools", "store", "config"},
    "engine": {"core", "tools", "store", "config", "models"},
    "team": {"core", "tools", "store", "config", "models", "engine"},
    "notebook": {"core", "tools", "store", "config", "models", "engine", "team"},
}
#: Third-party package, or one that costs time → the one module or folder that may import it.
HOMES = {
    "litellm": "models",
    "aiohttp": "models",
    "certifi": "models",
    "yarl": "models",
    "httpx": "models",
    "sqlite3": "store",
    "yaml": "config/yamlfile",
    "dotenv": "config/keys",
    "filelock": "config/trust",
    "idna": "config/destinations",
    "platformdirs": "config/paths",
    "pydantic": "tools",
    "pydantic_core": "tools",
    "IPython": "notebook",
    "ipykernel": "notebook",
    "ipywidgets": "notebook",
    "anywidget": "notebook",
    "traitlets": "notebook",
    "nest_asyncio2": "notebook",
    "markdown_it": "notebook",
    "nh3": "notebook",
    "pygments": "notebook/cells/highlight",
    "regex": "models",
}
TABLES = (ast.Dict, ast.List, ast.Tuple, ast.Set)
TESTS = ROOT.parent / "tests"
FACE = {"__init__", "__main__", "events"}
SOURCES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}


def home_of(path: Path) -> str:
    """The folder of the package that a file is in, or the name of a file in its root: `models`, `__main__`."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    """The absolute name of a file's module."""
    parts = ("whisper_nb", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def place_of(path: Path) -> str:
    """The name of a file below the package: `config/keys`."""
    return str(path.relative_to(ROOT).with_suffix(""))


MODULES = {module_of(path) for path in SOURCES}


def imports_of(path: Path) -> Iterator[str]:
    """The absolute names of all modules that a file imports anywhere, `whisper_nb.…` for its own package."""
    package = ["whisper_nb", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from [module] if node.module else [f"{module}.{alias.name}" for alias in node.names]


def own_imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports: a name that it imports from a package may be one."""
    package = ["whisper_nb", *path.relative_to(ROOT).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {one if (one := f"{module}.{alias.name}") in MODULES else module for alias in node.names}
    return found - {"whisper_nb"}


def test_every_file_is_in_a_folder_of_the_layers() -> None:
    assert {home_of(path) for path in SOURCES} == {*FLOORS, *FACE}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    home = home_of(path)
    allowed = {*FLOORS, *FACE} if home in FACE else {home, *FLOORS[home]}
    assert {name.split(".")[1] for name in own_imports_of(path)} <= allowed


def test_imports_have_no_cycle() -> None:
    """Imports inside functions and for types are included: modules of a cycle cannot be read or tested separately."""
    graph = {module_of(path): own_imports_of(path) - {module_of(path)} for path in SOURCES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=lambda folder: folder.name)
def test_a_folder_has_at_most_20_modules(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 20


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_dependency_has_one_home(path: Path) -> None:
    # msgspec is for data, in every layer.
    known = {*sys.stdlib_module_names, "whisper_nb", "msgspec", "typing_extensions"} - HOMES.keys()
    for name in imports_of(path):
        package = name.split(".")[0]
        if package not in known:
            # The face of the package names IPython's shell for type checkers alone.
            home = HOMES.get(package)
            assert home in (home_of(path), place_of(path)) or (package, home_of(path)) == ("IPython", "__init__"), name


@pytest.mark.parametrize("module", ["whisper_nb", "whisper_nb.team.runtimes", "whisper_nb.models.offline"])
def test_importing_the_package_loads_no_dependency(module: str) -> None:
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HOMES.keys() & set(done.stdout.split()) == set()


def test_importing_the_package_loads_none_of_its_modules() -> None:
    script = "import sys, whisper_nb; print(*[name for name in sys.modules if name.startswith('whisper_nb')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["whisper_nb"]


def test_no_function_declares_a_global() -> None:
    assert [path.name for path in SOURCES for node in ast.walk(TREES[path]) if isinstance(node, ast.Global)] == []


def test_tasks_are_created_in_four_places() -> None:
    """One worker per session, one task per run; what one thread has another's loop do, and waits for with its future.

    Everything else is in a TaskGroup, which holds what it makes.
    """
    places = [
        f"{path.stem}:{function.name}"
        for path in SOURCES
        for function in ast.walk(TREES[path])
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("create_task", "ensure_future", "run_coroutine_threadsafe")
        and ast.unparse(node.func.value) not in groups_of(function)
    ]
    assert places == [
        "home:finish",
        "session:_wake",
        "session:_start",
        "visits:await_main",
        "offload:stream",
        "offload:_there",
    ]


def groups_of(function: ast.AST) -> set[str]:
    """The names that `async with asyncio.TaskGroup() as …` binds in a function."""
    return {
        ast.unparse(item.optional_vars)
        for node in ast.walk(function)
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if item.optional_vars is not None and ast.unparse(item.context_expr) == "asyncio.TaskGroup()"
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_conditional_expressions_are_not_nested(path: Path) -> None:
    nested = [
        outer.lineno
        for outer in ast.walk(TREES[path])
        if isinstance(outer, ast.IfExp)
        for inner in ast.walk(outer)
        if inner is not outer and isinstance(inner, ast.IfExp)
    ]
    assert nested == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_tables_skip_the_formatter(path: Path) -> None:
    """A table is a statement with a display of many values."""
    tables = {
        node.end_lineno
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.stmt)
        if any(len(list(ast.iter_child_nodes(one))) > 4 for one in ast.walk(node) if isinstance(one, TABLES))
    }
    skipped = {number for number, line in enumerate(path.read_text().splitlines(), 1) if "fmt: skip" in line}
    assert skipped - tables == set()


def test_no_test_imports_a_test() -> None:
    found = {
        f"{path.name}: {name}"
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in names_of(node)
        if any(part == "tests" or part.startswith("test_") for part in name.split("."))
    }
    assert found == set()


def test_each_test_file_has_a_name_of_its_own() -> None:
    """pytest imports them by it, and fails to collect the second one of a name."""
    names = [path.name for path in TESTS.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def names_of(node: ast.AST) -> list[str]:
    """The modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
