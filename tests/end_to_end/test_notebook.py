"""docs/notebooks: they run, and say of shapes and counts what is saved in them.

`python tests/end_to_end/test_notebook.py` runs them and saves what they show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs/notebooks").glob("*.ipynb"))
MOST_BYTES = 600_000


def executed(path: Path) -> Any:
    """It, run from top to bottom in a kernel of its own. Raises where a cell does."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=900, kernel_name="python3").execute()
    return notebook


def shapes_and_counts(notebook: Any) -> Iterator[tuple[str, str]]:
    """The values of cells that hold no fraction, each with its code: those are the same on every machine."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/plain", ".")
            if output["output_type"] == "execute_result" and "." not in text.replace("torch.Size", ""):
                yield cell["source"], text


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_the_shapes_that_are_saved(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("nbclient")
    saved = list(shapes_and_counts(nbformat.read(path, as_version=4)))
    assert len(saved) >= 3
    assert list(shapes_and_counts(executed(path))) == saved


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_saved_with_what_it_shows_and_is_small(path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell["cell_type"] == "code"]
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell["outputs"])
    assert not [output for cell in cells for output in cell["outputs"] if output.get("name") == "stderr"]
    assert path.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_pages_that_a_notebook_leads_to_are_there(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", path.read_text())
    assert links
    assert [link for link in links if not (path.parent / link).is_file()] == []


if __name__ == "__main__":
    import nbformat

    for notebook in NOTEBOOKS:
        made = executed(notebook)
        for cell in made.cells:
            cell["metadata"] = {}  # when it ran
            if cell["cell_type"] == "code":  # warnings of the machine
                cell["outputs"] = [output for output in cell["outputs"] if output.get("name") != "stderr"]
        nbformat.write(made, notebook)
