"""What users choose by name, a line each. Flags, help and the checking of settings follow from these tables.

Nothing here imports what it names: help reads the names alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stages.plug_ins import Table

if TYPE_CHECKING:
    from torch import Tensor

    from ranker.losses import RankingLoss
    from stages.exporting.export import Format
    from stages.methods.method import Method
    from stages.selectors.selector import Selector
    from stages.tasks.kept_patches import KeptPatchEncoder
    from stages.tasks.task import Task


def _selector(found: Any) -> Selector:
    from stages.selectors.selector import Selector

    if not isinstance(found, Selector):
        raise ValueError(f"expected a function under stages.selectors.selector.selector(...), got {found!r}")
    return found


def _task(found: Any) -> Task:
    from stages.tasks.task import missing_from

    task: Task = found()
    if missing := missing_from(task):
        raise ValueError(f"expected a class with all of stages.tasks.task.Task, got {found!r} without {missing[0]}")
    return task


def _encoder(found: Any) -> type[KeptPatchEncoder]:
    from stages.tasks.kept_patches import KeptPatchEncoder

    if not (isinstance(found, type) and issubclass(found, KeptPatchEncoder)):
        raise ValueError(f"expected a class of stages.tasks.kept_patches.KeptPatchEncoder, got {found!r}")
    return found


def _method(found: Any) -> type[Method]:
    import inspect

    from stages.methods.method import Method

    if not (isinstance(found, type) and issubclass(found, Method)):
        raise ValueError(f"expected a subclass of stages.methods.method.Method, got {found!r}")
    if inspect.isabstract(found):
        missing = min(found.__abstractmethods__)
        raise ValueError(f"expected a class with all of stages.methods.method.Method, got {found!r} without {missing}")
    return found


def _format(found: Any) -> Format:
    from stages.exporting.export import Format

    return found if isinstance(found, Format) else Format(_function(found))


def _function(found: Any) -> Any:
    if not callable(found):
        raise ValueError(f"expected a function, got {found!r}")
    return found


SELECTORS: Table[Selector] = Table(
    "selectors",
    {
        "topk": "stages.selectors.topk:topk",
        "topk+cluster": "stages.selectors.topk_cluster:topk_cluster",
        "spread": "stages.selectors.spread:spread",
        "random": "stages.selectors.random_patches:random_patches",
        "random-fixed": "stages.selectors.random_fixed:random_fixed",
        "centre": "stages.selectors.centre:centre",
        "lowest": "stages.selectors.lowest:lowest",
        "full": "stages.selectors.full:full",
    },
    _selector,
)
"""Ways of choosing which patches are kept."""

METHODS: Table[type[Method]] = Table(
    "methods",
    {
        "ltrp": "stages.methods.ltrp:Ltrp",
        "grad-cam": "stages.methods.grad_cam:GradCam",
        "evit": "stages.methods.evit:Evit",
        "dynamicvit": "stages.methods.dynamicvit:DynamicVit",
        "gfnet": "stages.methods.gfnet:Gfnet",
        "attention": "stages.methods.attention:ClsAttention",
        "attention-dino": "stages.methods.attention_dino:DinoAttention",
        "tome": "stages.methods.tome:TokenMerging",
        "dpc-knn": "stages.methods.dpc_knn:DpcKnn",
        "gradient": "stages.methods.gradient:Gradient",
        "contrast": "stages.methods.contrast:Contrast",
        "random": "stages.methods.random_order:RandomOrder",
        "centre": "stages.methods.centre:Centre",
        "mae": "stages.methods.mae:MeanScores",
    },
    _method,
)
"""Ways of scoring patches."""

TASKS: Table[Task] = Table(
    "tasks",
    {
        "classify": "stages.tasks.classify:Classify",
        "multilabel": "stages.tasks.multilabel:Multilabel",
        "segment": "stages.tasks.segment:Segment",
        "detect": "stages.tasks.detect:Detect",
    },
    _task,
)
"""What is learnt on kept patches."""

ENCODERS: Table[type[KeptPatchEncoder]] = Table(
    "encoders",
    {
        "plain": "stages.tasks.kept_patches:KeptPatchEncoder",
        "evit": "stages.tasks.encoders.evit:EvitEncoder",
        "dynamicvit": "stages.tasks.encoders.dynamicvit:DynamicVitEncoder",
    },
    _encoder,
)
"""Vision transformers under a classifier: plain, or ones that drop tokens on their way, which are classes of
`stages.tasks.encoders.dropping.TokenDroppingEncoder`."""

LOSSES: Table[RankingLoss] = Table(
    "losses",
    {
        "list_mle": "ranker.losses:list_mle",
        "list_net": "ranker.losses:list_net",
        "rank_net": "ranker.losses:rank_net",
        "pointwise": "ranker.losses:pointwise",
        "focused": "ranker.losses:focused",
    },
    _function,
)
"""Of rankers."""

DISTANCES: Table[Callable[[Tensor, Tensor], Tensor]] = Table(
    "distances",
    {
        "l1": "stages.density.distances:l1",
        "l2": "stages.density.distances:l2",
        "psnr": "stages.density.distances:psnr",
        "ssim": "stages.density.distances:ssim",
    },
    _function,
)
"""Between two reconstructions."""

FORMATS: Table[Format] = Table(
    "formats",
    {
        "parquet": "stages.exporting.parquet:to_parquet",
        "csv": "stages.exporting.csv:to_csv",
        "npz": "stages.exporting.npz:to_npz",
        "coco": "stages.exporting.coco:to_coco",
        "fiftyone": "stages.exporting.fiftyone:to_fiftyone",
    },
    _format,
)
"""That scores are exported to."""
