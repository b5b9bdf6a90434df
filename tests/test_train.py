"""Fine-tuning: it learns, a killed run resumes to the same numbers, and what it refuses."""

import json
import math
import os
import signal
import subprocess
import sys
import types

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from torch import nn
from torchvision import datasets

import zeroshot.train.run
from zeroshot.data import Part, load_split
from zeroshot.errors import OutOfMemoryError, ZeroshotError
from zeroshot.spaces import Darts, NasBench201, Task
from zeroshot.spaces.darts import Logits
from zeroshot.train import Recipe, Trained, finetune, load_trained
from zeroshot.train.augment import augment
from zeroshot.train.loop import Training

ARCH = "nasbench201:13714"
QUICK = Recipe(epochs=2, batch_size=24)
ONE = Recipe(epochs=1, batch_size=128)
SMALL = {"channels": 4, "cells": 1, "size": 8, "device": "cpu"}


def tune(out, model=ARCH, **options) -> Trained:
    return finetune(model, out=out, **{"recipe": QUICK, **SMALL, **options})


def numbers(found):
    """What may not depend on the machine's speed."""
    return found.history.drop(columns="seconds").to_dict("list")


def weights(folder, name="last"):
    return (folder / f"{name}.safetensors").read_bytes()


def stopping_at(batches):
    def progress(done, total, words):
        if done >= batches:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tune(tmp_path_factory.mktemp("whole") / "out")


@pytest.fixture(autouse=True)
def no_drawing(whole, monkeypatch):
    """Only the first run draws its curve: it takes as long as a short training."""
    monkeypatch.setattr(zeroshot.train.run, "draw", lambda history, path: None)


@pytest.fixture
def few(tmp_path):
    """A file of 200 digits, of which 40 are to test on."""
    held = load_digits()
    np.savez(tmp_path / "few.npz", x_train=held.images[:200] / 16, y_train=held.target[:200])
    return f"npz:{tmp_path}/few.npz"


# -- what it does ----------------------------------------------------------------------------------


