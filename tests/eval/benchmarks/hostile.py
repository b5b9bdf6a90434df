"""Pickles that would run something, and how to tell whether they did."""

import bz2
import os
import pickle
from pathlib import Path

import torch


class Making:
    """Unpickled freely, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def write(path: Path, content: object, legacy: bool = False) -> Path:
    """A pickle, as the name says: plain, compressed, or by torch."""
    if path.suffix == ".pth":
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    elif path.suffix == ".pbz2":
        path.write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))
    else:
        path.write_bytes(pickle.dumps(content, protocol=4))
    return path
