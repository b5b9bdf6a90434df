"""Exported networks: other programs read them and get the same answers."""

import builtins
import json
import sys
import types

import pytest
import torch
from torch import nn

import zeroshot
from zeroshot import deploy
from zeroshot.errors import ZeroshotError
from zeroshot.spaces import AutoFormer, Darts, NasBench101, Task
from zeroshot.train import Recipe, finetune, load_trained


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "out"
    shape = {"channels": 4, "cells": 1, "size": 8, "device": "cpu"}
    finetune("nasbench201:13714", recipe=Recipe(epochs=1, batch_size=128), out=out, **shape)
    return out


def test_torch(folder, tmp_path):
    assert zeroshot.export(folder, tmp_path / "net.pt2", weights="best") < 1e-5
    module = load_trained(folder, weights="best").net.module
    program = torch.export.load(tmp_path / "net.pt2").module()
    for count in (1, 5):
        images = torch.rand(count, 3, 8, 8)
        assert torch.allclose(program(images), module(images), atol=1e-5)


@pytest.mark.parametrize(
    "space",
    [
        AutoFormer(hidden=(12,), depths=(1,), head_dim=4, patch=4, resolution=8),
        Darts(channels=2, layers=3, stem_multiplier=1),
        NasBench101(channels=4, stacks=2, modules=1),
    ],
    ids=lambda space: space.name,
)
def test_spaces_are_exported_for_any_number_of_images(space):
    module = space.network(space.at(space.size // 3), Task(size=8)).module.eval()
    module.to(memory_format=torch.contiguous_format)  # as `export` does
    _, answer = deploy.WRITERS[".pt2"](module, torch.rand(3, 3, 8, 8))
    for count in (1, 5):
        images = torch.rand(count, 3, 8, 8)
        with torch.no_grad():
            assert torch.allclose(answer(images), module(images), atol=1e-5)


@pytest.mark.skipif(
    torch.__version__.startswith("2.6."), reason="its exporter does not go with today's onnx"
)
def test_onnx(folder, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert zeroshot.export(folder, tmp_path / "net.onnx") < 1e-4
    session = runtime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(5, 3, 8, 8)
    (found,) = session.run(["logits"], {"images": images.numpy()})
    expected = load_trained(folder).net.module(images)
    assert torch.allclose(torch.from_numpy(found), expected, atol=1e-4)


def test_a_pruned_folder_with_a_training_inside(folder, tmp_path):
    (tmp_path / "pruned").mkdir()
    (tmp_path / "pruned" / "finetune").symlink_to(folder)
    assert zeroshot.export(tmp_path / "pruned", tmp_path / "net.pt2") < 1e-5


@pytest.mark.parametrize("kind", ["dictionary", "tuple"])
def test_of_several_answers_the_logits_are_exported(tmp_path, monkeypatch, kind):
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))

        def forward(self, x):
            found = self.head(x)
            return {"features": x, "logits": found} if kind == "dictionary" else (found, x)

    module = types.ModuleType("several")
    module.net = Several  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "several", module)
    given = {"size": 8, "device": "cpu", "out": tmp_path / "trained"}
    trained = finetune("several:net", recipe=Recipe(epochs=1, batch_size=128), **given)
    assert zeroshot.export(tmp_path / "trained", tmp_path / "net.pt2") < 1e-5
    images = torch.rand(2, 3, 8, 8)
    found = torch.export.load(tmp_path / "net.pt2").module()(images)
    assert torch.allclose(found, trained.net.module.head(images), atol=1e-5)


def test_what_answers_otherwise_is_not_written(folder, tmp_path, monkeypatch):
    def wrong(module, images):
        return b"", lambda images: module(images) * 1.001

    monkeypatch.setitem(deploy.WRITERS, ".pt2", wrong)
    with pytest.raises(ZeroshotError, match=r"answers .*e-0[34] off.*nothing is written"):
        zeroshot.export(folder, tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("net.pth", r"net.pth: expected a name that ends in .pt2 or .onnx"),
        ("gone/net.pt2", "folder .*gone does not exist"),
    ],
)
def test_refuses(folder, tmp_path, out, words):
    with pytest.raises(ZeroshotError, match=words):
        zeroshot.export(folder, tmp_path / out)


def test_needs_a_finished_training(tmp_path):
    (tmp_path / "architecture.json").write_text(json.dumps({"space": "nasbench201", "arch": 3}))
    with pytest.raises(ZeroshotError, match=f"not trained yet: `zeroshot finetune {tmp_path}`"):
        zeroshot.export(tmp_path, tmp_path / "net.pt2")


def test_says_what_onnx_needs(folder, tmp_path, monkeypatch):
    plain = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError("no", name=name)
        return plain(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ZeroshotError, match=r"onnxruntime is not installed; pip install .*\[onnx"):
        zeroshot.export(folder, tmp_path / "net.onnx")
