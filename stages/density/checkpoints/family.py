"""What a family of MAE checkpoints is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor

from stages.density.mae import MaeConfig
from storage.locations import Location

StateDict = dict[str, Tensor]
"""Under facebookresearch/mae's names."""


@dataclass(frozen=True)
class Family:
    """One way in which MAEs lie on disk."""

    name: str
    expected: str
    """What a path of it is, in words."""
    files: tuple[str, ...]
    """Of a folder of it; the first of them makes it one."""
    is_at: Callable[[Location], bool]
    """Whether there is one at the location of a path."""
    read: Callable[[str], tuple[MaeConfig, StateDict]]
    """The MAE at a path. Raises FileNotFoundError, or ValueError naming the file that is wrong."""


def refuse_without_decoder(weights: Mapping[str, Tensor], where: str) -> None:
    """Raises ValueError, naming `where`, unless there are an encoder and a decoder."""
    if any(name.startswith("decoder_") for name in weights):
        return
    if not any(name.startswith("blocks.") for name in weights):
        names = ", ".join(sorted(weights)[:3])
        raise ValueError(
            f"{where}: expected the weights of an MAE, named as cls_token, blocks.0.norm1.weight and "
            f"decoder_embed.weight are, got {len(weights)} tensors: {names}, …"
        )
    raise ValueError(
        f"{where}: holds an encoder without its decoder (no name begins with decoder_), which cannot reconstruct, "
        "and so cannot score. Expected mae_visualize_vit_*.pth or mae_pretrain_vit_*_full.pth of facebookresearch/mae, "
        "or facebook/vit-mae-* of Hugging Face; mae_pretrain_vit_*.pth and timm's *.mae are encoders only"
    )


@contextmanager
def naming(url: str) -> Iterator[None]:
    """Names the file in which an architecture is wrong."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{url}: {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{url}: not the architecture of an MAE: {error}") from None
