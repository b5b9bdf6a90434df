import sys
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from zeroshot import data as data_module
from zeroshot.data import DATA, load_batch
from zeroshot.errors import OutOfMemoryError, ZeroshotError
from zeroshot.spaces import Task

RNG = np.random.default_rng(0)


def write_npz(path, kind="rgb", n=40, classes=4, **changed):
    shape = {"rgb": (n, 12, 10, 3), "grey": (n, 12, 10), "float": (n, 12, 10, 3)}[kind]
    images = RNG.integers(0, 256, shape).astype(np.uint8)
    arrays = {
        "x_train": images / np.float32(255) if kind == "float" else images,
        "y_train": np.arange(n) % classes,
        "x_test": images[:2],
        "y_test": np.zeros(2, int),
        **changed,
    }
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return f"npz:{path}"


def write_folder(path, classes=("cat", "dog", "owl"), each=4):
    for name in classes:
        (path / name).mkdir(parents=True)
        for number in range(each):
            pixels = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(path / name / f"{number}.png")
    return f"folder:{path}"


class FakeCifar:
    """What torchvision's class offers, without its files."""

    filename = "cifar-10-python.tar.gz"

    def __init__(self, root, train, download):
        assert (train, download) == (True, True)
        rng = np.random.default_rng(0)
        self.data = rng.integers(0, 256, (50, 32, 32, 3)).astype(np.uint8)
        self.targets = [i % 10 for i in range(50)]
        self.classes = list("abcdefghij")


@pytest.fixture
def sources(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "CIFAR10", FakeCifar)
    monkeypatch.setattr(datasets, "CIFAR100", FakeCifar)
    return {
        "noise": ("noise", 10),
        "digits": ("digits", 10),
        "cifar10": ("cifar10", 10),
        "cifar100": ("cifar100", 10),
        "folder": (write_folder(tmp_path / "images"), 3),
        "rgb": (write_npz(tmp_path / "rgb.npz"), 4),
        "grey": (write_npz(tmp_path / "grey.npz", "grey"), 4),
        "float": (write_npz(tmp_path / "float.npz", "float"), 4),
    }


KINDS = ("noise", "digits", "cifar10", "cifar100", "folder", "rgb", "grey", "float")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_balanced_normalised_seeded_batch(kind, sources):
    data, classes = sources[kind]
    batch, task = load_batch(data, batch_size=12, task=Task(size=16, classes=10), seed=3)
    assert batch.inputs.shape == (12, 3, 16, 16)
    assert batch.inputs.dtype == torch.float32
    assert task == Task(size=16, classes=classes)
    counts = torch.bincount(batch.targets, minlength=classes)
    assert counts.max() - counts.min() <= 1
    assert -1 < float(batch.inputs.mean()) < 1
    assert 0.2 < float(batch.inputs.std()) < 2
    again, other = (
        load_batch(data, batch_size=12, task=Task(size=16), seed=seed)[0] for seed in (3, 4)
    )
    assert again.hash == batch.hash != other.hash


def test_defaults_and_global_random_state():
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    batch, task = load_batch()
    assert batch.inputs.shape == (64, 3, 32, 32)
    assert task == Task()
    load_batch("digits")
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002