def test_it_learns_and_writes_what_it_says(whole):
    assert whole.accuracy > 50  # chance is 10
    assert whole.interval[0] < whole.accuracy < whole.interval[1]
    assert list(whole.history["epoch"]) == [1, 2]
    assert whole.history["train_loss"].is_monotonic_decreasing
    assert whole.history["learning_rate"].iloc[-1] < 1e-3
    assert whole.accuracy == whole.history["test_accuracy"].iloc[-1]
    assert {path.name for path in whole.folder.iterdir()} >= {
        "last.safetensors", "best.safetensors", "history.csv", "curve.png", "state.pt",
        "record.json",
    }  # fmt: skip
    assert not list(whole.folder.parent.glob("*.lock")) + list(whole.folder.glob("*.tmp"))
    record = json.loads((whole.folder / "record.json").read_text())
    assert record == whole.record
    assert record["run"]["recipe"]["flip"] is False  # digits are not mirrored
    assert record["run"]["images"].startswith("1442 + 355 ")
    state = torch.load(whole.folder / "state.pt", weights_only=True)
    assert set(state) == {"run", "history", "model", "optimizer", "schedule", "buffers"}
    assert (whole.folder / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_weights_are_those_that_were_tested(whole):
    _, test, task = load_split("digits", task=Task(size=8))
    assert task.classes == 10
    for name, accuracy in (
        ("last", whole.accuracy),
        ("best", whole.record["best test accuracy"]),
    ):
        net = load_trained(whole.folder, weights=name).net
        with torch.no_grad():
            found = net.module(test.take(range(len(test.labels)))).argmax(1)
        assert 100 * float((found == test.labels).double().mean()) == pytest.approx(accuracy)
    held = safetensors.torch.load_file(whole.folder / "last.safetensors")
    fresh = NasBench201(channels=4, cells=1).build(NasBench201().at(13714), Task())
    assert set(held) <= set(fresh.state_dict())


def test_a_seed_is_a_result_and_leaves_the_global_random_state(tmp_path, few):
    before = torch.get_rng_state(), torch.backends.cudnn.deterministic
    recipe = Recipe(epochs=2, batch_size=32)
    one, again, other = (
        tune(tmp_path / name, data=few, recipe=recipe, seed=seed)
        for name, seed in (("one", 0), ("again", 0), ("other", 1))
    )
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.backends.cudnn.deterministic == before[1]
    assert numbers(one) == numbers(again) != numbers(other)
    for name in ("last", "best"):
        assert weights(one.folder, name) == weights(again.folder, name)


def test_progress_counts_batches(tmp_path):
    seen = []
    tune(tmp_path / "out", recipe=ONE, progress=lambda *told: seen.append(told))
    assert [done for done, _, _ in seen] == sorted({done for done, _, _ in seen})
    assert seen[-1][:2] == (11, 11)
    assert seen[-1][2].startswith("epoch 1, loss ")


def test_every_option_changes_the_result(tmp_path, few):
    base = {"epochs": 1, "batch_size": 32, "crop": 1, "flip": False}
    changes = (
        {}, {"schedule": "cosine"}, {"learning_rate": 0.01}, {"momentum": 0.0}, {"clip": 0.1},
        {"weight_decay": 0.1}, {"label_smoothing": 0.1}, {"crop": 0}, {"flip": True}, {"cutout": 4},
    )  # fmt: skip
    losses = {}
    for i, change in enumerate(changes):
        found = tune(tmp_path / str(i), data=few, recipe=Recipe(**base | change))
        losses[str(change)] = found.history["train_loss"].item()
    assert len(set(losses.values())) == len(changes), losses


def test_images_come_in_another_order_each_epoch(tmp_path, few, monkeypatch):
    taken = []

    def spied(*args, **options):
        train, *rest = load_split(*args, **options)

        def take(chosen):
            taken.append(list(chosen))
            return train.take(chosen)

        return Part(train.labels, take), *rest

    monkeypatch.setattr(zeroshot.train.run, "load_split", spied)
    tune(tmp_path / "out", data=few, recipe=Recipe(epochs=2, batch_size=80))
    one, two, three, four = (chosen for chosen in taken if len(chosen) == 80)
    assert len(set(one + two)) == len(set(three + four)) == 160  # no image twice
    assert one + two != three + four


def test_momentum_is_nesterovs(tmp_path, few, monkeypatch):
    seen = []

    def look(self):
        seen.append(self.optimizer.defaults)
        return 0.0

    monkeypatch.setattr(Training, "_accuracy", look)
    for momentum in (0.9, 0.0):
        recipe = Recipe(epochs=1, batch_size=160, momentum=momentum)
        tune(tmp_path / str(momentum), data=few, recipe=recipe)
    assert [how["nesterov"] for how in seen] == [True, False]
    assert [how["momentum"] for how in seen] == [0.9, 0.0]


@pytest.mark.parametrize(("epochs", "rates"), [(1, [0.1]), (3, [0.1, 0.075, 0.025])])
def test_a_training_of_a_few_steps_learns_in_each(tmp_path, few, epochs, rates):
    found = tune(tmp_path / "out", data=few, recipe=Recipe(epochs=epochs, batch_size=160))
    assert found.history["learning_rate"].to_list() == pytest.approx(rates)


def test_an_auxiliary_classifier_is_trained(tmp_path, few, monkeypatch):
    module = types.ModuleType("spaces_of_mine")
    module.helped = Darts(channels=2, layers=3, auxiliary=True)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spaces_of_mine", module)
    given = {"data": few, "recipe": Recipe(epochs=1, batch_size=160), "size": 32, "device": "cpu"}
    found = finetune("spaces_of_mine:helped:7", out=tmp_path / "out", **given)
    fresh = module.helped.network(module.helped.at(7)).module.state_dict()
    held = found.net.module.state_dict()
    names = [n for n, _ in found.net.module.named_parameters() if n.startswith("auxiliary.")]
    assert names
    assert not any(torch.equal(fresh[name], held[name]) for name in names)


def test_the_first_loss_and_accuracy_of_a_network_that_answers_zero(tmp_path, few, monkeypatch):
    """ln 10 for each classifier, the auxiliary one with its weight; the first class is picked."""

    class Zero(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.aside = nn.Linear(192, 10), nn.Linear(192, 10)
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

        def forward(self, x):
            answers = self.main(x.flatten(1)), self.aside(x.flatten(1))
            return Logits(*answers) if self.training else answers[0]

    module = types.ModuleType("zero")
    module.make = Zero  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "zero", module)
    labels = load_split(few, task=Task(size=8))[0].labels
    recipe = Recipe(epochs=1, batch_size=len(labels))
    given = {"data": few, "recipe": recipe, "channels": None, "cells": None}
    found = tune(tmp_path / "out", "zero:make", **given)
    assert found.history["train_loss"].item() == pytest.approx(1.4 * math.log(10))
    share = float((labels == 0).double().mean())
    assert found.history["train_accuracy"].item() == pytest.approx(100 * share)


def test_augmentation():
    images = torch.arange(1.0, 65).reshape(1, 1, 8, 8).expand(200, 3, 8, 8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augment(images, Recipe(crop=0, flip=False), generator), images)
    flipped = augment(images, Recipe(crop=0, flip=True), generator)
    mirrored = [torch.equal(image, images[0].flip(-1)) for image in flipped]
    assert 60 < sum(mirrored) < 140
    assert all(torch.equal(f, images[0]) for f, m in zip(flipped, mirrored, strict=True) if not m)
    moved = augment(images, Recipe(crop=2, flip=False), generator)
    assert len({float(image[0, 4, 4]) for image in moved}) == 25
    cut = augment(images, Recipe(crop=0, flip=False, cutout=4), generator)
    holes = (cut == 0).sum((2, 3))
    assert torch.equal(holes[:, 0], holes[:, 2])
    assert (int(holes.min()), int(holes.max())) == (4, 16)  # at a corner, inside


def test_a_folder_of_an_architecture_and_a_module(tmp_path, monkeypatch):
    text = NasBench201().spell(NasBench201().at(13714))
    held = {"space": "nasbench201", "arch": text, "shape": {"channels": 8, "cells": 1}}
    (tmp_path / "architecture.json").write_text(json.dumps(held))
    found = tune(None, tmp_path, recipe=ONE, channels=None, cells=None)
    assert found.folder == tmp_path / "finetune"
    assert found.record["run"]["shape"] == {"channels": 8, "cells": 1}
    assert numbers(found) == numbers(tune(tmp_path / "other", recipe=ONE, channels=8))
    own = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(192, 10))
    before = own[2].weight.clone()
    module = types.ModuleType("mine")
    module.own = own  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    given = {"model": "mine:own", "recipe": ONE, "size": 8, "device": "cpu"}
    found = [finetune(out=tmp_path / name, **given) for name in ("a", "b")]
    assert torch.equal(own[2].weight, before)
    assert numbers(found[0]) == numbers(found[1])
    assert found[0].accuracy > 40


