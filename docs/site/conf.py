"""The configuration of Sphinx. The site needs nothing from the network, when it is built and when it is read."""

from __future__ import annotations

from pyruntime._version import __version__

project = "pyruntime"
author = "the pyruntime developers"
version = release = __version__
root_doc = "index"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4    # links to headings, as in a checkout
suppress_warnings = ["myst.header"]
smartquotes = False         # --option is not a dash
highlight_language = "text"
exclude_patterns: list[str] = []
html_theme = "furo"
html_title = "pyruntime"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_use_index = False
linkcheck_timeout = 20
linkcheck_ignore = [r"https?://(localhost|127\.0\.0\.1|\[::1\])"]
