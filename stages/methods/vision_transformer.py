"""Vision transformers that methods look through, wherever they come from.

| `model` | what it is | is a classifier |
| --- | --- | --- |
| a folder of `train-task` | the encoder of a task, in the grid of its training | of `classify` and `multilabel` |
| a folder of `train-ranker`, or a ranker by name | the ranker, in its grid | never |
| `timm:NAME` | a pretrained model of timm | if it has classes |
| a `.pth` or `.safetensors` file | weights under timm's names: DeiT, DINO, MoCo v3, MAE | if its `head` is on CLS |
| an MAE (folder, `hf://NAME`) | its encoder | never |

The last three are resampled to any image and patch size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from ranker.digest import weights_digest
from ranker.encoder_weights import POSITIONS, PROJECTION
from ranker.hub import is_on_hub
from ranker.pretrained import CONFIG_FILE as RANKER_FILE
from ranker.zoo import is_shipped
from stages.density.mae_checkpoints import FAMILIES
from stages.methods.method import MethodConfig
from stages.ranking.load_ranker import load_ranker
from stages.tasks.architecture import begin_encoder
from stages.tasks.classify import Classifier
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.models import MODEL_FILE, load_task
from stages.training.encoders import TIMM, read_encoder
from storage.dense_scores import PatchGrid
from storage.locations import locate
from storage.recognition import refuse_what_lies
from storage.settings import Settings

EXPECTED = "a folder of train-task, train-ranker or pretrain-mae, a file of weights under timm's names, or timm:NAME"


class FrozenViT(nn.Module):
    """A frozen vision transformer, and the classifier that it is part of, if it is part of one.

    Shapes: B images of S x S pixels, L patches, T tokens that are no patches (CLS, registers) before them, C classes.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vit: VisionTransformer,
        where: str,
        classifier: nn.Module | None = None,
        mean: Sequence[float] = IMAGENET_DEFAULT_MEAN,
        std: Sequence[float] = IMAGENET_DEFAULT_STD,
    ) -> None:
        """`classifier`: of normalised images (B, 3, S, S), gives logits (B, C). Raises ValueError naming `where` for
        images that are not square, and for blocks that are not a ViT's plain ones."""
        super().__init__()
        (rows, columns), (height, width) = vit.patch_embed.grid_size, vit.patch_embed.patch_size
        if rows != columns or height != width:
            raise ValueError(
                f"{where}: expected square images and patches, got a grid of {rows} x {columns} patches of "
                f"{height} x {width} pixels"
            )
        for block in vit.blocks:
            if type(block) is not Block or type(block.attn) is not Attention:
                raise ValueError(
                    f"{where}: expected a transformer of timm's plain blocks, got {type(block).__name__} with "
                    f"{type(getattr(block, 'attn', None)).__name__}"
                )
        self.vit, self.where, self.classifier = vit, where, classifier
        self.grid = PatchGrid(rows * height, height)
        self._told = f"mean {tuple(mean)} and standard deviation {tuple(std)}"
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    @property
    def settings(self) -> Settings:
        """All that decides what it computes: weights, and what cannot be seen in them."""
        return {
            "model.weights": weights_digest((self.classifier or self.vit).state_dict()),
            "model.heads": self.vit.blocks[0].attn.num_heads,
        }

    @property
    def preprocessing(self) -> str:
        return f"bicubic resize of the box, {self._told}"

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, S, S) → float32 on the model's device."""
        return (images.to(self.mean.device).float() / 255 - self.mean) / self.std

    def embed(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, S, S) → tokens (B, T + L, D) before the first block."""
        vit = self.vit
        tokens: Tensor = vit.norm_pre(vit._pos_embed(vit.patch_embed(self.normalise(images))))
        return tokens


def load_vit(config: MethodConfig) -> FrozenViT:
    """The one that `config.model` names, for views of `image_size` and patches of `patch_size` where these are given.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got: also for sizes that a
    model of ours does not have.
    """
    where = str(config.model)
    if where.startswith(TIMM):
        return _of_timm(where, config)
    if is_on_hub(where):
        return _of_weights(where, config)
    place = locate(where)
    if place.exists(MODEL_FILE):
        return _of_our_grid(_of_task(where), config)
    if is_shipped(where) or place.exists(RANKER_FILE):
        return _of_our_grid(FrozenViT(load_ranker(where).build(), where), config)
    if place.exists() or any(place.exists(family.files[0]) for family in FAMILIES if family.files):
        return _of_weights(where, config)
    refuse_what_lies(place, "vision transformer", EXPECTED)


def load_classifier(config: MethodConfig, method: str) -> tuple[FrozenViT, nn.Module]:
    """As `load_vit`, with its classifier. Raises ValueError too for a model that has none."""
    model = load_vit(config)
    if model.classifier is None:
        raise ValueError(
            f"--method {method}: expected a classifier, got {model.where}, which has no head of classes (models of "
            "train-task classify and multilabel have one)"
        )
    return model, model.classifier


class _OnAllPatches(nn.Module):
    """A task's classifier, with no patch dropped."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        every = torch.arange(self.classifier.encoder.grid**2, device=images.device)
        logits: Tensor = self.classifier(images, every.expand(len(images), -1))
        return logits


