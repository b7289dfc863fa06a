"""Runs `shard`."""

from __future__ import annotations

from typing import Any

from pipeline.progress.watch import Watch
from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary
from stages.shard import run_shard as make_tars
from storage.text import counted


def run_shard(config: ShardConfig, watch: Watch, *, verify: bool = False) -> ShardSummary:
    """Makes the tars that are missing; to `verify` reads those that are there, and makes damaged ones again."""
    with watch.display("shard", "shards") as display:
        done = total = 0

        def report(event: str, facts: dict[str, Any]) -> None:
            nonlocal done, total
            if event == "verified" and not facts["whole"]:
                display.say(f"{facts['name']} is damaged: its bytes are not those that its receipt tells of")
            elif event == "plan":
                done, total = facts["done"], facts["shards"]
                for note in facts["notes"]:
                    display.say(note)
                written = "already written" if done == total else f"{done} already written" if done else "to write"
                display.say(f"{counted(facts['images'], 'image')}; {counted(total, 'shard')}, {written}")
                display.show(done, total)
            elif event == "notes":
                for note in facts["notes"]:
                    display.say(note)
            elif event == "shard":
                done += 1
                display.show(done, total, last=done == total)

        return make_tars(config, report, verify=verify)
