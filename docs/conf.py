"""Sphinx: `make docs` builds the pages of this folder and those of the registries."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from reference import write_pages  # noqa: E402

import text2sql_gym  # noqa: E402

write_pages(HERE / "reference")

project = "text2sql_gym"
author = "the text2sql_gym authors"
release = text2sql_gym.__version__
extensions = ["myst_parser"]
exclude_patterns = ["README.md"]
myst_heading_anchors = 3
highlight_language = "text"
html_theme = "furo"
html_title = f"text2sql_gym {release}"
html_show_copyright = False
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["pages.css"]
smartquotes = False  # quotes stand for code here
nitpicky = True