def test_the_best_weights_are_kept(tmp_path, few, monkeypatch):
    accuracies, seen = iter([50.0, 70.0, 60.0, 70.0]), []

    def accuracy(self):
        seen.append({name: t.clone() for name, t in self.module.state_dict().items()})
        return next(accuracies)

    monkeypatch.setattr(Training, "_accuracy", accuracy)
    found = tune(tmp_path / "out", data=few, recipe=Recipe(epochs=4, batch_size=32))
    assert (found.record["best epoch"], found.record["best test accuracy"]) == (2, 70)
    for name, epoch in (("best", 1), ("last", 3)):
        held = safetensors.torch.load_file(tmp_path / "out" / f"{name}.safetensors")
        assert all(torch.equal(held[key], value) for key, value in seen[epoch].items())


def test_the_best_weights_are_there_though_nothing_is_right(tmp_path, few, monkeypatch):
    monkeypatch.setattr(Training, "_accuracy", lambda self: 0.0)
    found = tune(tmp_path / "out", data=few, recipe=Recipe(epochs=1, batch_size=80))
    assert weights(found.folder, "best") == weights(found.folder)


def test_the_best_weights_stay_when_resumed(tmp_path, few, monkeypatch):
    """Of three epochs the first is the best; the run is stopped in the third."""
    accuracies, out = iter([70.0, 50.0, 60.0]), tmp_path / "out"
    monkeypatch.setattr(Training, "_accuracy", lambda self: next(accuracies))
    given = {"data": few, "recipe": Recipe(epochs=3, batch_size=80)}
    with pytest.raises(KeyboardInterrupt):
        tune(out, progress=stopping_at(5), **given)
    best = weights(out, "best")
    found = tune(out, resume=True, **given)
    assert found.record["best epoch"] == 1
    assert weights(out, "best") == best != weights(out)


