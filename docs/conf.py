"""The site, which `.ci/docs FOLDER` builds. It loads nothing from elsewhere: it works offline."""

import sys
from pathlib import Path

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

sys.path[:0] = map(str, (Path(__file__).parent, Path(__file__).parents[1]))  # benchmarks

import generate

import lossgrad

project = "lossgrad"
author = "the lossgrad developers"
copyright = author
version = release = lossgrad.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["generated/headline.md", "generated/peers.md", "generated/functions.md"]
exclude_patterns += ["generated/accuracy.md"]  # parts of pages
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
autodoc_typehints = "none"
numpydoc_show_class_members = False
autosummary_imported_members = True

html_sidebars = {page: [] for page in ("index", "install", "tutorial")}
html_theme = "pydata_sphinx_theme"
html_title = f"lossgrad {release}"
html_static_path = ["style.css"]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
}


def formula(display, frame):
    """How a formula is written: as MathML, which browsers draw themselves."""

    def visit(translator, node):
        translator.body.append(frame.format(convert(node.astext(), display=display)))
        raise SkipNode

    return visit, None


def setup(app):
    app.add_html_math_renderer(
        "mathml", formula("inline", "{}"), formula("block", '<div class="math">{}</div>')
    )
    app.connect("builder-inited", lambda app: generate.write())


html_math_renderer = "mathml"
