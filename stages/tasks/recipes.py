"""Recipes to train models of tasks by."""

from __future__ import annotations

import dataclasses
from typing import Any

from storage.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """What a preset decides."""

    epochs: int
    warmup_epochs: float
    batch_size: int
    base_learning_rate: float
    weight_decay: float
    layer_decay: float
    """Of a pretrained encoder; without one all layers learn alike."""
    drop_path: float
    label_smoothing: float
    mixup: float
    """0 for tasks that cannot mix images."""
    clip_norm: float | None
    # Of later versions; earlier ones trained with what is the default here, and settings do not name that.
    beta2: float = 0.95
    """AdamW's second; its first is 0.9."""
    final_norm: bool = True
    """Of the encoder, as in `stages.tasks.architecture.EncoderConfig`."""
    head_std: float = 0.02
    """Of the first weights of the linear head of classify and multilabel."""
    ema_decay: float = 0.0
    """Of the average of weights that is judged and saved; 0: the last weights are."""
    # Of views that are ranked as they come; stored views have none of it.
    min_scale: float = 0.08
    """Smallest part of an image that a random crop takes."""
    auto_augment: str = "none"
    """As in `stages.images.augmentation.rand_augment`."""
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    """Its probability."""
    cutmix: float = 0.0

    def of_stored_views(self) -> TaskRecipe:
        """Raises ValueError for what stored views cannot have."""
        for name in AUGMENTATION:
            value, none = getattr(self, name), FIELDS[name].default
            if value != none:
                raise ValueError(
                    f"{name}: expected {none} with --ranks, whose scores are of views as they are stored, got {value}: "
                    "--ranker ranks views as they are augmented"
                )
        whole: Any = FIELDS["min_scale"].default
        return dataclasses.replace(self, min_scale=whole)

    def settings(self) -> Settings:
        """All that it decides, so that a folder that was begun before there was a field compares equal where its
        default is meant."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


FIELDS = {field.name: field for field in dataclasses.fields(TaskRecipe)}
AUGMENTATION = ("auto_augment", "color_jitter", "random_erasing", "cutmix")
"""Of whole images: what their truth is must not lie somewhere in them."""

PRESETS: dict[str, TaskRecipe] = {
    "small-data": TaskRecipe(
        epochs=20,
        warmup_epochs=2,
        batch_size=32,
        base_learning_rate=8e-3,
        weight_decay=0.05,
        layer_decay=0.75,
        drop_path=0.0,
        label_smoothing=0.1,
        mixup=0.0,
        clip_norm=1.0,
        min_scale=0.2,
    ),
    "fine-tuning": TaskRecipe(
        epochs=100,
        warmup_epochs=5,
        batch_size=1024,
        base_learning_rate=5e-4,
        weight_decay=0.05,
        layer_decay=0.65,
        drop_path=0.1,
        label_smoothing=0.1,
        mixup=0.8,
        clip_norm=None,
        beta2=0.999,
        final_norm=False,
        head_std=2e-5,
    ),
    "ltrp": TaskRecipe(
        epochs=50,
        warmup_epochs=5,
        batch_size=1024,
        base_learning_rate=1e-3,
        weight_decay=0.05,
        layer_decay=0.75,
        drop_path=0.1,
        label_smoothing=0.1,
        mixup=0.0,
        clip_norm=None,
        beta2=0.999,
        final_norm=False,
        head_std=2e-5,
        auto_augment="rand-m9-mstd0.5-inc1",
        random_erasing=0.25,
    ),
}
"""`fine-tuning` is that of MAE's code for ViT-B on ImageNet (facebookresearch/mae, FINETUNE.md), and all but two of its
numbers are those of the paper (He et al., CVPR 2022, table 9), where the base learning rate is 1e-3 and the layer decay
0.75. LTRP's code has 5e-4 and 0.65 too, for MS-COCO. `ltrp` is the fine-tuning of LTRP's code on ImageNet, for views
that are ranked as they come. docs/method.md says what of both is not here."""
