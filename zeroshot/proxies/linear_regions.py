"""Linear regions: how many pieces of a piecewise linear function the inputs fall into."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Int64, UInt8
from torch import Tensor

from zeroshot.core import Proxy
from zeroshot.passes import Patterns


def linear_regions(patterns: UInt8[Tensor, "n _"]) -> int:
    """Number of different activation patterns (bit-packed rows) among the inputs.

    Range: 1 to n, exact. Undefined without any ReLU-like activation. Without a thin network n is
        the batch, and nearly every network separates all of it.
    Source: Xiong et al., 2020, arXiv:2001.06892; TE-NAS, arXiv:2102.11535, for the protocol:
        3,000 random 3×3 crops through a thin network, on spaces that offer one.
    Differs: counted by hashes of rows, compared where these agree, not through a half-precision
        n × n product.
    """
    return distinct(patterns)


def mixed(rows: UInt8[Tensor, "n _"]) -> Int64[Tensor, " n"]:
    """64-bit hashes: of each row, eight bytes at a time, with an odd random factor for each."""
    words = F.pad(rows, (0, -rows.shape[1] % 8)).contiguous().view(torch.int64)
    factors = torch.empty(words.shape[1], dtype=torch.int64)
    factors.random_(generator=torch.Generator().manual_seed(0)).bitwise_or_(1)
    products = (words ^ (words >> 29)) * factors.to(rows.device)  # modulo 2⁶⁴
    return (products ^ (products >> 32)).sum(1)


def distinct(
    rows: UInt8[Tensor, "n _"],
    hashed: Callable[[UInt8[Tensor, "n _"]], Int64[Tensor, " n"]] = mixed,
) -> int:
    """Number of different rows; exact, and linear in n but for sorting n numbers.

    Rows of one hash are compared with the first of them. Those that differ from it, which a good
    hash leaves none of, are counted in a further round.
    """
    found = 0
    while len(rows):
        kinds, kind = torch.unique(hashed(rows), return_inverse=True)
        places = torch.arange(len(rows), device=rows.device)
        first = torch.full_like(kinds, len(rows)).scatter_reduce_(0, kind, places, "amin")
        found += len(kinds)
        rows = rows[(rows != rows[first[kind]]).any(1)]
    return found


LINEAR_REGIONS = Proxy(
    "linear_regions", (Patterns(),), linear_regions, "higher", "arXiv:2102.11535"
)
