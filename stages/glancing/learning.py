"""What Glance and Focus learns in each of its three steps (Wang et al., NeurIPS 2020, section 3.3).

1. `backbones`: all but the policy, on windows at random.
2. `policy`: the policy alone, by reinforcement: a look's reward is by how much it makes the true class likelier.
3. `finetune`: all but the policy again, on the windows that it chooses.

The published policy is trained by PPO with one pass over a batch, in which the ratio of new to old probabilities is one
and is never clipped: its gradient is the plain policy gradient with the critic's value as baseline, which is what is
here, with the published numbers. The published bonus for entropy is the same for all policies of a fixed deviation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn.functional import cross_entropy, mse_loss

from stages.glancing.network import GlanceAndFocus, Seen

Step = Literal["backbones", "policy", "finetune"]
STEPS: tuple[Step, ...] = get_args(Step)
DEVIATION = 0.1
"""Of the locations that are tried around the one that the policy says."""
DISCOUNT = 0.7
"""Of the reward of the next look beside that of this one."""
CRITIC_WEIGHT = 0.5

Choose = Callable[[Seen], Tensor]
"""From what was seen last to where to look next (B, 2)."""


class GlanceTraining(nn.Module):
    """The loss of one step. What does not learn in it is frozen, and in evaluation."""

    def __init__(self, network: GlanceAndFocus, step: Step) -> None:
        super().__init__()
        self.network, self.step = network, step
        learning, frozen = self._parts()
        for part in learning:
            part.requires_grad_(True)
        for part in frozen:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> GlanceTraining:
        super().train(mode)
        for part in self._parts()[1]:
            part.eval()
        return self

    def _parts(self) -> tuple[list[nn.Module], list[nn.Module]]:
        network = self.network
        seeing: list[nn.Module] = [network.glance, network.focus, network.classifier]
        return ([network.policy], seeing) if self.step == "policy" else (seeing, [network.policy])

    def forward(self, images: Tensor, classes: Tensor) -> dict[str, Tensor]:
        """Normalised images (B, 3, S, S) and their classes (B,) int64 → "loss", and what else there is to tell."""
        if self.step == "policy":
            return policy_losses(self.network, images, classes)
        choose = draw_anywhere if self.step == "backbones" else follow(self.network)
        seen = look_around(self.network, images, choose)
        losses = [cross_entropy(logits, classes) for each in seen for logits in (each.logits, each.own_logits)]
        return {"loss": torch.stack(losses).sum() / len(seen), **_accuracies(seen[0], seen[-1], classes)}


def look_around(network: GlanceAndFocus, images: Tensor, choose: Choose) -> list[Seen]:
    """The glance, and all looks."""
    seen = [network.see_whole(images)]
    for _ in range(network.config.looks):
        seen.append(network.see_window(images, choose(seen[-1]), seen[-1]))
    return seen


def draw_anywhere(seen: Seen) -> Tensor:
    return torch.rand(len(seen.logits), 2, device=seen.logits.device)


def follow(network: GlanceAndFocus, change: Callable[[Tensor], Tensor] = lambda location: location) -> Choose:
    """Of one sequence of looks: what the policy says, `change`d."""
    state: Tensor | None = None

    @torch.no_grad()
    def choose(seen: Seen) -> Tensor:
        nonlocal state
        location, _, state = network.policy(seen.map, state)
        return change(location)

    return choose


def policy_losses(network: GlanceAndFocus, images: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Of looks that are tried around those that the policy says."""
    rewards, logs, values = [], [], []
    state: Tensor | None = None
    with torch.no_grad():
        first = seen = network.see_whole(images)
    for _ in range(network.config.looks):
        location, value, state = network.policy(seen.map, state)
        tried = Normal(location.float(), DEVIATION)
        where = tried.sample().clamp(0, 1)
        with torch.no_grad():
            after = network.see_window(images, where, seen)
        rewards.append(confidence(after, classes) - confidence(seen, classes))
        logs.append(tried.log_prob(where).sum(dim=1))
        values.append(value.float())
        seen = after
    gained = torch.stack(rewards)
    loss = policy_gradient(torch.stack(logs), torch.stack(values), normalised(returns(gained)))
    return {"loss": loss, "reward": gained.sum(dim=0).mean(), **_accuracies(first, seen, classes)}


def confidence(seen: Seen, classes: Tensor) -> Tensor:
    """The probability of the true class (B,)."""
    return seen.logits.float().softmax(dim=1).gather(1, classes[:, None])[:, 0]


def returns(rewards: Tensor) -> Tensor:
    """Rewards of looks (T, B) → of each its own and the discounted ones of those behind it (T, B)."""
    found: list[Tensor] = []
    later = torch.zeros_like(rewards[0])
    for reward in rewards.flip(0):
        later = reward + DISCOUNT * later
        found.append(later)
    return torch.stack(found[::-1])


def normalised(values: Tensor) -> Tensor:
    """To mean 0 and deviation 1 over all looks and images."""
    return (values - values.mean()) / (values.std() + 1e-5)


def policy_gradient(logs: Tensor, values: Tensor, gained: Tensor) -> Tensor:
    """Logarithms of the densities of what was tried, the critic's values and returns, all (T, B) → the loss."""
    advantage = gained - values.detach()
    return CRITIC_WEIGHT * mse_loss(values, gained) - (logs * advantage).mean()


def _accuracies(first: Seen, last: Seen, classes: Tensor) -> dict[str, Tensor]:
    def accuracy(seen: Seen) -> Tensor:
        return (seen.logits.argmax(dim=1) == classes).float().mean()

    return {"accuracy at a glance": accuracy(first), "accuracy after all looks": accuracy(last)}
