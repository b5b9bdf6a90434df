"""How a network is trained."""

from dataclasses import dataclass, replace

from zeroshot.data import load_split
from zeroshot.errors import ZeroshotError, real, whole
from zeroshot.spaces import Task

SCHEDULES = ("one-cycle", "cosine")
LIMITS: dict[str, tuple[float, float]] = {
    "epochs": (1, 100_000),
    "batch_size": (2, 1_000_000),
    "learning_rate": (1e-9, 1e3),
    "momentum": (0, 0.9999),
    "weight_decay": (0, 1),
    "label_smoothing": (0, 0.9999),
    "crop": (0, 1_000),
    "cutout": (0, 1_000),
    "clip": (0, 1e9),
}
WHOLE = ("epochs", "batch_size", "crop", "cutout")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum on augmented images.

    What a network answers in training as `auxiliary`, beside its logits (`darts` with an auxiliary
    classifier), adds 0.4 times its own cross-entropy to the loss.

    Attributes:
        epochs: how often it sees every training image.
        batch_size: images per step; what is left over in an epoch is left out.
        learning_rate: the highest of the schedule.
        momentum: Nesterov's; 0 for plain SGD.
        weight_decay: on all parameters.
        schedule: 'one-cycle' (up for 30 % of the steps, then down to 0) or 'cosine' (down to 0).
            A training of at most three steps, too few to go up and down, is always 'cosine'.
        label_smoothing: the part of a label that is spread over all classes.
        crop: pixels of zeros around an image, from which one of the old size is cut; by default an
            eighth of its side.
        flip: whether half of the images are mirrored; by default unless they are digits.
        cutout: side of a square of zeros around a random pixel; 0 for none.
        clip: the largest norm of the gradient; 0 for no limit.
        amp: bfloat16 where that is safe; on CUDA only.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    label_smoothing: float = 0.0
    crop: int | None = None
    flip: bool | None = None
    cutout: int = 0
    clip: float = 5.0
    amp: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is None and name == "crop":
                continue
            number = whole if name in WHOLE else real
            if not low <= number(option, value) <= high:
                raise ZeroshotError(f"{option} {value}: expected {low:g} to {high:,g}")
        if self.schedule not in SCHEDULES:
            names = ", ".join(SCHEDULES)
            raise ZeroshotError(f"unknown schedule {self.schedule!r}; there are {names}")


def short_recipe(epochs: int, data: str, task: Task, seed: int) -> Recipe:
    """So many epochs on a data set, in batches of 64 images or of all if there are fewer.

    Raises:
        ZeroshotError: for a number of epochs, or data, that nothing can be trained with.
    """
    recipe = Recipe(epochs)  # a mistake in it is cheaper to tell than one in the data
    images = len(load_split(data, task=task, seed=seed)[0].labels)
    return replace(recipe, batch_size=min(recipe.batch_size, images))
