"""The documents of --json: what stands in each is a dataclass, whose fields docs/json.md tells."""

from __future__ import annotations

import importlib
import json
from typing import Any

from pydantic import TypeAdapter

VERSION = 1
"""Of all documents: goes up whenever a field goes or comes to mean something else; new fields leave it as it is."""
PLAN = "plan"
"""What every --plan says."""
DOCUMENTS = {
    "status": "storage.store_status:StoreStatus",
    "verify": "storage.verification:Verification",
    PLAN: "pipeline.planning.plan:Plan",
    "evaluate-ranker": "stages.ranking.evaluation:Evaluation",
    "evaluate-task": "stages.comparison.result:TaskResult",
    "coverage": "stages.comparison.comparison:Comparison",
    "compare": "stages.comparison.comparison:Comparison",
    "compare-methods": "stages.comparison.method_coverage:MethodComparison",
    "doctor": "pipeline.doctor.check:Diagnosis",
}
"""What `result` is, by name of the document."""


def type_of(document: str) -> Any:
    """Of its `result`."""
    module, _, name = DOCUMENTS[document].partition(":")
    return getattr(importlib.import_module(module), name)


def encode(document: str, result: Any, written: list[str]) -> str:
    """As one JSON object: `document`, `version`, `result` and `written`. What is no number is null."""
    told = json.loads(TypeAdapter(type_of(document)).dump_json(result))
    return json.dumps({"document": document, "version": VERSION, "result": told, "written": written}, indent=1)
