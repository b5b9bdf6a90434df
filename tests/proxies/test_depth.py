import pytest

from tests.checks import DTYPES, NAMES, assert_agrees_with_oracle, unpacked
from zeroshot.core import Cost
from zeroshot.proxies.depth import DEPTH, depth


def test_by_hand():
    assert depth(Cost(3, 5, 2)) == 2


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_the_oracle(name, dtype):
    assert_agrees_with_oracle(DEPTH, name, dtype, subject=unpacked)