def test_own_size_is_not_resized_and_exactly_normalised(tmp_path):
    data = write_npz(
        tmp_path / "a.npz", n=20, x_train=RNG.integers(0, 256, (20, 8, 8, 3), np.uint8)
    )
    batch, _ = load_batch(data, batch_size=20, task=Task(size=8))
    assert torch.allclose(batch.inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(batch.inputs.std((0, 2, 3)), torch.ones(3), atol=1e-3)


def test_uint8_and_float_images_are_the_same_batch(tmp_path):
    images = RNG.integers(0, 256, (30, 9, 9, 3)).astype(np.uint8)
    one = write_npz(tmp_path / "a.npz", n=30, x_train=images)
    two = write_npz(tmp_path / "b.npz", n=30, x_train=images.astype(np.float64) / 255)
    first, second = (load_batch(data, batch_size=8)[0] for data in (one, two))
    assert torch.equal(first.targets, second.targets)
    assert torch.allclose(first.inputs, second.inputs, atol=1e-5)


def test_grey_images_fill_the_channels_of_the_task(tmp_path):
    data = write_npz(tmp_path / "a.npz", "grey")
    batch, _ = load_batch(data, batch_size=8, task=Task(channels=3))
    assert torch.equal(batch.inputs[:, 0], batch.inputs[:, 2])
    assert load_batch(data, batch_size=8, task=Task(channels=1))[0].inputs.shape[1] == 1


def test_rare_classes_are_taken_whole_and_the_others_fill_up(tmp_path):
    labels = np.array([0] * 30 + [1] * 2 + [2] * 8)
    batch, _ = load_batch(write_npz(tmp_path / "a.npz", y_train=labels), batch_size=14)
    assert torch.bincount(batch.targets).tolist() == [6, 2, 6]


def test_more_classes_than_samples_gives_different_ones():
    batch, _ = load_batch("noise", batch_size=8, task=Task(classes=1000))
    assert len(batch.targets.unique()) == 8


def test_labels_belong_to_their_images(tmp_path):
    images = np.zeros((20, 4, 4), np.uint8)
    labels = np.arange(20) % 5
    images += (50 * labels[:, None, None]).astype(np.uint8)
    batch, _ = load_batch(
        write_npz(tmp_path / "a.npz", x_train=images, y_train=labels),
        batch_size=10,
        task=Task(size=4),
    )
    assert torch.equal(
        batch.inputs[:, 0, 0, 0].argsort(stable=True), batch.targets.argsort(stable=True)
    )


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_npz(tmp_path / "a.npz")
    write_folder(tmp_path / "images")
    load_batch("npz:~/a.npz", batch_size=4)
    load_batch("folder:~/images", batch_size=4)


def test_cifar_goes_to_the_cache_and_a_missing_network_gives_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))

    class Offline(FakeCifar):
        def __init__(self, root, train, download):
            assert root == str(tmp_path / ".cache" / "zeroshot")
            raise OSError("<urlopen error [Errno -3] Temporary failure in name resolution>\nmore")

    monkeypatch.setattr(datasets, "CIFAR10", Offline)
    with pytest.raises(ZeroshotError) as error:
        load_batch("cifar10")
    words = str(error.value)
    assert "name resolution" in words
    assert "put the archive cifar-10-python.tar.gz there" in words
    assert "--data digits" in words
    assert "more" not in words


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", ["imagenet", "npz", "npz:", "folder:", "cifar10:x", "PATH", "folder:PATHS", ""]
)
def test_unknown_data(data):
    if data == "folder:PATHS":
        with pytest.raises(ZeroshotError, match="folder:PATHS cannot be read"):
            load_batch(data)
        return
    with pytest.raises(ZeroshotError, match=r"unknown data .*; expected one of") as error:
        load_batch(data)
    assert all(name in str(error.value) for name in DATA)


@pytest.mark.parametrize("size", [-1, 0, 1])
@pytest.mark.parametrize("data", ["noise", "digits"])
def test_a_batch_needs_two(data, size):
    with pytest.raises(ZeroshotError, match=f"a batch of {size}: .*at least 2"):
        load_batch(data, batch_size=size)


def test_more_samples_than_images(tmp_path):
    with pytest.raises(ZeroshotError, match="a batch of 64 from 40 images; lower the batch size"):
        load_batch(write_npz(tmp_path / "a.npz"))


def test_no_memory_for_the_batch():
    with pytest.raises(OutOfMemoryError, match="1,000,000,000,000 images; lower the batch size"):
        load_batch(batch_size=10**12)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds(seed):
    with pytest.raises(ZeroshotError, match=f"seed {seed}; expected"):
        load_batch(seed=seed)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"size": 0}, "images of size 0; expected at least 1"),
        ({"size": -1}, "images of size -1; expected at least 1"),
        ({"classes": 0}, "classes 0; expected at least 1"),
        ({"channels": -3}, "channels -3; expected at least 1"),
    ],
)
def test_tasks(numbers, message):
    with pytest.raises(ZeroshotError, match=message):
        Task(**numbers)


