"""The wheel and the editable install."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import requires, version
from pathlib import Path

import pytest

import whisper_nb
from whisper_nb.config.project import package

pytestmark = [pytest.mark.package, pytest.mark.xdist_group("wheel")]
PROJECT = Path(__file__).parents[2]
IMPORT = "import whisper_nb as w; print(w.__file__, w.__version__, [getattr(w, name).__name__ for name in w.__all__])"
#: Packaged data files: the team, and the default time limits.
TEAM = """
from whisper_nb.config.project import defaults, package
said = package()
from whisper_nb.notebook.panel.panel import Panel
assert "export default" in str(Panel._esm) and ".wnb" in str(Panel._css)
print(sorted(said.team), said.problems, defaults().config.values(), said.files.root)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_contains_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {str(path.relative_to(PROJECT)) for path in (PROJECT / "whisper_nb").rglob("*.py")}
    files = {
        f"whisper_nb/data/{path.relative_to(PROJECT)}"
        for name in ("agents", "config")
        for path in (PROJECT / name).rglob("*.*")
    }
    pages = (path for kind in ("js", "css") for path in (PROJECT / "whisper_nb").rglob(f"*.{kind}"))
    static = {str(path.relative_to(PROJECT)) for path in pages}
    assert ours | files | static | {"whisper_nb/py.typed"} <= names
    rest = {name for name in names if not name.startswith("whisper_nb/")}
    assert all(name.startswith(f"whisper_nb-{whisper_nb.__version__}.dist-info/") for name in rest)
    assert any(name.endswith("licenses/LICENSE") for name in rest)


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    code = f"import sys; sys.path.insert(0, {str(target)!r}); {IMPORT}\n{TEAM}"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert str(target) in said.stdout
    assert "ScriptedModel" in said.stdout
    assert (
        "['alice', 'debbie', 'eamonn', 'patricia', 'tessa'] () {'timeout_s': 600, 'token_timeout_s': 120, "
        "'retries': 2, 'output_retries': 2}" in said.stdout
    )
    assert str(target / "whisper_nb/data") in said.stdout


def test_the_editable_install_is_this_checkout() -> None:
    assert Path(whisper_nb.__file__).parent == PROJECT / "whisper_nb"
    assert version("whisper-nb") == whisper_nb.__version__
    assert package().files.root == PROJECT
    assert sorted(package().team) == ["alice", "debbie", "eamonn", "patricia", "tessa"]


def test_malicious_versions_of_litellm_are_excluded() -> None:
    (litellm,) = [line for line in requires("whisper-nb") or () if line.startswith("litellm")]
    assert "!=1.82.7" in litellm
    assert "!=1.82.8" in litellm
