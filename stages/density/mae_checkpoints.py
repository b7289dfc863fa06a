"""MAE checkpoints: three published families in, our own in and out.

| family | what `path` is | architecture from |
| --- | --- | --- |
| ours | a folder with `mae.json` and `mae.safetensors`, or the name of an included one | `mae.json` |
| Hugging Face `ViTMAEForPreTraining` | a folder with `config.json`, or `hf://ORGANISATION/NAME` | `config.json` |
| facebookresearch/mae | a `.pth` file | the weights' shapes; `FILE.json` beside it for unpublished numbers of heads |

Nothing is unpickled but tensors (and the `argparse.Namespace` of options that facebookresearch/mae saves beside them).
All names and every tensor must be accounted for; prefixes that wrappers put before names are taken off; an encoder
without its decoder is refused by name.
"""

from __future__ import annotations

import dataclasses

from ranker.digest import weights_digest
from ranker.named_tensors import refuse_misfits, shapes_of_architecture
from stages.density.checkpoints.facebookresearch import FACEBOOKRESEARCH
from stages.density.checkpoints.family import StateDict, refuse_without_decoder
from stages.density.checkpoints.hugging_face import HUGGING_FACE
from stages.density.checkpoints.ours import CONFIG_FILE, OURS, WEIGHTS_FILE, save_mae
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.zoo import local_path, shipped_maes
from storage.locations import locate
from storage.recognition import refuse_part, refuse_what_lies

__all__ = ["CONFIG_FILE", "FAMILIES", "WEIGHTS_FILE", "MaeCheckpoint", "load_mae", "save_mae"]

FAMILIES = (OURS, HUGGING_FACE, FACEBOOKRESEARCH)
"""In the order in which a path is tried."""


@dataclasses.dataclass(frozen=True)
class MaeCheckpoint:
    """Weights under facebookresearch/mae's names, with what is known of them."""

    config: MaeConfig
    weights: StateDict
    family: str

    @property
    def sha256(self) -> str:
        """Checksum of names, shapes and float32 values: the same for one model in each of the families."""
        return weights_digest(self.weights)

    def build(self) -> MaskedAutoencoder:
        """The model with these weights."""
        model = MaskedAutoencoder(self.config)
        model.load_state_dict(self.weights)
        return model


def load_mae(path: str) -> MaeCheckpoint:
    """Reads a checkpoint of any family, from local disk, an object store or the Hugging Face hub.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got.
    """
    path = local_path(path, [file for family in FAMILIES for file in family.files])
    for family in FAMILIES:
        refuse_part(path, family.files)
    place = locate(path)
    found = next((family for family in FAMILIES if family.is_at(place)), None)
    if found is None:
        *others, last = (*(family.expected for family in FAMILIES), *shipped_maes())
        refuse_what_lies(place, "MAE", f"{', '.join(others)} or {last}")
    config, weights = found.read(path)
    refuse_without_decoder(weights, path)
    refuse_misfits(shapes_of_architecture(MaskedAutoencoder, config), weights, path)
    return MaeCheckpoint(config, weights, found.name)
