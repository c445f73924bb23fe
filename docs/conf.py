"""How the documentation site is made: `make docs`, or `python -m sphinx -b html -c docs . docs/_build`.

The repository itself is the source folder, so that a page is the same file on the site and where the code is read, and
relative links mean the same in both. What is no page but linked (code, configurations) becomes one by `source_pages`.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

from sphinx_parts.source_pages import source_of as linkcode_resolve  # noqa: E402, F401

from gkd_lightning import __version__  # noqa: E402

project = "gkd-lightning"
author = "The gkd-lightning contributors"
copyright = "The gkd-lightning contributors, Apache-2.0"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.linkcode",
    "sphinx_parts.generated",
    "sphinx_parts.mentions",
    "sphinx_parts.notebooks",
    "sphinx_parts.source_pages",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/**/*.md",
    "docs/reference/**/*.rst",
    "docs/reference/*.rst",
    "notebooks/*.ipynb",
    "experiments/*/*.md",
    "benchmarks/README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "docs/_build", "runs", "build", "dist", "**/.ipynb_checkpoints"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}  # notebooks add theirs
highlight_language = "text"
smartquotes = False  # `--set` is an option, not a dash

myst_heading_anchors = 4

default_role = "py:obj"  # a name in a docstring's backticks leads to its page, where it has one
add_module_names = False
autosummary_generate = False  # a page for every room, none for every name
maximum_signature_line_length = 90
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"gkd-lightning {release}"
html_static_path = ["theme/static"]
html_css_files = ["site.css"]
html_extra_path = ["theme/index.html"]  # the site's address leads to docs/index.html
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "monokai"
