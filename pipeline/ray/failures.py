"""What Ray's errors say of a worker that is gone."""

from __future__ import annotations

from ray.exceptions import RayActorError, RayError, RayTaskError

from pipeline.ray.cluster import HeadWatch, alive_nodes
from pipeline.ray.worker import Place


def took_its_node_along(error: RayError, place: Place | None, head: HeadWatch) -> bool:
    """Whether the machine is gone, and not just the process on it."""
    if "its node has died" in str(error) or (isinstance(error, RayActorError) and error.preempted):
        return True
    return bool(place and head.answers() and place.node not in alive_nodes())


def why_lost(error: RayError) -> str:
    """The line that tells; Ray's messages are long."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if isinstance(error, RayTaskError) or "creation task" in lines[0]:
        return lines[-1]  # what was raised stands last
    telling = [
        line for line in lines if line.startswith(("The actor is dead", "The actor died because", "the actor's"))
    ]
    return (telling[-1] if telling else lines[0]).partition(" Some common causes")[0]
