"""Every proxy and ensemble against measured accuracies, table by table.

    python benchmarks/quality.py TABLES [--only nasbench201,darts] [--sample 300] [--seeds 1]
        [--proxies all] [--full] [--data noise] [--batch-size 32] [--out quality] [--csv FILE]

TABLES is the folder with the tables of accuracies listed below. Of each, a random sample (the same
one always; 0 for all rows) is ranked as small networks, or with --full as the benchmark's own, once
for each seed. Scores are kept in OUT: an interrupted run goes on, a finished one is only read.

All of it takes about three hours of one core; `--proxies quick` is the cheaper half of the proxies.

Printed for each table: every proxy and ensemble with Kendall's τ and Spearman's ρ, 95 % bootstrap
intervals over architectures, ρ given size, how many of the best 10 % are found, and the accuracy of
the architecture picked. With several seeds: mean and standard deviation over them of τ, ρ and the
picked accuracy, each seed a ranking of its own. A final table has τ of every proxy on every table.
With --csv the figures of seed 0 are kept in a file too, docs/proxies.md is made of that.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import zeroshot
from zeroshot.eval.tables import read_truth
from zeroshot.models import find_space

QUICK = (
    "flops,params,depth,l2_norm,grad_norm,snip,synflow,logsynflow,jacob_cov,naswot,swap,meco,zico,"
    "wrcor,az_expressivity,az_progressivity,az_trainability,zen,meco_opt,deepmad,apd,intrain"
)
ALL = (
    QUICK + ",grasp,fisher,plain,synflow_bn,epe_nas,gradsign,epsilon,dss,vkdnw,"
    "vkdnw_entropy,ntk_cond,ntk_trace,ntk_krr,label_alignment,linear_regions,swap_reg,memory,"
    "memory_train"
)
KERNELS = ("vkdnw", "vkdnw_entropy", "ntk_cond", "ntk_trace", "ntk_krr", "label_alignment")
SHOWN = ("kendall", "spearman", "picked")
KEPT = (
    *("name", "kind", "n", "kendall", "kendall_lo", "kendall_hi"),
    *("spearman", "spearman_lo", "spearman_hi", "partial_spearman"),
    *("precision_top10", "ndcg", "picked", "best", "seconds"),
)


@dataclass(frozen=True)
class Table:
    """Accuracies that others measured.

    Attributes:
        name: the word for --only.
        file: in the folder TABLES.
        space: whose architectures they are of.
        arch: how the columns of a row spell its architecture, as the space reads it.
        columns: of accuracies, higher is better; the first is the one of the final table. One
            named with a minus is of losses, which are negated.
        without: proxies that take too long for these networks.
    """

    name: str
    file: str
    space: str
    arch: str
    columns: tuple[str, ...]
    without: tuple[str, ...] = ()

    def read(self, folder: Path, sample: int) -> pd.DataFrame:
        """A sample of the rows, the column `arch` as our space spells it; 0 for all of them."""
        measured = {
            column: read_truth(
                folder / self.file,
                column.removeprefix("-"),
                arch=self.arch,
                better="lower" if column[0] == "-" else "higher",
            )
            for column in self.columns
        }
        truth = pd.DataFrame(measured).dropna(subset=self.columns[0])  # some trainings fail
        if 0 < sample < len(truth):
            truth = truth.iloc[np.random.default_rng(0).permutation(len(truth))[:sample]]
        space = find_space(self.space)
        truth.index = truth.index.map(lambda text: space.spell(space.parse(text)))
        return truth.groupby(level=0, sort=False).mean()  # one cell may have been trained twice


TABLES = (
    Table(
        "nasbench201",
        "nasbench201-cifar10.csv.gz",
        "nasbench201",
        "{arch}",
        ("cifar10_test_accuracy",),
    ),
    Table(
        "nasbench101",
        "nasbench101-sample.csv.gz",
        "nasbench101",
        "{matrix}-{ops}",
        ("val108", "val12"),
    ),
    Table(
        "transnasbench101",
        "transnasbench101-micro-class-scene.csv.gz",
        "transnasbench101_micro",
        "{arch}",
        ("class_scene_val",),
    ),
    Table(
        "darts",
        "darts-214.csv.gz",
        "darts",
        "{normal}, {reduce}",
        ("best_test", "test_ep100"),
        ("gradsign", "epsilon", "memory", "memory_train", *KERNELS),
    ),
    Table(
        "mnasnet",
        "mnasnet-imagenet-sample.csv.gz",
        "mobilenet",
        "{e},{k},{l},{se}",
        ("top1",),
    ),
    Table(
        "autoformer",
        "vit-autoformer.csv.gz",
        "autoformer",
        "{arch}",
        ("c100_base_acc", "imagenet_super_acc"),
    ),
    Table(
        "nasbench_nlp",
        "nasbench-nlp-sample.csv.gz",
        "nasbench_nlp",
        "{recepie}",
        ("-test_at_valmin",),
    ),
)


def scored(table: Table, truth: pd.DataFrame, seed: int, options: argparse.Namespace) -> Path:
    """The file of a seed's scores; made if it is not there."""
    shape = "full" if options.full else "small"
    path = options.out / f"{table.name}-{shape}-{len(truth)}-{seed}.csv"
    # What is there already is read, if it is of the same run; of another, that is an error.
    start = time.perf_counter()
    proxies = [name for name in options.proxies.split(",") if name not in table.without]
    zeroshot.rank(
        table.space,
        archs=list(truth.index),
        proxies=",".join(proxies),
        by=proxies[0],
        data=options.data,
        batch_size=options.batch_size,
        seed=seed,
        small=not options.full,
        out=path,
    )
    print(f"{path.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return path


def over_seeds(found: list[pd.DataFrame]) -> pd.DataFrame:
    """Mean and standard deviation over the seeds' own rankings."""
    together = pd.concat(found).groupby("name", sort=False)[list(SHOWN)]
    means, spreads = together.mean(), together.std()
    return pd.concat([means, spreads.add_suffix("_sd"), together.min().add_suffix("_min")], axis=1)


def markdown(table: pd.DataFrame) -> str:
    """A table as the documentation has it."""
    lines = [
        "| | Kendall τ | 95 % | Spearman ρ | ρ given size | top 10 % | nDCG | picked | n |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    rated = table[table["kendall"].notna()]
    for _, row in rated.sort_values("kendall", ascending=False).iterrows():
        partial = "–" if np.isnan(row["partial_spearman"]) else f"{row['partial_spearman']:.2f}"
        lines.append(
            f"| {row['name']} | {row['kendall']:.3f} | {row['kendall_lo']:.2f} … "
            f"{row['kendall_hi']:.2f} | {row['spearman']:.3f} | {partial} | "
            f"{row['precision_top10']:.0%} | {row['ndcg']:.3f} | {row['picked']:.4g} | "
            f"{row['n']:,} |"
        )
    return "\n".join(lines).replace("-0.", "−0.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("--only", default=",".join(table.name for table in TABLES))
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--proxies", default="all", help="quick, all, or names with commas")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--data", default="noise")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path("quality"))
    parser.add_argument("--csv", type=Path, help="of the figures of seed 0")
    options = parser.parse_args()
    unknown = set(options.only.split(",")) - {table.name for table in TABLES}
    if unknown:
        parser.error(f"--only {min(unknown)}: there are {', '.join(t.name for t in TABLES)}")
    if not options.tables.is_dir():
        parser.error(f"there is no folder {options.tables}")
    options.proxies = {"quick": QUICK, "all": ALL}.get(options.proxies, options.proxies)
    options.out.mkdir(parents=True, exist_ok=True)
    across: dict[str, pd.Series] = {}
    figures: list[pd.DataFrame] = []
    for table in TABLES:
        if table.name not in options.only.split(","):
            continue
        truth = table.read(options.tables, options.sample)
        files = [scored(table, truth, seed, options) for seed in range(options.seeds)]
        seconds = json.loads(Path(f"{files[0]}.json").read_text())["seconds per pass"]
        for column in table.columns:
            found = [zeroshot.validate(file, truth[column]).table for file in files]
            named = {"table": table.name, "column": column}
            figures.append(found[0][list(KEPT)].assign(**named)[[*named, *KEPT]])
            print(f"\n## {table.name}, {column}: {len(truth)} architectures, seed 0\n")
            print(markdown(found[0]))
            if len(found) > 1:
                print(f"\nOver {len(found)} seeds:\n")
                print(over_seeds(found).round(3).to_string())
            if column == table.columns[0]:
                across[table.name] = found[0].set_index("name")["kendall"]
        print(f"\n{sum(seconds.values()):.0f} s of passes on one core for seed 0")
    if options.csv:
        pd.concat(figures).round(4).to_csv(options.csv, index=False)
    print("\n## Kendall τ across tables\n")
    overview = pd.DataFrame(across)
    overview = overview.loc[overview.mean(axis=1).sort_values(ascending=False).index]
    print(f"| | {' | '.join(overview.columns)} |\n|---{'|---' * len(overview.columns)}|")
    for name, row in overview.iterrows():
        cells = ("–" if np.isnan(value) else f"{value:.2f}" for value in row)
        print(f"| {name} | {' | '.join(cells)} |".replace("-0.", "−0."))


if __name__ == "__main__":
    main()
