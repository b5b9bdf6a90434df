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
zico of a transformer (37.7254, oracle 45.7141): packed projections of attention are no layers.
gradsign of a transformer (7770, oracle 10108): likewise.
zico of networks with a layer that reaches nothing: raises.
az_trainability where a block does not lead to the next: raises.
logsynflow of a transformer (50.54): packed projections of attention are no layers.
swap and wrcor of networks whose activations are no `nn.ReLU`: the official codes see none.
epsilon of a transformer (0.7544) and of ReluFree (0.2935): what is scaled is rounding alone.
meco: the official code counts the output of every module, the network's own too.
dss: the official code runs on the weights that a supernet of its own has sampled.
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
_VKDNW = "ondratybl/VKDNW@6901b65fc68c89c163e8e5d9ba0410926f36870e, "
_ZICO = "SLDGroup/ZiCo@b0fec65923a90e84501593f675b1e2f422d79e3d, "
_AZNAS = "cvlab-yonsei/AZ-NAS@5e6683a2cfa5c6d0dc34a1317a842497ba7eae47, "
_FREEREA = "NiccoloCavagnero/FreeREA@9c2a726cd3adf526c43ae52a515a8fc5ea927fe7, "
_GRADSIGN = "cmu-catalyst/GradSign@26412be8000a19c1a1147b2bb9399a7d1003eaf1, "
_SWAP = "pym1024/SWAP@f6049f7c979b0cfc9ac5a13666fedb79dfe3cce8, "
_WRCOR = "kunjing96/ZSNAS-WRCor@270ce7aecedc56538aba635754a7009c9223be15, "
_EPSINAS = "egracheva/epsinas@7e4a9bc0d13f635010f0da00035b5b9d0f97bb59, "
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
GRADSIGN = Official(
    _GRADSIGN + "naswot-code/gradsign.py:get_grad_conflict",
    patches="cut out of the script that it is part of",
)
VKDNW_ENTROPY = Official(
    _VKDNW + "NB201/ZeroShotProxy/compute_vkdnw_score.py:compute_nas_score",
    patches="the Cholesky factor transposed, as the formula has it; the smoothing of probabilities "
    "in full, not half, precision; the network's weights left as they are; one weight of each "
    "tensor, copied before it is replaced; moves to CUDA made no-ops",
)
ZICO = Official(
    _ZICO + "ZeroShotProxy/compute_zico.py:getzico",
    patches="moves to CUDA made no-ops; imports that the function does not use stubbed; the loader "
    "gives the first and the second half of the batch",
)
AZ_NAS = Official(
    _AZNAS + "NB201/ZeroShotProxy/compute_az_nas_score.py:compute_nas_score",
    patches="moves to CUDA and the initialisation made no-ops; the network given a method that "
    "answers what the blocks of `networks.BLOCKS` answer; signs drawn after torch.manual_seed(0), "
    "by Tensor.random_ in place of torch.bernoulli",
)
SWAP = Official(_SWAP + "src/metrics/swap.py:SWAP", patches="an unused import left out")
WRCOR = Official(
    _WRCOR + "foresight/pruners/measures/act_grad_cor_weighted.py:compute_act_grad_cor_weighted",
    patches="the blocks of `networks.BLOCKS` given as the attribute `cells`",
)
EPSILON = Official(
    _EPSINAS + "NAS-Bench-201/epsinas_utils.py:compute_epsinas",
    patches="seeding made a no-op; the weights 1e-7 and 1",
)
LOGSYNFLOW = Official(
    _FREEREA + "metrics/synflow.py:compute_synflow_per_weight",
    patches="imported helper, which lists what a function gives for every convolution and linear "
    "layer, written anew",
)

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
    Golden("gradsign", "Plain", "float32", 16, 13554.0, GRADSIGN, 1e-3),
    Golden("gradsign", "Plain", "float64", 16, 13554.0, GRADSIGN, 1e-3),
    Golden("gradsign", "Residual", "float32", 16, 17758.0, GRADSIGN, 1e-3),
    Golden("gradsign", "Residual", "float64", 16, 17758.0, GRADSIGN, 1e-3),
    Golden("gradsign", "NoNorm", "float64", 16, 6558.0, GRADSIGN, 1e-3),
    Golden("gradsign", "Disconnected", "float64", 16, 3791.0, GRADSIGN, 1e-3),
    Golden("gradsign", "ReluFree", "float64", 16, 5614.0, GRADSIGN, 1e-3),
    Golden("gradsign", "InplaceRelu", "float64", 16, 6306.0, GRADSIGN, 1e-3),
    Golden("gradsign", "MethodRelu", "float64", 16, 5610.0, GRADSIGN, 1e-3),
    Golden("gradsign", "Activations", "float64", 16, 7146.0, GRADSIGN, 1e-3),
    Golden("vkdnw_entropy", "Plain", "float32", 16, 1.1046116352081299, VKDNW_ENTROPY, 1e-4),
    Golden("vkdnw_entropy", "Plain", "float64", 16, 1.1046108732760227, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "Residual", "float32", 16, 1.0404613018035889, VKDNW_ENTROPY, 1e-4),
    Golden("vkdnw_entropy", "Residual", "float64", 16, 1.0404611148272325, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "NoNorm", "float64", 16, 1.3932379482717214, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "Disconnected", "float64", 16, 0.7513676903942845, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "Transformer", "float64", 16, 1.2565753652016771, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "ReluFree", "float64", 16, 0.9806540345235436, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "InplaceRelu", "float64", 16, 1.2777752193144043, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "MethodRelu", "float64", 16, 1.0907480920735309, VKDNW_ENTROPY, 1e-5),
    Golden("vkdnw_entropy", "Activations", "float64", 16, 0.6081270435786517, VKDNW_ENTROPY, 1e-5),
    Golden("zico", "Plain", "float32", 16, 31.082778930664062, ZICO, 1e-4),
    Golden("zico", "Plain", "float64", 16, 31.08186291733856, ZICO, 1e-9),
    Golden("zico", "Residual", "float32", 16, 56.21195983886719, ZICO, 1e-4),
    Golden("zico", "Residual", "float64", 16, 56.211586676314475, ZICO, 1e-9),
    Golden("zico", "NoNorm", "float64", 16, 31.340529538102448, ZICO, 1e-9),
    Golden("zico", "ReluFree", "float64", 16, 26.940554144141895, ZICO, 1e-9),
    Golden("zico", "InplaceRelu", "float64", 16, 23.397789360072373, ZICO, 1e-9),
    Golden("zico", "MethodRelu", "float64", 16, 27.84216387680037, ZICO, 1e-9),
    Golden("zico", "Activations", "float64", 16, 35.64544006299366, ZICO, 1e-9),
    Golden("az_expressivity", "Plain", "float32", 16, 6.950816631317139, AZ_NAS, 1e-6),
    Golden("az_expressivity", "Plain", "float64", 16, 6.950812621803866, AZ_NAS, 1e-6),
    Golden("az_expressivity", "Residual", "float64", 16, 6.325251290690605, AZ_NAS, 1e-6),
    Golden("az_expressivity", "NoNorm", "float64", 16, 3.777789266989703, AZ_NAS, 1e-6),
    Golden("az_expressivity", "ReluFree", "float64", 16, 3.613386837821383, AZ_NAS, 1e-6),
    Golden("az_expressivity", "Activations", "float64", 16, 7.688174418151651, AZ_NAS, 1e-6),
    Golden("az_progressivity", "Plain", "float32", 16, 0.15491151809692383, AZ_NAS, 1e-5),
    Golden("az_progressivity", "Plain", "float64", 16, 0.154911323217366, AZ_NAS, 1e-6),
    Golden("az_progressivity", "Residual", "float64", 16, 0.214505013566604, AZ_NAS, 1e-6),
    Golden("az_progressivity", "NoNorm", "float64", 16, 0.6936419228605328, AZ_NAS, 1e-6),
    Golden("az_progressivity", "ReluFree", "float64", 16, 0.5292394936922129, AZ_NAS, 1e-6),
    Golden("az_progressivity", "Activations", "float64", 16, 0.007786565268899315, AZ_NAS, 1e-6),
    Golden("az_trainability", "Plain", "float32", 16, -0.12878340566134483, AZ_NAS, 1e-4),
    Golden("az_trainability", "Plain", "float64", 16, -0.12878343481917698, AZ_NAS, 1e-4),
    Golden("az_trainability", "Residual", "float64", 16, -0.0753254320801513, AZ_NAS, 1e-4),
    Golden("az_trainability", "NoNorm", "float64", 16, -0.12519531012071994, AZ_NAS, 1e-4),
    Golden("az_trainability", "ReluFree", "float64", 16, -0.03849869847081866, AZ_NAS, 1e-4),
    Golden("az_trainability", "Activations", "float64", 16, -0.3564346905994394, AZ_NAS, 1e-4),
    Golden("logsynflow", "Plain", "float64", 16, 2840.754867393502, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "Residual", "float64", 16, 7737.70281957189, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "NoNorm", "float64", 16, 1684.2991564645047, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "Disconnected", "float64", 16, 648.3980462672838, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "ReluFree", "float64", 16, 32.51332599583725, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "InplaceRelu", "float64", 16, 960.2152714254355, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "MethodRelu", "float64", 16, 1716.3582474757984, LOGSYNFLOW, 1e-9),
    Golden("logsynflow", "Activations", "float64", 16, 2688.152408094013, LOGSYNFLOW, 1e-9),
    Golden("swap", "Plain", "float64", 16, 3806, SWAP, 0),
    Golden("swap", "Residual", "float64", 16, 7150, SWAP, 0),
    Golden("swap", "Disconnected", "float64", 16, 4339, SWAP, 0),
    Golden("swap", "InplaceRelu", "float64", 16, 2926, SWAP, 0),
    Golden("wrcor", "Plain", "float32", 16, 41.259735948612445, WRCOR, 1e-6),
    Golden("wrcor", "Plain", "float64", 16, 41.25973595416904, WRCOR, 1e-9),
    Golden("wrcor", "Residual", "float64", 16, 51.43341756468345, WRCOR, 1e-9),
    Golden("wrcor", "Disconnected", "float64", 16, 35.462692158351956, WRCOR, 1e-9),
    Golden("epsilon", "Residual", "float64", 16, 0.5845910424061956, EPSILON, 1e-9),
    Golden("epsilon", "Activations", "float64", 16, 0.5671160442295402, EPSILON, 1e-9),
)
