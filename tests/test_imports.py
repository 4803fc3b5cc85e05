"""The shape of the package, read from its source: floors, homes of dependencies, tasks, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "whisper_nb"
DATA = {
    "agentfiles", "agents", "bills", "config", "errors", "events", "fields", "files", "formats", "images", "keys", "mainfile", "messages",
    "paths", "project", "prompts", "providers", "queues", "states", "threads", "tools", "trust", "turns", "yamlfile",
}  # fmt: skip
ENGINE = {
    "home", "deadlines", "store", "permits", "ports", "runs", "execution", "session", "roster", "spending", "runtimes",
    "models", "control",
}  # fmt: skip
NOTEBOOK = {"notebook"}
#: Third-party package, or one that costs time → the one module or folder that may import it.
HOMES = {
    "litellm": "models",
    "aiohttp": "models",
    "certifi": "models",
    "yarl": "models",
    "httpx": "models",
    "sqlite3": "store",
    "yaml": "yamlfile",
    "dotenv": "keys",
    "platformdirs": "paths",
    "pydantic": "tools",
    "pydantic_core": "tools",
    "IPython": "notebook",
    "ipykernel": "notebook",
    "ipywidgets": "notebook",
    "anywidget": "notebook",
    "traitlets": "notebook",
    "nest_asyncio2": "notebook",
    "markdown_it": "notebook",
    "mdit_py_plugins": "notebook",
    "nh3": "notebook",
}
SOURCES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in SOURCES}


def home_of(path: Path) -> str:
    """The module of the package, or its folder, that a file is: `runs`, `models`, `notebook`."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


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
    return {name.split(".")[1] for name in imports_of(path) if name.startswith("whisper_nb.")}


def test_every_module_stands_on_one_floor() -> None:
    assert {home_of(path) for path in SOURCES} == {*DATA, *ENGINE, *NOTEBOOK, "__init__", "__main__"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    allowed = DATA
    if home_of(path) in ENGINE:
        allowed = DATA | ENGINE
    elif home_of(path) in {*NOTEBOOK, "__init__", "__main__"}:
        allowed = DATA | ENGINE | NOTEBOOK
    assert own_imports_of(path) <= allowed


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_dependency_has_one_home(path: Path) -> None:
    known = {*sys.stdlib_module_names, "whisper_nb"} - HOMES.keys()
    for name in imports_of(path):
        package = name.split(".")[0]
        if package not in known:
            # The face of the package names IPython's shell for type checkers alone.
            assert HOMES.get(package) == home_of(path) or (package, home_of(path)) == ("IPython", "__init__"), name


@pytest.mark.parametrize("module", ["whisper_nb", "whisper_nb.runtimes", "whisper_nb.models.offline"])
def test_importing_loads_no_dependency(module: str) -> None:
    script = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert HOMES.keys() & set(done.stdout.split()) == set()


def test_importing_the_package_loads_no_module_of_it() -> None:
    script = "import sys, whisper_nb; print(*[name for name in sys.modules if name.startswith('whisper_nb')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["whisper_nb"]


def test_no_function_reaches_for_a_global() -> None:
    assert [path.name for path in SOURCES for node in ast.walk(TREES[path]) if isinstance(node, ast.Global)] == []


def test_tasks_are_made_in_four_places() -> None:
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
        "home:await_main",
        "offload:stream",
        "offload:_there",
        "session:_wake",
        "session:_start",
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
def test_a_module_and_its_functions_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, node.name


def test_modules_are_few() -> None:
    assert len([path for path in SOURCES if path.name != "__init__.py"]) <= 69
