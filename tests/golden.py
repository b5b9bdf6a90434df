"""Golden values: what the authors' own code answers on the toy networks and the toy batch.

Each was obtained once by running the official code at the commit named, on the toy network
`networks.network(name, dtype, **options)` and `networks.batch(n, dtype=dtype)`, with torch 2.15 and
numpy 2.4 on a CPU. The networks were in train mode, but for dropout, which was off.
`Official.patches` says in words what was changed to make that code run; no line of it is kept here.

Options: `width` is the network's; `size` is the height and width of the images (else 16). `seed`,
`gamma` and `repeat` belong to the Zen-score, whose weights and images are random: after the network
is built, `torch.manual_seed(seed)`; each repeat then draws the weights of all layers in module
order, x, and x', as `reference.gaussian_draws` does. Running means began at 0, variances at 1.

fisher is float32 whatever the network is: the official code rounds each channel's value.

Where official code and formula part, so that no value is given below:
fisher of a transformer (0.0889, oracle 0.1172): where a linear layer answers n × tokens × features,
    the official code takes the tokens for channels.
snip of a transformer (9.1636, oracle 10.3076): the mask sits in the layers' own forward, which the
    output projection of `nn.MultiheadAttention` never runs, so that its gradient is lost.
grasp of a transformer: raises, for fused attention cannot be differentiated twice.
naswot of networks with modules named `ReLUConvBN` (those of NAS-Bench-201): "ReLU" is looked for in
    the class name, so that such a block counts the code of its input a second time.
naswot and linear_regions of networks whose ReLUs are no modules: the official codes see none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Official:
    """A function of published code, and what had to be changed to run it."""

    source: str  # repository@commit, file:function
    patches: str = "none"


@dataclass(frozen=True)
class Golden:
    """What the official code answered. `tolerance` is relative."""

    proxy: str
    network: str
    dtype: Literal["float32", "float64"]
    n: int
    value: float
    official: Official
    tolerance: float
    options: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""


_FORESIGHT = "SamsungLabs/zero-cost-nas@a43bfbc90c1a02a81fb4397a5e096759e93fbe50, "
_TENAS = "VITA-Group/TENAS@9df78ffd98573035375b12e19b9007578cc4155d, "
_NASWOT = "BayesWatch/nas-without-training@b3a82a6642564df115f989ff940ec6b8ef9ca9d3, "
_ZENNAS = "idstcv/ZenNAS@d1d617e0352733d39890fb64ea758f9c85b28c1a, "
_EPENAS = "VascoLopes/EPE-NAS@22bd3410a7fc901661daf923c93b40de1b5de2c3, "

FISHER = Official(_FORESIGHT + "foresight/pruners/measures/fisher.py:compute_fisher_per_weight")
GRAD_NORM = Official(_FORESIGHT + "foresight/pruners/measures/grad_norm.py:get_grad_norm_arr")
GRASP = Official(_FORESIGHT + "foresight/pruners/measures/grasp.py:compute_grasp_per_weight")
JACOB_COV = Official(_FORESIGHT + "foresight/pruners/measures/jacob_cov.py:compute_jacob_cov")
PLAIN = Official(_FORESIGHT + "foresight/pruners/measures/plain.py:compute_plain_per_weight")
SNIP = Official(_FORESIGHT + "foresight/pruners/measures/snip.py:compute_snip_per_weight")
SYNFLOW = Official(_FORESIGHT + "foresight/pruners/measures/synflow.py:compute_synflow_per_weight")
L2_NORM = Official(
    _FORESIGHT + "foresight/pruners/measures/l2_norm.py:get_l2_norm_array",
    patches="loaded by hand, for the package leaves it out, and called without the loss and the "
    "split that it does not accept",
)
NTK_COND = Official(
    _TENAS + "lib/procedures/ntk.py:get_ntk_n",
    patches="moves to CUDA made no-ops; torch.symeig, gone from torch, replaced by "
    "torch.linalg.eigh; called with train_mode and num_batch=1",
)
LINEAR_REGIONS = Official(
    _TENAS + "lib/procedures/linear_region_counter.py:Linear_Region_Collector",
    patches="moves to CUDA made no-ops; the sum of a matrix and its transpose, in place and "
    "refused by current torch, made out of place; the data loader replaced by the given "
    "batch; datasets module stubbed",
)
NASWOT = Official(
    _NASWOT + "score_networks.py (whole script)",
    patches="imports of spaces and data stubbed by the given network and batch; the network "
    "answers its logits twice",
)
EPE_NAS = Official(
    _EPENAS + "search.py (whole script)",
    patches="np.int, gone from numpy, set to int; imports of the benchmark, the data and the "
    "progress bar stubbed by the given network and batch; the network answers its "
    "logits twice",
)
ZEN = Official(
    _ZENNAS + "ZeroShotProxy/compute_zen_score.py:compute_nas_score",
    patches="imports that the function does not use stubbed; the network given forward_pre_GAP, "
    "its feature map before the pooling",
)
SYNFLOW_BN = SYNFLOW

GOLDEN: tuple[Golden, ...] = (
    Golden("fisher", "Plain", "float32", 16, 0.12557929754257202, FISHER, 1e-5),
    Golden("grad_norm", "Plain", "float32", 16, 1.3652387857437134, GRAD_NORM, 1e-4),
    Golden("grasp", "Plain", "float32", 16, -0.06979784369468689, GRASP, 1e-4),
    Golden("jacob_cov", "Plain", "float32", 16, -16.38582434487309, JACOB_COV, 1e-4),
    Golden("plain", "Plain", "float32", 16, 0.18738529086112976, PLAIN, 1e-4),
    Golden("snip", "Plain", "float32", 16, 4.528776168823242, SNIP, 1e-4),
    Golden("synflow", "Plain", "float32", 16, 156094.19000399817, SYNFLOW, 1e-4),
    Golden("synflow_bn", "Plain", "float32", 16, 25.888656224177733, SYNFLOW_BN, 1e-4),
    Golden("l2_norm", "Plain", "float32", 16, 19.58428192138672, L2_NORM, 1e-4),
    Golden("fisher", "Plain", "float64", 16, 0.12557929754257202, FISHER, 1e-6),
    Golden("grad_norm", "Plain", "float64", 16, 1.3652387185839707, GRAD_NORM, 1e-9),
    Golden("grasp", "Plain", "float64", 16, -0.0697978612948505, GRASP, 1e-9),
    Golden("jacob_cov", "Plain", "float64", 16, -16.385824359532084, JACOB_COV, 1e-9),
    Golden("plain", "Plain", "float64", 16, 0.1873853486951076, PLAIN, 1e-9),
    Golden("snip", "Plain", "float64", 16, 4.528776312994472, SNIP, 1e-9),
    Golden("synflow", "Plain", "float64", 16, 156094.19033459923, SYNFLOW, 1e-9),
    Golden("synflow_bn", "Plain", "float64", 16, 25.888656012282276, SYNFLOW_BN, 1e-9),
    Golden("l2_norm", "Plain", "float64", 16, 19.58428188581426, L2_NORM, 1e-9),
    Golden("fisher", "Residual", "float32", 16, 0.402428537607193, FISHER, 1e-5),
    Golden("grad_norm", "Residual", "float32", 16, 3.142712116241455, GRAD_NORM, 1e-4),
    Golden("grasp", "Residual", "float32", 16, -0.20504283905029297, GRASP, 1e-4),
    Golden("jacob_cov", "Residual", "float32", 16, -16.396179490411775, JACOB_COV, 1e-4),
    Golden("plain", "Residual", "float32", 16, 0.5195940732955933, PLAIN, 1e-4),
    Golden("snip", "Residual", "float32", 16, 10.340938568115234, SNIP, 1e-4),
    Golden("synflow", "Residual", "float32", 16, 29926396.31649224, SYNFLOW, 1e-4),
    Golden("synflow_bn", "Residual", "float32", 16, 60.27485995286483, SYNFLOW_BN, 1e-4),
    Golden("l2_norm", "Residual", "float32", 16, 33.4693717956543, L2_NORM, 1e-4),
    Golden("fisher", "Residual", "float64", 16, 0.4024285674095154, FISHER, 1e-6),
    Golden("grad_norm", "Residual", "float64", 16, 3.14271195176691, GRAD_NORM, 1e-9),
    Golden("grasp", "Residual", "float64", 16, -0.20504304461717804, GRASP, 1e-9),
    Golden("jacob_cov", "Residual", "float64", 16, -16.396179472763084, JACOB_COV, 1e-9),
    Golden("plain", "Residual", "float64", 16, 0.5195939720044521, PLAIN, 1e-9),
    Golden("snip", "Residual", "float64", 16, 10.340937577523613, SNIP, 1e-9),
    Golden("synflow", "Residual", "float64", 16, 29926396.46934786, SYNFLOW, 1e-9),
    Golden("synflow_bn", "Residual", "float64", 16, 60.27486024754326, SYNFLOW_BN, 1e-9),
    Golden("l2_norm", "Residual", "float64", 16, 33.46937165345628, L2_NORM, 1e-9),
    Golden("fisher", "NoNorm", "float64", 16, 0.09026701003313065, FISHER, 1e-6),
    Golden("grad_norm", "NoNorm", "float64", 16, 2.422206735042792, GRAD_NORM, 1e-9),
    Golden("grasp", "NoNorm", "float64", 16, -10.312926953984753, GRASP, 1e-9),
    Golden("jacob_cov", "NoNorm", "float64", 16, -17.885821743284037, JACOB_COV, 1e-9),
    Golden("plain", "NoNorm", "float64", 16, 1.9533660964448574, PLAIN, 1e-9),
    Golden("snip", "NoNorm", "float64", 16, 6.830975680800535, SNIP, 1e-9),
    Golden("synflow", "NoNorm", "float64", 16, 52899.83876998118, SYNFLOW, 1e-9),
    Golden("synflow_bn", "NoNorm", "float64", 16, 52899.83876998118, SYNFLOW_BN, 1e-9),
    Golden("l2_norm", "NoNorm", "float64", 16, 19.06345928209387, L2_NORM, 1e-9),
    Golden("fisher", "Disconnected", "float64", 16, 0.04447934404015541, FISHER, 1e-6),
    Golden("grad_norm", "Disconnected", "float64", 16, 0.5778026809938495, GRAD_NORM, 1e-9),
    Golden("grasp", "Disconnected", "float64", 16, -0.20889964288343305, GRASP, 1e-9),
    Golden("jacob_cov", "Disconnected", "float64", 16, -16.589609057423473, JACOB_COV, 1e-9),
    Golden("plain", "Disconnected", "float64", 16, 0.023156077342586647, PLAIN, 1e-9),
    Golden("snip", "Disconnected", "float64", 16, 1.5656913521825586, SNIP, 1e-9),
    Golden("synflow", "Disconnected", "float64", 16, 7008.053168355658, SYNFLOW, 1e-9),
    Golden("synflow_bn", "Disconnected", "float64", 16, 404.7587419886631, SYNFLOW_BN, 1e-9),
    Golden("l2_norm", "Disconnected", "float64", 16, 20.93484120776303, L2_NORM, 1e-9),
    Golden("fisher", "InplaceRelu", "float64", 16, 0.09295116364955902, FISHER, 1e-6),
    Golden("grad_norm", "Transformer", "float64", 16, 2.552742169998046, GRAD_NORM, 1e-9),
    Golden("jacob_cov", "Transformer", "float64", 16, -18.511554663265358, JACOB_COV, 1e-9),
    Golden("plain", "Transformer", "float64", 16, 0.5668644088017412, PLAIN, 1e-9),
    Golden("synflow", "Transformer", "float64", 16, 119.00053424065902, SYNFLOW, 1e-9),
    Golden("synflow_bn", "Transformer", "float64", 16, 119.00053424065902, SYNFLOW_BN, 1e-9),
    Golden("l2_norm", "Transformer", "float64", 16, 29.70404663731785, L2_NORM, 1e-9),
    Golden("ntk_cond", "Plain", "float32", 16, 23.65641975402832, NTK_COND, 1e-4),
    Golden("ntk_cond", "Plain", "float64", 16, 23.656430257790454, NTK_COND, 1e-9),
    Golden("ntk_cond", "Residual", "float32", 16, 13.950479507446289, NTK_COND, 1e-4),
    Golden("ntk_cond", "Residual", "float64", 16, 13.950477108015424, NTK_COND, 1e-9),
    Golden("ntk_cond", "NoNorm", "float64", 16, 502.4440892843841, NTK_COND, 1e-9),
    Golden("ntk_cond", "Disconnected", "float64", 16, 1066.7516173075317, NTK_COND, 1e-9),
    Golden("ntk_cond", "Transformer", "float64", 16, 28.19650653025099, NTK_COND, 1e-9),
    Golden(
        "linear_regions",
        "Plain",
        "float32",
        16,
        16.0,
        LINEAR_REGIONS,
        0.0,
        remark="every sample its own region",
    ),
    Golden(
        "linear_regions",
        "Plain",
        "float64",
        16,
        16.0,
        LINEAR_REGIONS,
        0.0,
        remark="every sample its own region",
    ),
    Golden(
        "linear_regions",
        "Plain",
        "float32",
        200,
        165.0,
        LINEAR_REGIONS,
        0.0,
        options={"size": 3, "width": 1},
    ),
    Golden(
        "linear_regions",
        "Plain",
        "float64",
        200,
        165.0,
        LINEAR_REGIONS,
        0.0,
        options={"size": 3, "width": 1},
    ),
    Golden(
        "linear_regions",
        "Residual",
        "float32",
        16,
        16.0,
        LINEAR_REGIONS,
        0.0,
        remark="every sample its own region",
    ),
    Golden(
        "linear_regions",
        "Residual",
        "float64",
        16,
        16.0,
        LINEAR_REGIONS,
        0.0,
        remark="every sample its own region",
    ),
    Golden(
        "linear_regions",
        "Residual",
        "float32",
        200,
        182.0,
        LINEAR_REGIONS,
        0.0,
        options={"size": 3, "width": 1},
    ),
    Golden(
        "linear_regions",
        "Residual",
        "float64",
        200,
        182.0,
        LINEAR_REGIONS,
        0.0,
        options={"size": 3, "width": 1},
    ),
    Golden("naswot", "Plain", "float32", 16, 123.97691393365102, NASWOT, 1e-9),
    Golden("naswot", "Plain", "float64", 16, 123.97691393365102, NASWOT, 1e-9),
    Golden("naswot", "Residual", "float32", 16, 134.80382958702242, NASWOT, 1e-9),
    Golden("naswot", "Residual", "float64", 16, 134.80382958702242, NASWOT, 1e-9),
    Golden(
        "naswot",
        "Disconnected",
        "float32",
        16,
        121.6290749466174,
        NASWOT,
        1e-9,
        remark="the ReLU that no gradient reaches is left out; with it, 127.2323",
    ),
    Golden(
        "naswot",
        "Disconnected",
        "float64",
        16,
        121.6290749466174,
        NASWOT,
        1e-9,
        remark="the ReLU that no gradient reaches is left out; with it, 127.2323",
    ),
    Golden(
        "epe_nas",
        "Plain",
        "float32",
        16,
        39.48179327349673,
        EPE_NAS,
        1e-4,
        remark="six classes of two samples, four of one",
    ),
    Golden(
        "epe_nas",
        "Plain",
        "float64",
        16,
        39.48179072049046,
        EPE_NAS,
        1e-9,
        remark="six classes of two samples, four of one",
    ),
    Golden("epe_nas", "Plain", "float32", 40, 433.5637213358568, EPE_NAS, 1e-4),
    Golden("epe_nas", "Plain", "float64", 40, 433.56236452911514, EPE_NAS, 1e-9),
    Golden(
        "epe_nas",
        "Residual",
        "float32",
        16,
        37.48576583454901,
        EPE_NAS,
        1e-4,
        remark="six classes of two samples, four of one",
    ),
    Golden(
        "epe_nas",
        "Residual",
        "float64",
        16,
        37.48575034336067,
        EPE_NAS,
        1e-9,
        remark="six classes of two samples, four of one",
    ),
    Golden("epe_nas", "Residual", "float32", 40, 429.87714357890945, EPE_NAS, 1e-4),
    Golden("epe_nas", "Residual", "float64", 40, 429.87721165191454, EPE_NAS, 1e-9),
    Golden(
        "zen",
        "Plain",
        "float32",
        16,
        4.499702453613281,
        ZEN,
        1e-4,
        options={"seed": 0, "gamma": 0.01, "repeat": 1},
    ),
    Golden(
        "zen",
        "Plain",
        "float32",
        16,
        5.1858445803324384,
        ZEN,
        1e-4,
        options={"seed": 0, "gamma": 0.01, "repeat": 3},
        remark="running variances go on from one repeat to the next",
    ),
    Golden(
        "zen",
        "Residual",
        "float32",
        16,
        7.354317665100098,
        ZEN,
        1e-4,
        options={"seed": 0, "gamma": 0.01, "repeat": 1},
    ),
    Golden(
        "zen",
        "Residual",
        "float32",
        16,
        8.607243855794271,
        ZEN,
        1e-4,
        options={"seed": 0, "gamma": 0.01, "repeat": 3},
        remark="running variances go on from one repeat to the next",
    ),
)
