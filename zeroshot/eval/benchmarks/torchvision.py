"""ImageNet accuracies of torchvision's classification models."""

import importlib

import pandas as pd

from zeroshot.eval.benchmarks.benchmark import Query, tabulate


def load_torchvision(query: Query) -> pd.DataFrame:
    """ImageNet-1k top-1 accuracies, in percent, of torchvision's classification models.

    From the metadata of the weights IMAGENET1K_V1: nothing is downloaded. Models that only have
    weights of other training data (SWAG) are left out, and the better V2 recipes are not used.
    Still, recipes differ from model to model, as do resolutions (224 to 600): unlike in a
    benchmark, accuracy is not the architecture's alone.

    Architectures are torchvision's model names, such as resnet18.
    """
    models = importlib.import_module("torchvision.models")
    rows = []
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name).__members__.get("IMAGENET1K_V1")
        metrics = weights.meta["_metrics"] if weights is not None else {}
        if "ImageNet-1K" in metrics:
            rows.append((name, {"accuracy": float(metrics["ImageNet-1K"]["acc@1"])}))
    return tabulate(rows, "torchvision")
