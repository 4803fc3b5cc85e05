"""The widget's script and style, composed from their files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from whisper_nb.notebook.panel.script import script, style

VIEW = Path(__file__).parents[2] / "whisper_nb" / "notebook" / "panel" / "view"
DECLARED = re.compile(r"^(?:export )?(?:const|let|class|(?:async )?function) (\w+)", re.MULTILINE)


def test_each_file_comes_once_and_before_those_that_import_it(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";\nimport { c } from "./c.js";\nexport default b + c;\n')
    (tmp_path / "b.js").write_text('import { c } from "./c.js";\nexport const b = c;\n')
    (tmp_path / "c.js").write_text("export const c = 1;\n")
    assert script(tmp_path / "a.js") == "export const c = 1;\n\nexport const b = c;\n\nexport default b + c;\n"


@pytest.mark.parametrize("entry", [VIEW / "panel.js", VIEW.parents[1] / "form" / "form.js"])
def test_a_script_imports_nothing_and_declares_no_name_twice(entry: Path) -> None:
    text = script(entry)
    names = DECLARED.findall(text)
    assert sorted(names) == sorted(set(names))
    assert "import " not in re.sub(r"//.*|\"[^\"]*\"", "", text)


def test_the_panel_uses_all_files() -> None:
    text = script(VIEW / "panel.js")
    for file in VIEW.glob("*.js"):
        assert file.read_text(encoding="utf-8").splitlines()[0] in text


def test_variables_come_before_the_rules_that_use_them() -> None:
    text = style(VIEW)
    assert text.startswith((VIEW / "theme.css").read_text(encoding="utf-8"))
    for file in VIEW.glob("*.css"):
        assert file.read_text(encoding="utf-8") in text
