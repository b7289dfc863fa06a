"""The walls of the house: no file needs itself, however long the way round."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Set
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("ltrp", "pipeline", "stages", "ranker", "storage")


def imports_of(root: Path, packages: tuple[str, ...] = PACKAGES) -> dict[str, set[str]]:
    """The modules of `packages`, each with those among them that it imports: anywhere in it, for types alone as well.

    What an import runs on its way (`__init__.py` of the folders above) does not count: they may gather what they hold.
    """
    files = {_module(file.relative_to(root)): file for package in packages for file in (root / package).rglob("*.py")}
    return {module: _imported(file, files.keys()) for module, file in files.items()}


def _module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def _imported(file: Path, modules: Set[str]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= inner & modules or {str(node.module)}
    return {name for name in names if name in modules}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """One of the circles, from a module to itself; empty if there is none."""
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return [str(module) for module in reversed(error.args[1])]
    return []


def test_no_file_imports_itself_by_way_of_others() -> None:
    imports = imports_of(ROOT)
    assert len(imports) > 100
    assert sum(map(len, imports.values())) > 300, "and they are found"
    found = circle(imports)
    assert not found, " → ".join(found)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a.py": "import house.b", "b.py": "import house.c", "c.py": ""}, []),
        ({"a.py": "import house.b", "b.py": "import house.a"}, ["a", "b"]),
        ({"a.py": "from house import b", "b.py": "from house.c import d", "c.py": "import house.a"}, ["a", "b", "c"]),
        ({"a.py": "def late():\n    from house.b import name", "b.py": "import house.a"}, ["a", "b"]),
        ({"a.py": "if TYPE_CHECKING:\n    import house.b", "b.py": "from house.a import name"}, ["a", "b"]),
        ({"__init__.py": "from house.a import name", "a.py": "from house import name"}, ["", "a"]),
        ({"__init__.py": "from house.a import name", "a.py": "from house import b", "b.py": ""}, []),
        ({"a.py": "import json, ray.house.a", "b.py": "import house.a"}, []),
    ],
)  # fmt: skip
def test_a_circle_is_found_and_what_is_none_is_not(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    for name, text in files.items():
        (tmp_path / "house" / name).write_text(text)
    found = circle(imports_of(tmp_path, ("house",)))
    assert {module.removeprefix("house").removeprefix(".") for module in found} == set(expected)
    assert found[:1] == found[-1:]
