"""The documentation as a site: `make docs` builds it to build/site. A page is a Markdown file, named in index.md."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_site"))

from local import foreign_requests  # noqa: E402
from measured import measured_text  # noqa: E402
from notebook import notebook_text  # noqa: E402

import eisenmp  # noqa: E402

project = "eisenmp"
author = "the eisenmp authors"
version = release = eisenmp.__version__
html_title = f"eisenmp {release}"
html_show_copyright = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_site"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
smartquotes_action = "De"  # dashes and dots; what is quoted here is code
pygments_style = "friendly"
pygments_dark_style = "monokai"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are told once, in the text of their class


def fill(app: Any, docname: str, source: list[str]) -> None:
    """Put into a page what comes from other files."""
    if docname == "measured":
        source[0] = source[0].replace("<!-- measured -->", measured_text(HERE / "measured"))
    if docname == "notebook":
        text = notebook_text(HERE.parent / "examples" / "notebook" / "words.ipynb")
        source[0] = source[0].replace("<!-- notebook -->", text)


def look(app: Any, error: Exception | None) -> None:
    """A page that would load something from another host is an error."""
    from sphinx.errors import ExtensionError

    found = [] if error else list(foreign_requests(Path(app.outdir)))
    if found:
        raise ExtensionError("pages ask other hosts:\n" + "\n".join(found))


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """The fields of a named tuple have no words of their own: its signature shows them, and its text tells of them."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-skip-member", skip)
    app.connect("source-read", fill)
    app.connect("build-finished", look)
