"""Every way a network is run. READ THIRD, after core.py and scoring.py: first `forward.py`."""

from zeroshot.passes.altered import Patterns, Perturbation, Perturbed, Synflow
from zeroshot.passes.backward import (
    CurvatureGrads,
    Grads,
    InputGrads,
    LayerSaliency,
    LossBackward,
    LossGrads,
    LossTrace,
    Saliency,
)
from zeroshot.passes.forward import Codes, Forward, Layer, Trace
from zeroshot.passes.structure import Census, Targets, Weights, census
from zeroshot.passes.tangent import FixedTangentKernel, TangentKernel

__all__ = (
    "Census",
    "Codes",
    "CurvatureGrads",
    "FixedTangentKernel",
    "Forward",
    "Grads",
    "InputGrads",
    "Layer",
    "LayerSaliency",
    "LossBackward",
    "LossGrads",
    "LossTrace",
    "Patterns",
    "Perturbation",
    "Perturbed",
    "Saliency",
    "Synflow",
    "TangentKernel",
    "Targets",
    "Trace",
    "Weights",
    "census",
)
