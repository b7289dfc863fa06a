"""What scores by an encoder that drops tokens on its way have in common: a patch that stays longer is needed more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ranker.digest import weights_digest
from ranker.tensor_files import read_checkpoint
from stages.images.normalisation import normalise
from stages.methods.method import Method, MethodConfig
from stages.samples.sample_view import SampleView
from stages.settings.choices import EncoderName
from stages.tables import ENCODERS
from stages.tasks.architecture import EncoderConfig, published_config
from stages.tasks.encoders.dropping import KEEP_RATE, TokenDropping, TokenDroppingEncoder
from stages.tasks.models import load_task
from stages.training.encoders import TIMM
from storage.dense_scores import PatchGrid
from storage.locations import locate


class DroppedTokens(Method):
    """Scores: how many of the blocks that drop tokens a patch had outlived when it was seen last, and how much it was
    needed then, which is less than 1 (`TokenDroppingEncoder.order`)."""

    needs: ClassVar[Mapping[str, str]] = {"model": "a classifier that was trained so, of train-task or published"}
    preprocessing = "bicubic resize of the box, ImageNet mean and standard deviation"
    encoder_name: ClassVar[EncoderName]
    rate_name: ClassVar[str]
    """What the published training calls the keep rate."""

    def __init__(self, config: EncoderConfig, encoder: TokenDroppingEncoder) -> None:
        self.grid = PatchGrid(config.image_size, config.patch_size)
        self.width = encoder.width
        self.encoder = encoder.eval().requires_grad_(False)
        self.settings = {
            "model.weights": weights_digest(encoder.state_dict()),
            "model.heads": encoder.vit.blocks[0].attn.num_heads,
            **encoder.dropping.settings(),
        }

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        assert config.model is not None, "it is needed"
        if config.model.startswith(TIMM):
            raise ValueError(
                f"{config.model}: expected {cls.needs['model']}, got a model of timm, which drops no tokens"
            )
        is_file = locate(config.model).exists()
        return cls(*(cls._published(config.model) if is_file else cls._trained(config.model)))

    @classmethod
    def _trained(cls, folder: str) -> tuple[EncoderConfig, TokenDroppingEncoder]:
        saved, model = load_task(locate(folder))
        dropping = saved.encoder.dropping
        if dropping is None or dropping.encoder != cls.encoder_name:
            got = f"{saved.task} with encoder {dropping.encoder if dropping else 'plain'}"
            raise ValueError(
                f"{folder}: expected a model of train-task classify --encoder {cls.encoder_name}, got {got}"
            )
        assert isinstance(model.encoder, TokenDroppingEncoder)
        return saved.encoder, model.encoder

    @classmethod
    def _published(cls, path: str) -> tuple[EncoderConfig, TokenDroppingEncoder]:
        weights, content = read_checkpoint(locate(path).read(), path)
        own = ENCODERS[cls.encoder_name].own
        if own and not any(name.startswith(own) for name in weights):
            raise ValueError(
                f"{path}: expected the weights of {cls.encoder_name}, with {own[0]}*, got none of that name"
            )
        rate = getattr(content.get("args"), cls.rate_name, KEEP_RATE)
        plain = published_config(weights, path)
        config = plain.dropping_tokens(TokenDropping(encoder=cls.encoder_name, keep_rate=rate))
        encoder: Any = config.begin(weights, path)
        return config, encoder

    @property
    def described(self) -> str:
        dropping = self.encoder.dropping
        return f"{self.grid.n_patches} patches, {dropping.keep_rate:g} kept at each of the blocks {dropping.blocks}"

    def to(self, device: torch.device) -> Self:
        self.encoder.to(device)
        return self

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return self.encoder.order(normalise(images.to(self.encoder.vit.cls_token.device)))
