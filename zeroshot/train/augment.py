"""Images as they are trained with."""

import torch
from torch import Tensor

from zeroshot.train.recipe import Recipe


def augment(images: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
    """Crop, flip and cutout, drawn for each image."""
    from torchvision.transforms.v2 import functional as transform  # takes seconds to import

    n, _, height, width = images.shape
    pad, side = recipe.crop or 0, recipe.cutout
    shifts = torch.randint(2 * pad + 1, (n, 2), generator=generator).tolist()
    flips = torch.rand(n, generator=generator).tolist()
    centres = torch.rand((n, 2), generator=generator).tolist()
    made = []
    for image, (top, left), flip, (y, x) in zip(
        transform.pad(images, [pad]), shifts, flips, centres, strict=True
    ):
        image = transform.crop(image, top, left, height, width)
        if recipe.flip and flip < 0.5:
            image = transform.horizontal_flip(image)
        if side:
            i, j = int(y * height) - side // 2, int(x * width) - side // 2
            h, w = i + side - max(i, 0), j + side - max(j, 0)
            image = transform.erase(image, max(i, 0), max(j, 0), h, w, torch.zeros(1, 1, 1))
        made.append(image)
    return torch.stack(made)
