"""Score a network of your own, untrained: two lines, whatever its layers are."""

from torch import nn

import zeroshot

model = nn.Sequential(
    nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
)  # fmt: skip
batch, _ = zeroshot.load_batch("noise", batch_size=32)
scores = zeroshot.evaluate(model, batch)

for name, value in scores.items():
    print(f"{name:15s} {value:12.5g}  {scores.reasons.get(name, '')}")
