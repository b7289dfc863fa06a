"""Links from notebooks to other pages: mkdocs turns those of Markdown into the site's, but not those of notebooks."""

from __future__ import annotations

import re
from typing import Any


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """The page's HTML, once it is made."""
    if not page.file.src_path.endswith(".ipynb"):
        return html
    return re.sub(r'href="(?!\w+:)([^"#]+)\.md(#[^"]*)?"', r'href="\1.html\2"', html)
