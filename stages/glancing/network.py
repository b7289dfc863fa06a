"""The networks of Glance and Focus (Wang et al., Glance and Focus: a Dynamic Approach to Reducing Spatial Redundancy in
Image Classification, NeurIPS 2020).

One network sees an image at low resolution, another one window after the other at full resolution; both are
convolutional networks of timm. A recurrent classifier gathers what they see, and a recurrent policy says from the last
feature map where to look next. Names of weights are those of the published code (blackfeather-wang/GFNet-Pytorch).

Shapes: B images of S x S pixels, windows of W x W, C classes, feature maps of F channels, f x f.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import timm
import torch
from torch import Tensor, nn

from ranker.bounds import refuse_impossible
from stages.glancing.places import corners, cut_out, glance

CHANNELS = 32
"""Of a policy that convolves."""


@dataclass(frozen=True, kw_only=True)
class GlanceConfig:
    """Sizes of all networks. Raises ValueError for numbers that do not fit each other."""

    image_size: int
    window: int
    """Side of the image at a glance, and of each window."""
    patch_size: int
    """Side of the patches that scores are for."""
    backbone: str
    """A convolutional network of timm."""
    looks: int
    """After the glance: windows."""
    width: int = 256
    """Of the recurrent classifier's state."""
    policy_width: int = 256
    """Of the policy's."""
    policy: Literal["convolution", "linear"] = "convolution"
    """How it takes in a feature map."""
    policy_hidden: int = 2048
    """Width of the first layer of a 'linear' one."""

    def __post_init__(self) -> None:
        widths = ("width", "policy_width", "policy_hidden")
        refuse_impossible("glance", {name: getattr(self, name) for name in ("image_size", "patch_size")})
        for name in widths:
            refuse_impossible("glance", {"width": getattr(self, name)})
        if type(self.looks) is not int or not 1 <= self.looks <= 100:
            raise ValueError(f"glance looks: expected 1 to 100, got {self.looks!r}")
        if type(self.window) is not int or not 1 <= self.window <= self.image_size:
            raise ValueError(f"glance window: expected 1 to the image's {self.image_size}, got {self.window!r}")
        for name in ("image_size", "window"):
            if getattr(self, name) % self.patch_size:
                raise ValueError(
                    f"glance {name}: expected a multiple of the patch size {self.patch_size}, got {getattr(self, name)}"
                )


class Seen(NamedTuple):
    """What is known of images after a glance or a look."""

    logits: Tensor
    """(B, C), of all that was seen so far."""
    own_logits: Tensor
    """(B, C), of what was seen last alone."""
    map: Tensor
    """(B, F, f, f), of what was seen last."""
    state: Tensor
    """Of the classifier (1, B, width)."""


class GlanceAndFocus(nn.Module):
    """All networks: `glance` for the whole image, `focus` for windows."""

    def __init__(self, config: GlanceConfig, n_classes: int) -> None:
        """Raises ValueError for a backbone that is no convolutional network of timm."""
        super().__init__()
        self.config = config
        self.glance = build_backbone(config.backbone, n_classes)
        self.focus = build_backbone(config.backbone, n_classes)
        features: Any = self.focus.num_features
        channels, side = self._map_shape()
        self.classifier = RecurrentClassifier(features, config.width, n_classes)
        self.policy = Policy(config, channels, side)

    def see_whole(self, images: Tensor) -> Seen:
        """Normalised images (B, 3, S, S), at a glance."""
        return self._see(self.glance, glance(images, self.config.window), None)

    def see_window(self, images: Tensor, locations: Tensor, before: Seen) -> Seen:
        """The windows of normalised images (B, 3, S, S) at locations (B, 2), after what was seen `before`."""
        size, window = self.config.image_size, self.config.window
        return self._see(self.focus, cut_out(images, corners(locations, size, window), window), before.state)

    def _see(self, backbone: Any, pixels: Tensor, state: Tensor | None) -> Seen:
        feature_map = backbone.forward_features(pixels)
        features = backbone.forward_head(feature_map, pre_logits=True)
        logits, state = self.classifier(features, state)
        return Seen(logits, backbone.get_classifier()(features), feature_map, state)

    def _map_shape(self) -> tuple[int, int]:
        """F and f."""
        backbone: Any = self.focus
        was_training, window = backbone.training, self.config.window
        got: tuple[int, ...] | str
        try:
            with torch.no_grad():
                got = tuple(backbone.eval().forward_features(torch.zeros(1, 3, window, window)).shape)
        except (RuntimeError, AssertionError, AttributeError, ValueError) as error:  # of one with a size of its own
            got = " ".join(str(error).split())[:200]
        backbone.train(was_training)
        if isinstance(got, str) or len(got) != 4 or got[2] != got[3]:
            raise ValueError(
                f"backbone {self.config.backbone}: expected a convolutional network of timm, whose features of a "
                f"window are a map (1, F, f, f), got {got}"
            )
        return got[1], got[2]


class RecurrentClassifier(nn.Module):
    """A GRU over what was seen, under a linear layer."""

    def __init__(self, features: int, width: int, n_classes: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(features, width)
        self.fc = nn.Linear(width, n_classes)

    def forward(self, features: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Features (B, D) and the state before them, none at first → logits (B, C) and the state (1, B, width)."""
        output, state = self.rnn(features[None], state)
        return self.fc(output[0]), state


class Policy(nn.Module):
    """A GRU over feature maps that says where to look next, and how much reward it expects."""

    def __init__(self, config: GlanceConfig, channels: int, side: int) -> None:
        super().__init__()
        width = config.policy_width
        if config.policy == "convolution":
            self.state_encoder = nn.Sequential(
                nn.Conv2d(channels, CHANNELS, 1, bias=False),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(CHANNELS * side**2, width),
                nn.ReLU(),
            )
        else:
            layers = nn.Linear(channels * side**2, config.policy_hidden), nn.ReLU()
            self.state_encoder = nn.Sequential(*layers, nn.Linear(config.policy_hidden, width), nn.ReLU())
        self.flattens = config.policy == "linear"
        self.gru = nn.GRU(width, width)
        self.actor = nn.Sequential(nn.Linear(width, 2), nn.Sigmoid())
        self.critic = nn.Sequential(nn.Linear(width, 1))

    def forward(self, feature_map: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """A feature map (B, F, f, f) and the state before it, none at first → location (B, 2), expected reward (B,) and
        state (1, B, width)."""
        encoded = self.state_encoder(feature_map.flatten(1) if self.flattens else feature_map)
        output, state = self.gru(encoded[None], state)
        return self.actor(output[0]), self.critic(output[0])[:, 0], state


def build_backbone(name: str, n_classes: int, *, pretrained: bool = False) -> nn.Module:
    """A network of timm with a new head. Raises ValueError naming it where there is none, or no download."""
    try:
        backbone: nn.Module = timm.create_model(name, pretrained, num_classes=n_classes)
    except (RuntimeError, ValueError, TypeError, OSError) as error:
        line = " ".join(str(error).split())[:200]
        raise ValueError(f"backbone {name}: expected a convolutional network of timm: {line}") from None
    return backbone
