"""Settings of `train-task`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from stages.settings.choices import CONTROL, Control, EncoderName, TaskName
from stages.settings.crop import CROP, DEFAULT_CROP, EvaluationCrop
from stages.settings.groups import Group
from stages.settings.stage_settings import KeepRatios, Seeds, Selects, StageSettings
from stages.tasks.mask_values import MASK_VALUES, MaskValues, parse_mask_values
from stages.tasks.recipes import AUGMENTATION, DEFAULTS, PRESETS, TaskRecipe
from stages.training.warmup import fitting_warmup

if TYPE_CHECKING:
    from stages.tasks.encoders.dropping import TokenDropping
    from stages.tasks.task import TaskOptions


def _told(off: object) -> object:
    return 0 if off == 0 else off


class TrainTaskConfig(StageSettings):
    """Settings of `train-task`."""

    PRESETS: ClassVar = PRESETS

    task: TaskName = Field(description="Task to learn.")
    shards: Annotated[list[str], Group.DATA] = Field(
        description="Shards to train on: folders, globs, brace patterns or index files."
    )
    ranks: Annotated[str | None, Group.DATA] = Field(
        None, description="Store of the scores of their patches: of rank, or of score. This or --ranker is needed."
    )
    ranker: Annotated[str | None, Group.DATA] = Field(
        None,
        description="Ranker of fresh, augmented views as they come, instead of --ranks: a name of the package, a "
        "folder of train-ranker, hf://OWNER/NAME, or a published .pth file.",
    )
    out: Annotated[str, Group.DATA] = Field(
        description="Folder for models and results; created, or resumed if it exists."
    )
    eval_shards: Annotated[list[str], Group.DATA] = Field([], description="Shards to evaluate the models on.")
    eval_ranks: Annotated[str | None, Group.DATA] = Field(
        None, description="Store of the scores of their patches; --ranker needs none."
    )
    keep_ratio: Annotated[KeepRatios, Group.RECIPE] = Field(
        [0.25, 0.5, 0.75, 1.0], description="Fractions of patches to keep: one model per fraction."
    )
    select: Annotated[Selects, Group.RECIPE] = Field(
        ["topk"],
        description="How they are chosen: 'topk', 'topk+cluster' (the paper's 70% and 30%), 'spread' (the best of each "
        "part of the image), 'random', 'random-fixed' (the same in every epoch), 'centre', 'lowest', or 'full' for "
        "all.",
    )
    seeds: Annotated[Seeds, Group.RECIPE] = Field(
        [0], description="Seeds of weights, order, views and draws: one model per seed."
    )
    selector: str | None = Field(
        None, description="Name of the scores in tables; by default 'ltrp' for ranks, 'mae' for scores."
    )
    class_names: Annotated[str | None, Group.DATA] = Field(
        None,
        description="File with one class name per line, class 0 first; by default the names in the index of the "
        "shards.",
    )
    ignore_classes: list[int] = Field([], description="Mask values to ignore, besides 255.")
    mask_values: MaskValues = Field([], description=MASK_VALUES)
    exclude_classes: Annotated[str | None, Group.DATA] = Field(
        None,
        description="File of classes, one per line, or 'imagenet': those of COCO, VOC or ADE20K that ImageNet-1K has. "
        "All metrics are also reported without these.",
    )
    preset: Annotated[Literal["small-data", "fine-tuning", "ltrp"], Group.RECIPE] = Field(
        "small-data",
        description="Recipe for the settings that are not given; 'fine-tuning' is MAE's, 'ltrp' the paper's (with "
        "--ranker).",
    )
    size: Annotated[Literal["nano", "tiny", "small", "base"], Group.MODEL] = Field(
        "nano", description="Width, depth and heads of an encoder from scratch."
    )
    init: Annotated[str | None, Group.MODEL] = Field(
        None, description="Encoder to start from: an MAE (folder, .pth file or hf://NAME) or timm:NAME."
    )
    encoder: Annotated[EncoderName, Group.MODEL] = Field(
        "plain",
        description="Of classify: 'plain', or one that drops tokens on its way: 'evit' by CLS's attention, "
        "'dynamicvit' by predictors.",
    )
    token_keep_rate: Annotated[float | None, Group.MODEL] = Field(
        None, gt=0, le=1, description="Fraction of its tokens that such an encoder keeps each time; by default 0.7."
    )
    drop_blocks: Annotated[list[int], Group.MODEL] = Field(
        [], description="Blocks, from 1, at which it drops some; by default after each quarter (of 12: 4, 7, 10)."
    )
    teacher: Annotated[str | None, Group.MODEL] = Field(
        None, description="Plain model of classify that dynamicvit begins as, instead of --init, and learns from."
    )
    image_size: Annotated[int | None, Group.MODEL] = Field(
        None,
        ge=1,
        description="Side in pixels of the images that models see, whose grid of patches is that of the ranks; by "
        "default timm's for a model of timm with the same grid, else the ranks'.",
    )
    patch_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of a patch in pixels; by default what --image-size makes of the grid."
    )
    epochs: Annotated[int | None, Group.RECIPE] = Field(None, ge=1, description="Passes over the training images.")
    warmup_epochs: int | None = Field(
        None,
        ge=0,
        description="Epochs in which the learning rate rises; with fewer epochs than the preset's, the same fraction.",
    )
    batch_size: Annotated[int | None, Group.RECIPE] = Field(
        None, ge=1, description="Images per update, over all workers."
    )
    accumulate: int = Field(1, ge=1, description="Micro-batches that a worker's share of an update is computed in.")
    base_learning_rate: Annotated[float | None, Group.RECIPE] = Field(
        None, gt=0, description="Learning rate for 256 images in an update."
    )
    weight_decay: float | None = Field(None, ge=0, description="Weight decay of AdamW.")
    layer_decay: float | None = Field(
        None, gt=0, le=1, description="Learning rate of a pretrained block relative to that of the next."
    )
    drop_path: float | None = Field(None, ge=0, lt=1, description="Rate of stochastic depth.")
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="Label smoothing, for classify and segment.")
    mixup: float | None = Field(
        None, ge=0, description="Beta parameter of mixup, for classify and multilabel; 0: no mixup."
    )
    cutmix: float | None = Field(
        None, ge=0, description="Beta parameter of CutMix, with --ranker, for classify and multilabel; 0: no CutMix."
    )
    auto_augment: Annotated[str | None, Group.RECIPE] = Field(
        None,
        description="RandAugment as timm names it, such as rand-m9-mstd0.5-inc1, with --ranker, for classify and "
        "multilabel; 'none': no RandAugment.",
    )
    color_jitter: float | None = Field(
        None,
        ge=0,
        description="Jitter of brightness, contrast and saturation, with --ranker, for classify and multilabel; 0: no "
        "jitter.",
    )
    random_erasing: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Probability of random erasing, with --ranker, for classify and multilabel; 0: no erasing.",
    )
    min_scale: float | None = Field(
        None, gt=0, le=1, description="Smallest fraction of an image that a random crop takes, with --ranker."
    )
    ema_decay: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Decay of the moving average of weights that is evaluated and saved; less in the first steps; 0: "
        "the last weights.",
    )
    clip_norm: float | None = Field(None, gt=0, description="Largest norm of an update's gradient.")
    flip: bool = Field(True, description="Mirror every second view in training.")
    crop: EvaluationCrop = Field(DEFAULT_CROP, description=f"With --ranker; a store has its own. {CROP}")
    multilabel_loss: Literal["asymmetric", "bce"] = Field("asymmetric", description="Loss of multilabel.")
    throughput: Annotated[bool, Group.EXECUTION] = Field(
        True, description="Measure speed and cost at each ratio, in turns with the full model, for the first seed."
    )
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.EXECUTION] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    decode_threads: int = Field(2, ge=1, description="Threads per worker that decode images.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")
    control: Annotated[Control, Group.RECIPE] = Field("none", description=CONTROL)

    def recipe(self) -> TaskRecipe:
        """The preset with what is given instead. Raises ValueError for what the task, or its views, cannot do."""
        from stages.tables import TASKS

        preset, task = PRESETS[self.preset], TASKS[self.task]
        names = [field.name for field in dataclasses.fields(preset)]
        given = {name: getattr(self, name) for name in names if getattr(self, name, None) is not None}
        none = {"mixup": 0.0, **{name: DEFAULTS[name] for name in AUGMENTATION}}
        for name, off in none.items() if not task.mixes else ():
            if given.get(name, off) != off:
                why = "cannot be mixed" if name in ("mixup", "cutmix") else "lies somewhere in the image"
                raise ValueError(f"{name}: expected {_told(off)} for {self.task}, whose truth {why}, got {given[name]}")
            given[name] = off
        warmup = fitting_warmup(preset.warmup_epochs, preset.epochs, given.get("epochs", preset.epochs))
        recipe = dataclasses.replace(preset, **{"warmup_epochs": warmup, **given})
        if self.ranker is not None:
            return recipe
        if self.min_scale is not None:
            raise ValueError(f"min_scale: expected none with --ranks, whose views are stored, got {self.min_scale}")
        return recipe.of_stored_views()

    def dropping(self) -> TokenDropping | None:
        """Of the encoder; None for a plain one. Raises ValueError for what task and encoder cannot do."""
        if (begins_as := self.init or self.teacher) and self.size != type(self).model_fields["size"].default:
            raise ValueError(f"size: expected none for an encoder that begins as {begins_as}, got {self.size}")
        if self.encoder == "plain":
            for name in ("token_keep_rate", "drop_blocks", "teacher"):
                if getattr(self, name):
                    raise ValueError(f"{name}: expected none for a plain encoder, got {getattr(self, name)}")
            return None
        from stages.tables import ENCODERS
        from stages.tasks.encoders.dropping import KEEP_RATE, TokenDropping

        if self.task != "classify":
            raise ValueError(f"encoder: expected plain for {self.task}, which needs the tokens, got {self.encoder}")
        if self.teacher and not ENCODERS[self.encoder].takes_teacher:
            raise ValueError(f"teacher: expected none for {self.encoder}, which learns from labels, got {self.teacher}")
        if self.teacher and self.init:
            raise ValueError(f"init: expected none with a teacher, which the encoder begins as, got {self.init}")
        return TokenDropping(
            encoder=self.encoder, keep_rate=self.token_keep_rate or KEEP_RATE, blocks=tuple(self.drop_blocks)
        )

    def options(self, image_size: int) -> TaskOptions:
        """Raises ValueError for what the task cannot do."""
        if self.ignore_classes and self.task != "segment":
            raise ValueError(f"ignore_classes: expected none for {self.task}, which has no masks")
        if self.mask_values and self.task != "segment":
            raise ValueError(f"mask_values: expected none for {self.task}, which has no masks")
        if self.multilabel_loss != "asymmetric" and self.task in ("classify", "segment", "detect"):
            raise ValueError(f"multilabel_loss: expected none for {self.task}, got {self.multilabel_loss}")
        if self.label_smoothing and self.task in ("multilabel", "detect"):
            raise ValueError(f"label_smoothing: expected none for {self.task}, got {self.label_smoothing:g}")
        from stages.tasks.task import TaskOptions

        return TaskOptions(
            image_size=image_size,
            label_smoothing=self.recipe().label_smoothing,
            multilabel_loss=self.multilabel_loss,
            ignore_classes=tuple(self.ignore_classes),
            mask_values=parse_mask_values(self.mask_values),
            head_std=self.recipe().head_std,
        )