def test_tensorboard_if_installed(tmp_path, few, monkeypatch):
    told = []

    class Writer:
        def __init__(self, folder, purge_step):
            told.append((folder, purge_step))

        def add_scalar(self, *what):
            told.append(what)

        def close(self):
            told.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    found = tune(tmp_path / "out", recipe=ONE)
    assert told[0] == (str(tmp_path / "out" / "tensorboard"), 1)
    assert ("test_accuracy", found.accuracy, 1) in told
    assert told[-1] == "closed"
    given = {"data": few, "recipe": Recipe(epochs=2, batch_size=80)}
    told.clear()
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "cut", progress=stopping_at(3), **given)
    tune(tmp_path / "cut", resume=True, **given)
    writers = [what[1] for what in told if what[0] == str(tmp_path / "cut" / "tensorboard")]
    assert writers == [1, 2]  # what was written of a second epoch goes


# -- interruption ----------------------------------------------------------------------------------

KILLED = """
import sys, time, torch
torch.set_num_threads(1)
from pathlib import Path
from zeroshot.train import Recipe, finetune

def progress(done, total, words):
    if done > 5:  # in the middle of the second epoch
        print("here", flush=True)
        time.sleep(60)

finetune("nasbench201:13714", out=Path(sys.argv[1]), recipe=Recipe(epochs=3, batch_size=32),
         channels=4, cells=1, size=8, device="cpu", data=sys.argv[2], progress=progress)
"""


def test_killed_and_resumed(tmp_path, few):
    out, given = tmp_path / "out", {"data": few, "recipe": Recipe(epochs=3, batch_size=32)}
    command = [sys.executable, "-c", KILLED, str(out), few]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        with pytest.raises(ZeroshotError, match="another process is writing"):
            tune(out, **given)
        os.kill(process.pid, signal.SIGKILL)
    assert len(pd.read_csv(out / "history.csv")) == 1
    with pytest.raises(ZeroshotError, match="holds an unfinished run of this training; add"):
        tune(out, **given)
    found = tune(out, resume=True, **given)
    whole = tune(tmp_path / "whole", **given)
    assert numbers(found) == numbers(whole)
    for name in ("last", "best"):
        assert weights(out, name) == weights(whole.folder, name)
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_interrupted_several_times(tmp_path, few, schedule):
    given = {"recipe": Recipe(epochs=3, batch_size=32, schedule=schedule), "data": few}
    for batches in (3, 8, 12):
        with pytest.raises(KeyboardInterrupt):
            tune(tmp_path / "a", resume=batches > 3, progress=stopping_at(batches), **given)
    resumed = tune(tmp_path / "a", resume=True, **given)
    assert numbers(resumed) == numbers(tune(tmp_path / "b", **given))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_resumed_with_buffers_that_are_not_saved(tmp_path, few, monkeypatch):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(192, 10)
            self.register_buffer("mean", torch.zeros(192), persistent=False)

        def forward(self, x):
            x = x.flatten(1)
            if self.training:
                self.mean.lerp_(x.detach().mean(0), 0.5)
            return self.layer(x - self.mean)

    module = types.ModuleType("counting")
    module.make = Counts  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "counting", module)
    given = {"channels": None, "cells": None, "data": few, "model": "counting:make"}
    whole = tune(tmp_path / "whole", **given)
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "cut", progress=stopping_at(8), **given)
    resumed = tune(tmp_path / "cut", resume=True, **given)
    assert numbers(resumed) == numbers(whole)


