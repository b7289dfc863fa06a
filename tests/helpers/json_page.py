"""docs/json.md: the fields of every document of --json, written from the dataclasses and what stands below their
fields. `python tests/helpers/json_page.py > docs/json.md`"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from pipeline.documents import DOCUMENTS, VERSION, type_of

NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Any: "any"}
INTRODUCTION = f"""# Answers for programs: `--json`

`--json` makes a command answer with one JSON document on standard output. All else, progress and notes, goes to
standard error; the exit status is what it is without. A command that fails prints no document, and why on standard
error: look at the exit status first. `status`, `verify` and `doctor` answer with status 1, too, where something is
damaged or wrong.

```bash
ltrp-pipeline status work/scores --json | python -c 'import json, sys; print(json.load(sys.stdin)["result"]["shards"])'
```

- `status`, `verify`, `doctor`, `evaluate-ranker`, `evaluate-task`, `coverage`, `compare` and `compare-methods` answer
  with the document of their name,
- `shard`, `pretrain-mae`, `score`, `train-ranker`, `train-gfnet`, `rank`, `compare-methods` and `train-task` with
  `plan`, where `--plan` is given: what is left to do, what it takes, and where it would run.

Each is an object with four fields: `document`, its name; `version`, {VERSION}; `result`, which is told below; and
`written`, the URLs of the files that the command wrote. Within a version no field goes or comes to mean something else;
new ones may come. Where a number cannot be told it is `null`. Keys of objects are strings, those that are numbers too:
`"0.25"`.

This page is written from the code: `python tests/helpers/json_page.py > docs/json.md`.
"""


def page() -> str:
    """All of it, in Markdown."""
    lines = [INTRODUCTION]
    told: set[str] = set()
    for document in DOCUMENTS:
        kind = type_of(document)
        lines.append(f"## `{document}`\n")
        name = "" if inspect.isclass(kind) and not get_args(kind) else f"`result`: {_told(kind)}.\n"
        if name:
            lines.append(name)
        lines += [line for each in _classes(kind) for line in _section(each, told)]
    return "\n".join(lines).rstrip() + "\n"


def _section(kind: type[Any], told: set[str]) -> Iterator[str]:
    if kind.__name__ in told:
        return
    told.add(kind.__name__)
    summary = _in_json(inspect.getdoc(kind) or "")
    yield f"**{kind.__name__}**: {summary}\n"
    yield "| field | is | |"
    yield "| --- | --- | --- |"
    remarks = _remarks(kind)
    hints = _fields(kind)
    for name, hint in hints.items():
        yield f"| `{name}` | {_told(hint)} | {remarks.get(name, '')} |"
    yield ""
    for hint in hints.values():
        for each in _classes(hint):
            yield from _section(each, told)


def _fields(kind: type[Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    names = kind.model_fields if issubclass(kind, BaseModel) else [field.name for field in dataclasses.fields(kind)]
    return {name: hints[name] for name in names}


def _remarks(kind: type[Any]) -> dict[str, str]:
    """What stands below each field."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[ast.unparse(field.target)] = _in_json(str(below.value.value))
    return found


def _in_json(text: str) -> str:
    return re.sub(r"\bNone\b", "null", " ".join(text.split()))


def _classes(hint: Any) -> list[type[Any]]:
    """Those of ours in an annotation."""
    if inspect.isclass(hint) and (dataclasses.is_dataclass(hint) or (issubclass(hint, BaseModel))):
        return [hint]
    return [each for part in get_args(hint) for each in _classes(part)]


def _told(hint: Any) -> str:
    """A type, in JSON's terms."""
    origin, parts = get_origin(hint), [part for part in get_args(hint) if part is not Ellipsis]
    if origin is Literal:
        told = " or ".join(f"`{json.dumps(part)}`" for part in parts)
    elif origin is dict:
        told = f"object of {_told(parts[1])}"
    elif origin in (tuple, list):
        told = f"array of {' and '.join(dict.fromkeys(map(_told, parts)))}"
    elif origin is None:
        told = NAMES.get(hint) or hint.__name__
    else:
        told = " or ".join(map(_told, parts))
    return told


if __name__ == "__main__":
    sys.stdout.write(page())
