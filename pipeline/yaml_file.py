"""Reading a YAML file that a person wrote: whatever is wrong with it is one message that names the file."""

from __future__ import annotations

import os
import re
import stat
from typing import Any

import yaml

MOST_BYTES = 2**20
MOST_VALUES = 100_000
"""With its aliases written out: a few lines of them can stand for billions of values."""


def read_yaml(path: str) -> Any:
    """What the file at `path` says. Raises ValueError naming it for what cannot be read, or is no YAML."""
    try:
        text = _read(path).decode()
        loader = _Loader(text)
        loader.name = path
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except RecursionError:
        raise ValueError(f"{path}: expected settings, got values nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8, got other bytes at {error.start}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except (ValueError, OverflowError) as error:  # a date without such a day, a number with thousands of digits
        raise ValueError(f"{path}: {error}") from None


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which PyYAML would drop the first without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


# YAML 1.1, PyYAML's, takes 1e-3 for text, for want of a point and a sign; 1.2 and people take it for a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+.0123456789")
)


def _read(path: str) -> bytes:
    if stat.S_ISFIFO(os.stat(path).st_mode) and not path.startswith("/dev/"):
        raise ValueError("expected a file, got a named pipe")  # where one may wait for ever
    with open(path, "rb") as file:
        found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"expected settings, got more than {MOST_BYTES >> 20} MiB")
    return found


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values `node` stands for."""
    if id(node) in known:
        found = known[id(node)]
        if found is None:
            raise ValueError("expected settings, got an alias inside of what it stands for")
        return found
    known[id(node)] = None
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    count = 1 + sum(_count(part, known) for part in parts)
    if count > MOST_VALUES:
        raise ValueError(f"expected settings, got more than {MOST_VALUES} values, with aliases written out")
    known[id(node)] = count
    return count