def test_what_a_kill_before_the_first_checkpoint_leaves(tmp_path):
    (tmp_path / "state.pt.tmp").write_bytes(b"half")
    assert len(tune(tmp_path, resume=True, recipe=ONE).history) == 1


@pytest.mark.parametrize("changed", ["x_train", "y_train", "x_test", "y_test"])
def test_resume_refuses_other_images(tmp_path, changed):
    rng, path = np.random.default_rng(0), tmp_path / "all.npz"
    held = {
        f"{what}_{part}": rng.integers(0, 256, (n, 8, 8), np.uint8) if what == "x" else np.arange(n)
        for part, n in (("train", 300), ("test", 40))
        for what in "xy"
    }
    held |= {name: value % 4 for name, value in held.items() if name.startswith("y")}
    np.savez(path, **held)
    given = {"data": f"npz:{path}", "recipe": Recipe(epochs=2, batch_size=100)}
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "out", progress=stopping_at(4), **given)
    other = held[changed].copy()
    other[-3:] = 255 - other[-3:] if changed.startswith("x") else (other[-3:] + 1) % 4
    np.savez(path, **held | {changed: other})
    refused(r"there, images is 300 \+ 40", tmp_path / "out", resume=True, **given)


def test_resume_refuses_other_code(tmp_path, few, monkeypatch):
    module = types.ModuleType("edited")

    def factory(act):
        def make():
            return nn.Sequential(nn.Flatten(), act(), nn.Linear(192, 10))

        return make

    monkeypatch.setitem(sys.modules, "edited", module)
    given = {"data": few, "channels": None, "cells": None}
    module.make = factory(nn.ReLU)  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "out", "edited:make", progress=stopping_at(8), **given)
    module.make = factory(nn.Tanh)  # type: ignore[attr-defined]
    refused("there, code is 1-", tmp_path / "out", "edited:make", resume=True, **given)
    module.make = factory(nn.ReLU)  # type: ignore[attr-defined]
    assert len(tune(tmp_path / "out", "edited:make", resume=True, **given).history) == 2


def test_a_finished_run_is_read(whole):
    for resume in (False, True):
        found = tune(whole.folder, resume=resume, progress=stopping_at(0))
        assert found.history.equals(whole.history)


# -- what it refuses -------------------------------------------------------------------------------


def refused(words, *args, error=ZeroshotError, **options):
    with pytest.raises(error, match=words) as found:
        tune(*args, **options)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", 0, "--epochs 0: expected 1 to 100,000"),
        ("batch_size", 1, "--batch-size 1: expected 2 to"),
        ("learning_rate", 0.0, "--learning-rate 0.0: expected 1e-09 to 1,000"),
        ("learning_rate", float("nan"), "--learning-rate nan"),
        ("momentum", 1.0, "--momentum 1.0: expected 0 to 0.9999"),
        ("weight_decay", -0.1, "--weight-decay -0.1"),
        ("label_smoothing", 1.5, "--label-smoothing 1.5"),
        ("crop", -1, "--crop -1"),
        ("cutout", -1, "--cutout -1"),
        ("clip", -1.0, "--clip -1.0"),
        ("schedule", "step", "unknown schedule 'step'; there are one-cycle, cosine"),
    ],
)
def test_recipes(name, value, words):
    with pytest.raises(ZeroshotError, match=words):
        Recipe(**{name: value})


