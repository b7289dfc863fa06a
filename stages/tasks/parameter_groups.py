"""What of a task's model is trained how fast."""

from __future__ import annotations

from typing import Any

from timm.optim import param_groups_layer_decay

from stages.tasks.task import TaskModel


def parameter_groups(model: TaskModel, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW: each block of the encoder learns `layer_decay` times as fast as the next (timm's layer-wise
    decay), what comes before the first block slower still, and all else at the full rate; biases, norms, tokens and
    positions have no weight decay.

    A norm behind the last block learns as fast as that one. In MAE's fine-tuning it learns at the full rate: there, and
    here if `EncoderConfig.final_norm` is false, it belongs to the head.
    """
    vit = model.encoder.vit
    groups: list[dict[str, Any]] = param_groups_layer_decay(
        vit, weight_decay=weight_decay, no_weight_decay_list=vit.no_weight_decay(), layer_decay=layer_decay
    )
    for group in groups:
        group["lr_scale"] *= layer_decay  # timm counts from a head, which here is not the encoder's
    of_encoder = {id(parameter) for parameter in vit.parameters()}
    rest = [each for each in model.parameters() if each.requires_grad and id(each) not in of_encoder]
    groups.append({"params": [each for each in rest if each.ndim > 1], "weight_decay": weight_decay})
    groups.append({"params": [each for each in rest if each.ndim <= 1], "weight_decay": 0.0})
    return groups