BAD_ARRAYS = {
    "no labels": ({"y_train": None}, "expected also y_train"),
    "nothing": ({"x_train": None, "y_train": None}, "expected also x_train and y_train"),
    "label count": ({"y_train": np.zeros(39, int)}, r"x_train \(40, .* and y_train \(39,\)"),
    "label columns": ({"y_train": np.zeros((40, 1), int)}, r"y_train \(40, 1\); expected"),
    "float labels": ({"y_train": np.zeros(40)}, "y_train is float64; expected class indices"),
    "negative": ({"y_train": np.full(40, -1)}, "y_train has -1 to -1; expected class indices"),
    "no indices": ({"y_train": np.full(40, 10**12)}, "y_train has 1000000000000 to"),
    "NaN": ({"x_train": np.full((40, 8, 8), np.nan)}, "x_train holds NaN or infinite"),
    "infinite": ({"x_train": np.full((40, 8, 8), np.inf)}, "x_train holds NaN or infinite"),
    "integers": ({"x_train": np.zeros((40, 8, 8), int)}, "x_train is int64; expected uint8"),
    "text": ({"x_train": np.full((40, 8, 8), "a")}, "x_train is <U1; expected uint8"),
    "flat": ({"x_train": np.zeros((40, 8))}, r"x_train \(40, 8\)"),
    "channels": ({"x_train": np.zeros((40, 8, 8, 4), np.uint8)}, "has 4 channels, .* expect 3"),
    "empty": ({"x_train": np.zeros((0, 8, 8)), "y_train": np.zeros(0, int)}, "at least one image"),
    "no pixels": ({"x_train": np.zeros((40, 0, 8))}, "at least one image"),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(case, tmp_path):
    changed, words = BAD_ARRAYS[case]
    with pytest.raises(ZeroshotError, match=words) as error:
        load_batch(write_npz(tmp_path / "a.npz", **changed), batch_size=8)
    assert "\n" not in str(error.value)


class Explosive:
    def __reduce__(self):
        return (exec, ("import sys; sys.exploded = True",))


def test_pickles_are_not_opened(tmp_path):
    bomb = np.array([Explosive()] * 40, dtype=object)
    with pytest.raises(ZeroshotError, match="it is no archive of numbers"):
        load_batch(write_npz(tmp_path / "a.npz", x_train=bomb))
    bomb.dump(tmp_path / "b.npz")
    with pytest.raises(ZeroshotError, match="cannot be read"):
        load_batch(f"npz:{tmp_path}/b.npz")
    assert not hasattr(sys, "exploded")


def test_damaged_archives(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(ZeroshotError, match=r"a\.npz cannot be read .*No such file"):
        load_batch(f"npz:{path}")
    with pytest.raises(ZeroshotError, match="cannot be read"):
        load_batch(f"npz:{tmp_path}")
    np.savez_compressed(path, x_train=np.zeros((40, 8, 8)), y_train=np.zeros(40, int))
    whole = path.read_bytes()
    for content in (b"", b"x", b"PK", whole[: len(whole) // 2], whole[:-10]):
        path.write_bytes(content)
        with pytest.raises(ZeroshotError, match="cannot be read"):
            load_batch(f"npz:{path}")
    for position in range(0, len(whole), 7):  # some of these do not hurt
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with suppress(ZeroshotError):
            load_batch(f"npz:{path}", batch_size=8)
    np.save(tmp_path / "b.npy", np.zeros((40, 8, 8)))
    with pytest.raises(ZeroshotError, match=r"b\.npy is a single array; expected x_train"):
        load_batch(f"npz:{tmp_path}/b.npy")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ZeroshotError, match=r"has hello\.txt; expected also x_train and y_train"):
        load_batch(f"npz:{path}")


def test_unreadable_images_are_named(tmp_path):
    data = write_folder(tmp_path / "images", each=2)
    image = tmp_path / "images" / "dog" / "1.png"
    content = image.read_bytes()
    for damaged in (b"no image", content[: len(content) // 2], b""):
        image.write_bytes(damaged)
        with pytest.raises(ZeroshotError, match=r"dog/1\.png is no readable image"):
            load_batch(data, batch_size=6)


def test_folders_without_classes(tmp_path):
    with pytest.raises(ZeroshotError, match=r"cannot be read .*expected one folder per class"):
        load_batch(f"folder:{tmp_path}/none")
    with pytest.raises(ZeroshotError, match="expected one folder per class"):
        load_batch(f"folder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(ZeroshotError, match="expected one folder per class"):
        load_batch(f"folder:{tmp_path}")
    (tmp_path / "cat" / "a.txt").write_text("hello")
    with pytest.raises(ZeroshotError, match="expected one folder per class"):
        load_batch(f"folder:{tmp_path}")


def test_the_list_of_data_is_complete():
    assert {name.partition(":")[0] for name in DATA} == {"noise", *data_module._OPEN}


def test_the_size_of_images_in_pixels(tmp_path):
    batch, task = load_batch("noise", batch_size=4, size=48)
    assert batch.inputs.shape == (4, 3, 48, 48)
    assert task == Task(size=48)
    assert load_batch("digits", batch_size=10, size=16)[0].inputs.shape == (10, 3, 16, 16)


def test_a_file_is_read_again_when_it_has_changed(tmp_path, monkeypatch):
    data = write_npz(tmp_path / "a.npz")
    opened = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *given, **how: opened.append(1) or load(*given, **how))
    first, second = (load_batch(data, batch_size=4, seed=seed)[0] for seed in (0, 1))
    assert len(opened) == 1
    assert first.hash != second.hash
    write_npz(tmp_path / "a.npz", n=41)
    again, _ = load_batch(data, batch_size=4, seed=0)
    assert len(opened) == 2
    assert again.hash != first.hash


def test_files_sorted_by_class_are_normalised_by_all_images(tmp_path):
    labels = np.repeat(np.arange(4), 5000)
    images = np.clip(RNG.normal(20 + 50 * labels[:, None, None], 20, (20_000, 4, 4)), 0, 255)
    np.savez(tmp_path / "sorted.npz", x_train=images.astype(np.uint8), y_train=labels)
    inputs = load_batch(f"npz:{tmp_path / 'sorted.npz'}", batch_size=400, size=4)[0].inputs
    assert abs(float(inputs.mean())) < 0.1
    assert float(inputs.std()) == pytest.approx(1, abs=0.05)
