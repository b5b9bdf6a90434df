"""Hand a trained network to other programs: torch.export or ONNX. The file is checked."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from zeroshot.core import logits_of
from zeroshot.errors import ZeroshotError, in_a_line
from zeroshot.files import write_bytes, writing
from zeroshot.spaces.space import Task
from zeroshot.train import load_trained

TOLERANCE = 1e-4  # of the file's logits, relative to the largest


def export(folder: str | Path, out: str | Path, *, weights: str = "last") -> float:
    """Write the network of a training for any number of images, and check what was written.

    Args:
        folder: what `finetune` wrote, or a folder of `prune` with a `finetune` inside.
        out: a name that ends in .pt2 (for `torch.export.load`) or .onnx (needs the extra `onnx`).
        weights: of the 'last' epoch or of the 'best'.

    Returns:
        The largest difference of its logits from the network's on random images, relative to the
        largest of these.

    Raises:
        ZeroshotError: for a folder without a finished training, another ending, a network that
            cannot be exported, or a file whose answers are more than 1e-4 off; then nothing is
            written.
    """
    path = Path(out)
    if path.suffix not in WRITERS:
        raise ZeroshotError(f"--out {out}: expected a name that ends in {' or '.join(WRITERS)}")
    if not path.parent.is_dir():
        raise ZeroshotError(f"--out {out}: the folder {path.parent} does not exist; create it")
    trained = load_trained(folder, weights=weights)
    # In the layout that every program expects.
    module = trained.net.module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    task = Task(*trained.record["run"]["task"])
    random = torch.Generator().manual_seed(0)
    images = torch.randn(3, task.channels, task.size, task.size, generator=random)
    with torch.no_grad():
        if not isinstance(answered := module(images), Tensor):
            module = _Logits(module).eval()
        expected = logits_of(answered)
        content, answer = WRITERS[path.suffix](module, images)
        found = answer(images[:2])  # another number of images than it was made with
    apart = float((found - expected[:2]).abs().max() / expected.abs().max())
    if not apart <= TOLERANCE:
        raise ZeroshotError(
            f"the exported network answers {apart:.1e} off, more than {TOLERANCE:g}; nothing is "
            "written"
        )
    with writing(path):
        write_bytes(path, content)
    return apart


class _Logits(nn.Module):
    """Of what a network answers, what it was trained by."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The logits alone."""
        return logits_of(self.network(images))


Answer = Callable[[Tensor], Tensor]


def _torch(module: nn.Module, images: Tensor) -> tuple[bytes, Answer]:
    batch = torch.export.Dim("batch", min=1, max=2**31 - 1)  # PyTorch 2.6 asks for a limit
    try:
        program = torch.export.export(module, (images,), dynamic_shapes=({0: batch},), strict=False)
    except Exception as error:  # a module may defy tracing in any way
        raise ZeroshotError(f"the network cannot be exported: {in_a_line(error)}") from error
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    return buffer.getvalue(), lambda images: again(images)


def _onnx(module: nn.Module, images: Tensor) -> tuple[bytes, Answer]:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch needs it
    except ImportError as error:
        raise ZeroshotError(
            f"{error.name} is not installed; pip install 'zeroshot-nas[onnx]'"
        ) from error
    batch = torch.export.Dim("batch", min=1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter, about itself
            program = torch.onnx.export(
                module,
                (images,),
                dynamo=True,
                verbose=False,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: batch},),
            )
            assert program is not None
            content = program.model_proto.SerializeToString()
    except Exception as error:  # a module may defy tracing in any way
        raise ZeroshotError(f"the network cannot be exported: {in_a_line(error)}") from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

    return content, answer


WRITERS = {".pt2": _torch, ".onnx": _onnx}
