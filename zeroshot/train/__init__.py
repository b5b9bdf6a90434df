"""Train a found network for a few epochs: what (`recipe`), from end to end (`run`), its epochs."""

from zeroshot.train.recipe import Recipe, short_recipe
from zeroshot.train.run import finetune
from zeroshot.train.trained import Trained, load_trained

__all__ = ("Recipe", "Trained", "finetune", "load_trained", "short_recipe")