def _of_task(where: str) -> FrozenViT:
    _, model = load_task(locate(where))
    if type(model.encoder) is not KeptPatchEncoder:
        raise ValueError(
            f"{where}: expected a plain vision transformer, got {type(model.encoder).__name__}: it drops patches itself"
        )
    return FrozenViT(model.encoder.vit, where, _OnAllPatches(model) if isinstance(model, Classifier) else None)


def _of_our_grid(model: FrozenViT, config: MethodConfig) -> FrozenViT:
    """Refuses other sizes than its own, which it was trained at."""
    for name in ("image_size", "patch_size"):
        own, asked = getattr(model.grid, name), getattr(config, name)
        if asked not in (None, own):
            raise ValueError(f"--{name.replace('_', '-')}: expected {own}, as {model.where} has, got {asked}")
    return model


def _of_timm(where: str, config: MethodConfig) -> FrozenViT:
    given = {"img_size": config.image_size, "patch_size": config.patch_size}
    sizes = {name: value for name, value in given.items() if value is not None}
    try:
        vit = timm.create_model(where.removeprefix(TIMM), pretrained=True, **sizes)
    except (RuntimeError, ValueError, TypeError, OSError, AssertionError) as error:  # unknown; no download; sizes
        line = " ".join(str(error).split())[:200]
        raise ValueError(f"{where}: expected a pretrained vision transformer of timm: {line}") from None
    if not isinstance(vit, VisionTransformer):
        raise ValueError(f"{where}: expected a VisionTransformer of timm, got {type(vit).__name__}")
    noted = getattr(vit, "pretrained_cfg", None) or {}
    usual = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}
    normal = {name: tuple(noted.get(name) or values) for name, values in usual.items()}
    return FrozenViT(vit, where, vit if vit.num_classes else None, **normal)


def _of_weights(where: str, config: MethodConfig) -> FrozenViT:
    found = read_encoder(where)
    encoder = begin_encoder(_grid(found.weights, where, config), size="", init=where)[1]
    head = {name: found.weights.get(f"head.{name}") for name in ("weight", "bias")}
    if any(each is None for each in head.values()) or any(name.startswith("fc_norm") for name in found.weights):
        return FrozenViT(encoder.vit, where)
    shapes = {name: tuple(each.shape) for name, each in head.items() if each is not None}
    classes = shapes["bias"][0] if len(shapes["bias"]) == 1 else 0
    if not classes or shapes["weight"] != (classes, encoder.width):
        raise ValueError(f"{where}: head: expected weight (C, {encoder.width}) and bias (C), got {shapes}")
    encoder.vit.head = nn.Linear(encoder.width, classes)
    encoder.vit.head.load_state_dict(head)
    return FrozenViT(encoder.vit, where, encoder.vit)


def _grid(weights: dict[str, Tensor], where: str, config: MethodConfig) -> PatchGrid:
    """That of the settings, or else of the weights themselves."""
    for name, dimensions in ((PROJECTION, 4), (POSITIONS, 3)):
        if name not in weights or weights[name].ndim != dimensions:
            raise ValueError(
                f"{where}: expected weights under timm's names, found no {name} of {dimensions} dimensions"
            )
    patch_size = config.patch_size or weights[PROJECTION].shape[-1]
    side = math.isqrt(max(0, weights[POSITIONS].shape[1] - 1))
    image_size = config.image_size or side * weights[PROJECTION].shape[-1]
    if image_size % patch_size:
        raise ValueError(f"--image-size: expected a multiple of the patch size {patch_size}, got {image_size}")
    return PatchGrid(image_size, patch_size)
