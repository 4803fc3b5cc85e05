"""How Sphinx builds the documentation: `make docs`, without network."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from IPython.lib.lexers import IPython3Lexer
from sphinx.ext.napoleon.docstring import GoogleDocstring

import whisper_nb
from whisper_nb import _HOMES

# The tutorials, where Sphinx finds them.
TUTORIALS = Path(__file__).parent / "tutorials"
shutil.rmtree(TUTORIALS, ignore_errors=True)
shutil.copytree(TUTORIALS.parents[1] / "notebooks", TUTORIALS, ignore=shutil.ignore_patterns("*.py", ".*"))

project = "whisper_nb"
author = "the maintainers of whisper_nb"
version = release = whisper_nb.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "tutorials/images"]
suppress_warnings = ["misc.highlighting_failure"]  # cells that begin with a magic, such as %%writefile

# The tutorials keep the outputs that they were stored with: `make notebooks` runs them, `make test` checks them.
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_url_schemes = ["http", "https"]

autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 80
add_module_names = False
python_use_unqualified_type_names = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "pydata_sphinx_theme"
html_title = "whisper_nb"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_sidebars = {"**": ["globaltoc.html"]}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


def lead(app: Any, page: str, source: list[str]) -> None:
    """Lead links to the tutorials to their pages here."""
    source[0] = source[0].replace("](../notebooks/0", "](tutorials/0")


def literal(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Show `code` in a docstring as code: its backticks are Markdown's."""
    lines[:] = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", "\n".join(lines)).split("\n")


def parsable(app: Any, what: str, name: str, thing: object, options: object, given: str, returned: str) -> Any:
    """Write a default that is no Python expression, such as <factory>, as `...`."""
    return re.sub(r"= ?<[^>]*>", "= ...", given or "") or given, returned


def setup(app: Any) -> None:
    """Called by Sphinx."""
    for name, home in _HOMES.items():
        getattr(whisper_nb, name).__module__ = f"whisper_nb.{home}"  # where autodoc finds the text below each field
    app.add_lexer("python", IPython3Lexer)  # cells begin with magics
    app.connect("source-read", lead)
    app.connect("autodoc-process-docstring", literal)
    app.connect("autodoc-process-signature", parsable)
    # Else the words before a colon are taken for a type.
    GoogleDocstring._consume_inline_attribute = lambda self: ("", self._dedent(self._consume_to_end()))
