from tests.checks import assert_agrees_with_oracle, on_networks, unpacked
from zeroshot.core import Cost
from zeroshot.proxies.depth import DEPTH, depth


def test_by_hand():
    assert depth(Cost(3, 5, 2)) == 2


@on_networks()
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(DEPTH, name, dtype, subject=unpacked)
