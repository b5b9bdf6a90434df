"""Tasks of your own: what networks are shown, and the loss of each of their answers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import zeroshot
from zeroshot.spaces import Task


class Segmentation(Task):
    """Images to a class for every pixel."""

    def targets(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.classes, (count, self.size, self.size), generator=generator)

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(answers, targets, reduction="none").mean((1, 2))


class NextToken(Task):
    """Sequences of `size` tokens to the token that follows each."""

    def inputs(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(self.classes, (count, self.size), generator=generator)

    targets = inputs

    def loss(self, answers: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(answers.mT, targets, reduction="none").mean(1)


pixels = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
tokens = nn.Sequential(nn.Embedding(20, 8), nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 20))
for task, network in ((Segmentation(classes=4), pixels), (NextToken(size=6, classes=20), tokens)):
    batch, _ = zeroshot.load_batch(batch_size=8, task=task)
    scores = zeroshot.evaluate(network, batch)
    print(task, {name: scores[name] for name in ("snip", "naswot", "zico", "ntk_cond")})
    print(scores.reasons)  # what says nothing about such networks, and why
