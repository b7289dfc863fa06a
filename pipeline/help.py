"""How commands look to their users: two examples each, and `-h`. Options come in groups by `pipeline.options`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cloup

PROGRAM = "ltrp-pipeline"
CONTEXT = cloup.Context.settings(help_option_names=["-h", "--help"], max_content_width=100, align_option_groups=False)


def command(*examples: str) -> Callable[[Callable[..., Any]], cloup.Command]:
    """`cloup.command` for a function whose docstring is the help. Examples are what follows `ltrp-pipeline`, in a line
    that can be pasted."""
    lines = "".join(f"\n  {PROGRAM} {example}" for example in examples)
    return cloup.command(context_settings=CONTEXT, epilog=f"\b\nExamples:{lines}")
