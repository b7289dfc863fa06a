"""Of the package all stands in setup.cfg but its description on a package index: README, as it can be read there.

README's links and pictures are relative. Where `project_urls` has `Files`, an address at which these files are seen
(https://…/blob/main), they lead there; without one they are text, which names the file.
"""

import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

FOLDER = Path(__file__).resolve().parent
COMMENT, PICTURE, LINK = r"<!--.*?-->\n?", r"!\[([^\]]*)\]\(([^)]+)\)\n?", r"(?<!!)\[([^\]]*)\]\(([^)]+)\)"
ABSOLUTE = ("https://", "http://", "#")


def described(readme: str, files: str | None) -> str:
    """`readme` for a reader who has nothing but this page."""

    def picture(found: re.Match[str]) -> str:
        whole, label, path = found[0], found[1], found[2]
        if path.startswith(ABSOLUTE):
            return whole
        return f"![{label}]({files}/{path}?raw=true)\n" if files else f"*{label}: {path}*\n"

    def link(found: re.Match[str]) -> str:
        whole, text, path = found[0], found[1], found[2]
        if path.startswith(ABSOLUTE):
            return whole
        if files:
            return f"[{text}]({files}/{path})"
        return text if text.strip("`") == path else f"{text} ({path})"

    return re.sub(LINK, link, re.sub(PICTURE, picture, re.sub(COMMENT, "", readme)))


def files_address() -> str | None:
    """What setup.cfg says."""
    config = ConfigParser(interpolation=None)
    config.read(FOLDER / "setup.cfg", encoding="utf-8")
    urls = dict(
        re.split(r"\s*=\s*", line, maxsplit=1) for line in config["metadata"]["project_urls"].split("\n") if line
    )
    return urls["Files"].rstrip("/") if "Files" in urls else None


if __name__ == "__main__":
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    setup(long_description=described(readme, files_address()), long_description_content_type="text/markdown")