def test_models_and_folders(tmp_path):
    out = tmp_path / "out"
    refused("no folder to write for nasbench201:13714; name one with --out", None)
    refused("the folder .*nowhere does not exist", tmp_path / "nowhere" / "out")
    refused("has no architecture.json with a space and an arch", None, tmp_path)
    (tmp_path / "architecture.json").write_text('{"space": "nasbench201"}')
    refused("has no architecture.json with a space and an arch", None, tmp_path)
    held = {"space": "nasbench201", "arch": "7", "shape": {"depth": 3}}
    (tmp_path / "architecture.json").write_text(json.dumps(held))
    refused("shape {'depth': 3.*nasbench201 has another", None, tmp_path)
    refused("--cells 0: expected a positive number", out, cells=0)
    refused("neither a folder nor a model", out, "nothing")
    refused("nasbench201 has no architecture 99999", out, "nasbench201:99999")
    refused("there is no module 'nowhere'", out, "nowhere:own")
    refused("--amp on cpu: expected a CUDA device", out, recipe=Recipe(amp=True))
    refused("--batch-size 2000 of 1442 training images", out, recipe=Recipe(batch_size=2000))
    refused("noise has nothing to learn", out, data="noise")
    refused("unknown initialisation 'x'", out, init="x")
    refused("--resume: there is no run in .*out; leave it out to start one", out, resume=True)
    refused("architecture.json but no training; choose another --out", tmp_path, resume=True)
    (tmp_path / "file").touch()
    refused("file is a file; expected a folder", tmp_path / "file")
    assert not out.exists()


def test_a_mask_of_infinities_is_no_divergence(tmp_path, few, monkeypatch):
    build = NasBench201.build

    def masked(self, arch, task):
        module = build(self, arch, task)
        module.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
        return module

    monkeypatch.setattr(NasBench201, "build", masked)
    assert len(tune(tmp_path / "out", data=few, recipe=ONE).history) == 1


def test_networks_that_fail(tmp_path, monkeypatch):
    module = types.ModuleType("broken")

    def no_memory(_):
        raise MemoryError

    class Out(nn.Linear):
        forward = staticmethod(no_memory)

    module.small = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))  # type: ignore[attr-defined]
    module.other = nn.Sequential(nn.Flatten(), nn.Linear(7, 10))  # type: ignore[attr-defined]
    module.out = Out(1, 1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "broken", module)
    given = {"channels": None, "cells": None, "recipe": Recipe(batch_size=64)}
    refused("--channels 4: broken:small is of no space that", tmp_path / "a", "broken:small")
    refused(r"answers with \(2, 5\); expected 10 classes", tmp_path / "a", "broken:small", **given)
    assert not (tmp_path / "a").exists()  # another network may be trained there
    refused("the network fails in training: .*shapes", tmp_path / "b", "broken:other", **given)
    words = "out of memory: lower --batch-size .64"
    refused(words, tmp_path / "c", "broken:out", error=OutOfMemoryError, **given)
    wild = Recipe(epochs=2, batch_size=128, learning_rate=1e3, clip=0.0, weight_decay=1.0)
    refused(
        "training diverged in epoch . .*lower --learning-rate .1000", tmp_path / "d", recipe=wild
    )


def test_other_runs_and_damaged_files(whole, tmp_path):
    refused("belongs to another run: there, seed is 0, now it is 1", whole.folder, seed=1)
    other = Recipe(epochs=4, batch_size=32)
    words = "recipe is {'epochs': 2, 'batch_size': 24}, now it is {'epochs': 4, 'batch_size': 32}"
    refused(words, whole.folder, recipe=other)
    words = "with --epochs 2, whose .*; with --epochs 3 choose another --out, or move that folder"
    refused(words, whole.folder, recipe=Recipe(epochs=3, batch_size=24))
    with pytest.raises(KeyboardInterrupt):
        tune(tmp_path / "out", progress=stopping_at(70))
    state, words = tmp_path / "out" / "state.pt", "state.pt is damaged .*to start again"
    refused(
        "there, model is nasbench201:13714, now", tmp_path / "out", "nasbench201:7", resume=True
    )
    refused("there, shape is {'cells': 1}, now it is {'cells': 2}", state.parent, cells=2)
    content = torch.load(state, weights_only=True)
    torch.save(
        {**content, "zeroshot": 1, "run": content["run"].replace('hot": "', 'hot": "9')}, state
    )
    refused("there, zeroshot is 9", state.parent, resume=True)
    torch.save({**content, "model": {}}, state)
    refused(words, state.parent, resume=True)
    for damaged in (b"", b"x" * 100, state.read_bytes()[:1000]):
        state.write_bytes(damaged)
        refused(words, state.parent, resume=True)
    with pytest.raises(ZeroshotError, match="holds no finished training"):
        load_trained(state.parent)


