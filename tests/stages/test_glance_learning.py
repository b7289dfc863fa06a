"""What Glance and Focus learns: rewards in closed form, what is frozen, and that a policy finds what pays."""

from __future__ import annotations

import math

import pytest
import torch
from glances import small_network
from torch import Tensor, nn

from stages.glancing.learning import (
    GlanceTraining,
    follow,
    look_around,
    normalised,
    policy_gradient,
    policy_losses,
    returns,
)
from stages.glancing.network import GlanceAndFocus, GlanceConfig, Policy, RecurrentClassifier, Seen
from stages.glancing.places import corners, cut_out


def test_returns_are_discounted_sums() -> None:
    rewards = torch.tensor([[1.0, 0.0], [0.0, 2.0], [10.0, -1.0]])
    expected = [[1 + 0.49 * 10, 0.7 * 2 - 0.49], [7.0, 2 - 0.7], [10.0, -1.0]]
    torch.testing.assert_close(returns(rewards), torch.tensor(expected))
    found = normalised(returns(rewards))
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.std().item() == pytest.approx(1, abs=1e-4)


def test_the_gradient_is_that_of_ppo_with_one_pass() -> None:
    """The published loss: the ratio of new to old probabilities, clipped at 0.2, times the advantage."""
    torch.manual_seed(0)
    old, gained = torch.randn(3, 4), torch.randn(3, 4)
    gradients = []
    for is_published in (False, True):
        logs, values = old.clone().requires_grad_(), torch.linspace(-1, 1, 12).view(3, 4).requires_grad_()
        if is_published:
            ratio, advantage = (logs - old).exp(), gained - values.detach()
            clipped = ratio.clamp(0.8, 1.2) * advantage
            loss = (-torch.min(ratio * advantage, clipped) + 0.5 * (values - gained).square().mean()).mean()
        else:
            loss = policy_gradient(logs, values, gained)
        loss.backward()
        gradients.append((logs.grad, values.grad))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


class Bright(GlanceAndFocus):
    """Sees the mean of each cell of a 4 x 4 grid; is the surer of class 0 the brighter what it looks at."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.config = GlanceConfig(
            image_size=32, window=16, patch_size=4, backbone="none", looks=2, width=4, policy_width=32
        )
        self.glance, self.focus, self.classifier = nn.Identity(), nn.Identity(), RecurrentClassifier(1, 1, 2)
        self.policy = Policy(self.config, 3, 4)

    def see_whole(self, images: Tensor) -> Seen:
        return self._bright(images, images.new_zeros(len(images)))

    def see_window(self, images: Tensor, locations: Tensor, before: Seen) -> Seen:
        windows = cut_out(images, corners(locations, 32, 16), 16)
        return self._bright(images, torch.maximum(windows.mean(dim=(1, 2, 3)), before.state[0, :, 0]))

    def _bright(self, images: Tensor, brightest: Tensor) -> Seen:
        logits = torch.stack([4 * brightest, torch.zeros_like(brightest)], dim=1)
        return Seen(logits, logits, nn.functional.avg_pool2d(images, 8), brightest[None, :, None])


def quadrants(count: int) -> tuple[Tensor, Tensor]:
    """Images of which one quadrant is bright (count, 3, 32, 32), and its row and column, 0 or 1."""
    at = torch.randint(0, 2, (count, 2))
    images = torch.zeros(count, 3, 32, 32)
    for image, (row, column) in zip(images, at.tolist(), strict=True):
        image[:, row * 16 : row * 16 + 16, column * 16 : column * 16 + 16] = 1.0
    return images, at


def test_a_policy_learns_to_look_where_the_object_is() -> None:
    torch.manual_seed(0)
    network = Bright()
    training = GlanceTraining(network, "policy").train()
    optimizer = torch.optim.Adam(network.policy.parameters(), lr=6e-3)
    rewards = []
    for _ in range(150):
        losses = training(quadrants(64)[0], torch.zeros(64, dtype=torch.int64))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        rewards.append(losses["reward"].item())
    images, at = quadrants(200)
    looked: list[Tensor] = []

    def noted(location: Tensor) -> Tensor:
        looked.append(location)
        return location

    with torch.no_grad():
        look_around(network, images, follow(network, noted))
    nearest = looked[0].round().long()
    assert (nearest == at).all(dim=1).float().mean() > 0.95
    best = 1 / (1 + math.exp(-4)) - 0.5
    assert sum(rewards[-20:]) / 20 > 0.8 * best > 1.3 * rewards[0]


def test_rewards_are_how_much_likelier_the_true_class_becomes() -> None:
    torch.manual_seed(0)
    network = Bright()
    images, _ = quadrants(8)
    told = policy_losses(network, images, torch.zeros(8, dtype=torch.int64))
    assert told["reward"].item() > 0, "in sum, since it never forgets the brightest"
    worse = policy_losses(network, images, torch.ones(8, dtype=torch.int64))
    assert worse["reward"].item() < 0
    assert (told["accuracy at a glance"].item(), worse["accuracy after all looks"].item()) == (1.0, 0.0)


@pytest.mark.parametrize("step", ["backbones", "policy", "finetune"])
def test_what_does_not_learn_in_a_step_stays_as_it_is(step) -> None:
    network = small_network()
    before = {name: each.clone() for name, each in network.state_dict().items()}
    training = GlanceTraining(network, step).train()
    images, classes = torch.randn(4, 3, 48, 48), torch.tensor([0, 1, 2, 3])
    optimizer = torch.optim.AdamW([each for each in training.parameters() if each.requires_grad], lr=0.1)
    training(images, classes)["loss"].backward()
    optimizer.step()
    after = network.state_dict()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == ({"policy"} if step == "policy" else {"glance", "focus", "classifier"})
    assert all(each.grad is not None for each in training.parameters() if each.requires_grad)


def test_the_loss_of_networks_is_the_mean_over_looks_of_both_heads() -> None:
    network = small_network()
    training = GlanceTraining(network, "finetune").eval()
    images, classes = torch.randn(3, 3, 48, 48), torch.tensor([4, 0, 2])
    seen = look_around(network, images, follow(network))
    assert len(seen) == 3
    total = sum(
        -logits.log_softmax(dim=1)[torch.arange(3), classes].mean()
        for each in seen
        for logits in (each.logits, each.own_logits)
    )
    torch.testing.assert_close(training(images, classes)["loss"], total / 3)


def test_what_was_seen_before_is_remembered() -> None:
    """The classifier's and the policy's states go on from look to look."""
    network = small_network()
    images, other = torch.randn(1, 3, 48, 48), torch.randn(1, 3, 48, 48)
    where = torch.tensor([[0.5, 0.5]])
    with torch.no_grad():
        first = network.see_window(images, where, network.see_whole(images))
        second = network.see_window(images, where, network.see_whole(other))
        assert torch.equal(first.own_logits, second.own_logits)
        assert not torch.equal(first.logits, second.logits)
        _, _, state = network.policy(first.map, None)
        assert not torch.equal(network.policy(first.map, state)[0], network.policy(first.map, None)[0])
