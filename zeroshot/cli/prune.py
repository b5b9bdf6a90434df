"""`zeroshot prune`, `zeroshot finetune` and `zeroshot export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zeroshot.cli.options import (
    TRUTH,
    BenchmarkPath,
    Cells,
    Channels,
    Column,
    Data,
    Device,
    ImageSize,
    Init,
    LowerIsBetter,
    NoStore,
    Scheduler,
    Seed,
    SpaceName,
    Spelling,
    StoreFile,
    Trust,
    Workers,
    used_store,
)
from zeroshot.cli.screen import new_console, new_table, say, stoppable
from zeroshot.errors import ZeroshotError
from zeroshot.progress import progress_bar

if TYPE_CHECKING:
    from rich.console import Console

    from zeroshot.train import Recipe, Trained


def prune(
    space: SpaceName,
    criterion: Annotated[
        str,
        typer.Option(
            help="Prune by te_nas (NTK and linear regions), a proxy, an ensemble or a formula."
        ),
    ] = "te_nas",
    method: Annotated[
        str,
        typer.Option(
            help="How to prune: prune (every axis each round) or perturb (axis by axis, ZC-PT)."
        ),
    ] = "prune",
    fidelity: Annotated[
        str,
        typer.Option(
            help="How to measure supernets: fast, paper (as published) or official (as coded)."
        ),
    ] = "fast",
    finalists: Annotated[
        int, typer.Option(help="Stop when at most this many networks are left, and rank these.")
    ] = 1,
    by: Annotated[
        str | None,
        typer.Option(
            help="Rank the finalists by an ensemble, a proxy or a formula; default: an ensemble "
            "that suits the space."
        ),
    ] = None,
    data: Data = "noise",
    seed: Seed = 0,
    workers: Workers = None,
    chunk: Annotated[
        int,
        typer.Option(
            help="MiB of a tangent kernel's Jacobian to hold at a time; less memory, more time, "
            "the same digits."
        ),
    ] = 512,
    scheduler: Scheduler = None,
    device: Device = "auto",
    store: StoreFile = None,
    no_store: NoStore = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write: architecture, history, plot and checkpoint."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
    truth: Annotated[list[str] | None, typer.Option(help=TRUTH)] = None,
    column: Column = None,
    arch: Spelling = "{arch}",
    lower_is_better: LowerIsBetter = False,
    benchmark_path: BenchmarkPath = None,
    trust: Trust = False,
    finetune: Annotated[
        int,
        typer.Option(
            help="Train the result for this many epochs, in OUT/finetune, on --data, or on digits "
            "if that is noise; 0 for none."
        ),
    ] = 0,
) -> None:
    """Prune a supernet to a single-path network without training."""
    if finetune and out is None:
        raise ZeroshotError(f"--finetune {finetune}: name the folder to write, with --out")
    learned = "digits" if data == "noise" else data
    recipe = _recipe(space, finetune, learned, seed) if finetune else None
    path = used_store(store, no_store)
    with stoppable(out and f"finished rounds are kept in {out}; --resume goes on"):
        from zeroshot import commands

        with progress_bar("options") as progress:
            found = commands.prune(
                space,
                criterion=criterion,
                method=method,
                fidelity=fidelity,
                finalists=finalists,
                by=by,
                data=data,
                seed=seed,
                workers=workers,
                chunk=chunk,
                scheduler=scheduler,
                device=device,
                store=path,
                out=out,
                resume=resume,
                truth=truth or None,
                column=column,
                arch=arch,
                lower_is_better=lower_is_better,
                benchmark_path=benchmark_path,
                trust=trust,
                progress=progress,
            )
    console = new_console()
    say(console, found.name)
    if "accuracy" in found.record:
        place = f"rank {found.record['rank']} of {found.record['of']:,}"
        say(console, f"accuracy {found.record['accuracy']:.2f}, {place}")
    left = len(found.finalists)
    if left == 1 < finalists:
        say(console, "Pruning ended with one network, so there was nothing to rank.")
    if out:
        files = ("architecture.json", "history.csv", "pruning.png", "record.json")
        files += ("finalists.csv", "best.csv") if left > 1 else ()
        say(console, f"in {out}: {', '.join(files)}")
    if recipe:
        with stoppable(f"finished epochs are kept in {out}; --resume goes on"):
            from zeroshot.train import finetune as run

            with progress_bar("batches") as progress:
                trained = run(
                    str(out),
                    recipe=recipe,
                    data=learned,
                    seed=seed,
                    device=device,
                    resume=resume and (Path(str(out)) / "finetune").is_dir(),
                    progress=progress,
                )
        say(console, f"trained on {learned}:")
        _say_trained(console, trained)


def finetune(
    model: Annotated[
        str,
        typer.Argument(
            help="Network to train: a folder that `zeroshot prune` wrote, nasbench201:13714 or "
            "package.module:factory."
        ),
    ],
    epochs: Annotated[
        int, typer.Option(help="Number of times that every training image is seen.")
    ] = 5,
    batch_size: Annotated[int, typer.Option(help="Number of images per step.")] = 64,
    learning_rate: Annotated[
        float, typer.Option(help="Highest learning rate of the schedule.")
    ] = 0.1,
    momentum: Annotated[float, typer.Option(help="Nesterov momentum; 0 for plain SGD.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Weight decay, on all parameters.")] = 5e-4,
    schedule: Annotated[
        str, typer.Option(help="Schedule of the learning rate: one-cycle or cosine.")
    ] = "one-cycle",
    label_smoothing: Annotated[
        float, typer.Option(help="Part of a label that is spread over all classes.")
    ] = 0.0,
    crop: Annotated[
        int | None,
        typer.Option(
            help="Pixels to pad an image by before a random crop; default: an eighth of its side."
        ),
    ] = None,
    flip: Annotated[
        bool | None,
        typer.Option(help="Mirror half of the images; default: yes, unless they are digits."),
    ] = None,
    cutout: Annotated[
        int, typer.Option(help="Side of a random square of zeros in pixels; 0 for none.")
    ] = 0,
    clip: Annotated[
        float, typer.Option(help="Largest norm of the gradient; 0 for no limit.")
    ] = 5.0,
    amp: Annotated[
        bool, typer.Option("--amp", help="Use bfloat16 where that is safe; on CUDA only.")
    ] = False,
    data: Data = "digits",
    size: ImageSize = None,
    channels: Channels = None,
    cells: Cells = None,
    init: Init = "default",
    seed: Seed = 0,
    device: Device = "auto",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; default: finetune in the folder of the network."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out.")
    ] = False,
) -> None:
    """Train a network for a few epochs and test it.

    With --resume, an interrupted run goes on after its last finished epoch.
    """
    with stoppable("finished epochs are kept; --resume goes on"):
        from zeroshot.train import Recipe
        from zeroshot.train import finetune as run

        recipe = Recipe(
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            schedule=schedule,
            label_smoothing=label_smoothing,
            crop=crop,
            flip=flip,
            cutout=cutout,
            clip=clip,
            amp=amp,
        )
        with progress_bar("batches") as progress:
            found = run(
                model,
                recipe=recipe,
                data=data,
                size=size,
                channels=channels,
                cells=cells,
                init=init,
                seed=seed,
                device=device,
                out=out,
                resume=resume,
                progress=progress,
            )
    _say_trained(new_console(), found)


def export(
    folder: Annotated[
        str, typer.Argument(help="Folder that `finetune` or `prune --finetune` wrote.")
    ],
    out: Annotated[str, typer.Option(help="File to write; its name ends in .pt2 or .onnx.")],
    weights: Annotated[
        str, typer.Option(help="Epoch whose weights to write: last or best.")
    ] = "last",
) -> None:
    """Write a trained network for torch.export or ONNX, and check what was written."""
    from zeroshot.deploy import export as run

    apart = run(folder, out, weights=weights)
    say(new_console(), f"{out}: logits agree to {apart:.1e}")


def _recipe(space: str, epochs: int, data: str, seed: int) -> "Recipe":
    """How `prune --finetune` trains; what is wrong with it is said before the work."""
    if epochs < 0:
        raise ZeroshotError(f"--finetune {epochs}: expected a number of epochs, or 0 for none")
    from zeroshot.models import find_space
    from zeroshot.train import short_recipe

    return short_recipe(epochs, data, find_space(space).task, seed)


def _say_trained(console: "Console", found: "Trained") -> None:
    table = new_table("epoch", "learning rate", "loss", "train %", "test %", "seconds", right=True)
    for row in found.history.to_dict("records"):
        shown = (f"{row['train_loss']:.3f}", f"{row['train_accuracy']:.1f}")
        rest = (f"{row['test_accuracy']:.1f}", f"{row['seconds']:.1f}")
        table.add_row(str(row["epoch"]), f"{row['learning_rate']:.2g}", *shown, *rest)
    console.print(table)
    low, high = found.interval
    images = found.record["test images"]
    words = f"test accuracy {found.accuracy:.2f} %, 95 % interval {low:.2f} to {high:.2f}"
    say(console, f"{words} ({images:,} images)")
    say(console, f"weights, history and record in {found.folder}")
