"""A JSON schema of KubeRay's RayJob: its fields from kuberay_fields.yaml, pods and the like from kubernetes-validate.

A field that neither knows is an error: a cluster would drop a misspelt one without a word.
"""

from __future__ import annotations

import importlib.resources
import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import referencing
import yaml
from jsonschema import Draft202012Validator

FIELDS = Path(__file__).with_name("kuberay_fields.yaml")
JSON_TYPES = {"string", "integer", "number", "boolean", "object"}


def problems(manifest: Any) -> list[str]:
    """What is wrong with a RayJob: a line for each, with where it stands."""
    errors = _validator().iter_errors(manifest)
    return sorted(f"{error.json_path}: {error.message}" for error in errors)


def _validator() -> Draft202012Validator:
    kubernetes = referencing.Resource.from_contents(_kubernetes_definitions())
    registry: Any = referencing.Registry().with_resource("kubernetes", kubernetes)
    objects = yaml.safe_load(FIELDS.read_text(encoding="utf-8"))
    defs = {name: _object(facts) for name, facts in objects.items()}
    return Draft202012Validator({"$ref": "#/$defs/RayJob", "$defs": defs}, registry=registry)


def _kubernetes_definitions() -> Any:
    """Of the latest release that the package has; "strict" ones refuse fields that they do not know."""
    folder = importlib.resources.files(kubernetes_validate) / "kubernetes-json-schema"
    version = kubernetes_validate.latest_version()
    (strict,) = [each for each in folder.iterdir() if each.name == f"v{version}-local-strict"]
    return {**json.loads((strict / "_definitions.json").read_text(encoding="utf-8")), "$id": "kubernetes"}


def _object(facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: _schema(kind) for name, kind in facts["fields"].items()},
        "required": facts.get("required", []),
        "additionalProperties": False,
    }


def _schema(kind: str) -> dict[str, Any]:
    if kind.startswith("["):
        return {"type": "array", "items": _schema(kind[1:-1])}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": _schema(kind[1:-1])}
    if "|" in kind:
        return {"enum": [word for word in kind.split("|") if word]}
    if kind in JSON_TYPES:
        return {"type": kind}
    place, _, name = kind.rpartition(" ")
    return {"$ref": f"kubernetes#/$defs/{name}" if place else f"#/$defs/{name}"}
