"""Every way a network is run. READ THIRD, after core.py and scoring.py: first `forward.py`."""

from zeroshot.passes.activations import (
    AttentionWeights,
    BlockHandover,
    BlockSpectra,
    ConstantWeights,
    FeatureMaps,
    Handover,
    LayerDimensions,
    Map,
    ResponseCorrelations,
    StableRanks,
)
from zeroshot.passes.altered import Patterns, Perturbation, Perturbed, Synflow
from zeroshot.passes.backward import (
    Curvature,
    Grads,
    InputGrads,
    LayerSaliency,
    LossBackward,
    LossGrads,
    LossTrace,
    Saliency,
)
from zeroshot.passes.footprint import PeakMemory
from zeroshot.passes.forward import Block, Codes, Forward, Layer, Trace
from zeroshot.passes.information import FisherInformation, Information
from zeroshot.passes.samples import SignSums, SplitGrads
from zeroshot.passes.structure import Census, Numbers, Targets, Weights, census
from zeroshot.passes.tangent import FixedTangentKernel, TangentKernel

__all__ = (
    "AttentionWeights",
    "Block",
    "BlockHandover",
    "BlockSpectra",
    "Census",
    "Codes",
    "ConstantWeights",
    "Curvature",
    "FeatureMaps",
    "FisherInformation",
    "FixedTangentKernel",
    "Forward",
    "Grads",
    "Handover",
    "Information",
    "InputGrads",
    "Layer",
    "LayerDimensions",
    "LayerSaliency",
    "LossBackward",
    "LossGrads",
    "LossTrace",
    "Map",
    "Numbers",
    "Patterns",
    "PeakMemory",
    "Perturbation",
    "Perturbed",
    "ResponseCorrelations",
    "Saliency",
    "SignSums",
    "SplitGrads",
    "StableRanks",
    "Synflow",
    "TangentKernel",
    "Targets",
    "Trace",
    "Weights",
    "census",
)