# -- what it trains on -----------------------------------------------------------------------------


def test_the_split_is_stratified_and_seeded():
    train, test, task = load_split("digits", task=Task(channels=1, size=8))
    assert task == Task(channels=1, size=8, classes=10)
    assert len(train.labels) + len(test.labels) == 1797
    assert (test.labels.bincount() == (train.labels.bincount() + test.labels.bincount()) // 5).all()
    both = torch.cat([part.take(range(len(part.labels))) for part in (train, test)])
    assert both.shape == (1797, 1, 8, 8)
    assert float(both.mean()) == pytest.approx(0, abs=1e-5)
    images = load_digits().images
    assert len({image.numpy().tobytes() for image in both}) == len({i.tobytes() for i in images})
    again, other = (load_split("digits", seed=seed)[1].labels for seed in (0, 1))
    assert torch.equal(again, test.labels)
    assert not torch.equal(load_split("digits", seed=1)[1].take([0]), load_split()[1].take([0]))
    assert len(other) == len(again)


def test_the_test_images_of_a_file(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (20, 8, 8, 3), np.uint8), np.arange(20) % 4
    both = {"x_train": x, "y_train": y, "x_test": x[:8] // 2, "y_test": y[:8]}

    def split(**changed):
        np.savez(tmp_path / "a.npz", **both | changed)
        return load_split(f"npz:{tmp_path}/a.npz", task=Task(size=8))

    train, test, task = split()
    assert (len(train.labels), len(test.labels), task.classes) == (20, 8, 4)
    mean, deviation = (x / 255).mean((0, 1, 2)), (x / 255).std((0, 1, 2))  # the training images'
    expected = (x[3] // 2 / 255 - mean) / deviation
    assert np.allclose(test.take([3])[0].permute(1, 2, 0), expected, atol=1e-4)
    for changed, words in (
        ({"x_test": np.full((8, 8, 8), np.nan)}, "x_test holds NaN or infinite"),
        ({"y_test": y[:7]}, r"x_test \(8, .* and y_test \(7,\)"),
        ({"y_test": y[:8] + 9}, "4 classes to train on and 13 to test on"),
    ):
        with pytest.raises(ZeroshotError, match=words):
            split(**changed)
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y)
    train, test, _ = load_split(f"npz:{tmp_path}/a.npz", task=Task(size=8))
    assert sorted(test.labels.tolist()) == [0, 1, 2, 3]
    np.savez(tmp_path / "a.npz", x_train=x[:4], y_train=y[:4])
    with pytest.raises(ZeroshotError, match="4 images, one a class: none is left to test on"):
        load_split(f"npz:{tmp_path}/a.npz")


def test_cifar_has_its_own_test_images(monkeypatch):
    class Fake:
        def __init__(self, root, train, download):
            self.data = np.full((50 if train else 20, 32, 32, 3), 100 if train else 50, np.uint8)
            self.data[0] = 0
            self.targets = [i % 10 for i in range(len(self.data))]
            self.classes = list("abcdefghij")

    monkeypatch.setattr(datasets, "CIFAR10", Fake)
    train, test, _ = load_split("cifar10")
    assert (len(train.labels), len(test.labels)) == (50, 20)
    assert float(test.take([1]).mean()) < float(train.take([1]).mean())
