"""i-Razor (arXiv 2204.00281v2): equations 2, 5 and 6 and Algorithm 1, against oracles written from
the paper with plain loops.

The golden counts come from the lists of the authors' public code and the sizes of the data sets
they used."""

import math
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from irazor_tf.config.field_config import FieldConfig
from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.schema import Field, Schema
from irazor_tf.methods.irazor import regions
from irazor_tf.methods.irazor.gate import RegionGate

PAPER = (0, 1, 2, 4, 8, 16, 30)  # search space of Avazu, table 2


# The oracles. Numbers are exact fractions: what is written 0.1 in a test is one tenth.
def exact(number) -> Fraction:
    return Fraction(repr(float(number)))


def oracle_sizes(candidates):
    """Equation 6: c_1 = d_1, c_m = d_m - d_(m-1)."""
    sizes = []
    for m in range(len(candidates)):
        sizes.append(candidates[0] if m == 0 else candidates[m] - candidates[m - 1])
    return sizes


def oracle_softmax(logits, temperature):
    """Equation 2."""
    exponentials = [math.exp(w / temperature) for w in logits]
    return [e / sum(exponentials) for e in exponentials]


def oracle_penalty(vocabulary_sizes, candidates, alpha):
    """Equation 5."""
    sizes, total = oracle_sizes(candidates), 0.0
    for i in range(len(vocabulary_sizes)):
        expected_dim = 0.0
        for m in range(len(sizes)):
            expected_dim += sizes[m] * alpha[i][m]
        total += vocabulary_sizes[i] / sum(vocabulary_sizes) * expected_dim
    return total


def descending(weights):
    """Line 1 of Algorithm 1; equal weights in their order."""
    return sorted(range(len(weights)), key=lambda j: (-weights[j], j))


def oracle_prune(weights, cpt):
    """Algorithm 1, lines 2 to 10: the set of regions the loop went through."""
    kept, total = [], Fraction(0)
    for j in descending([exact(w) for w in weights]):
        kept.append(j)
        total += exact(weights[j])
        if total >= exact(cpt):
            break
    return tuple(sorted(kept))


def oracle_official(weights, cpt):
    """The public code: weights rounded to 4 decimals, a sum strictly above cpt, and nothing where
    it is never reached."""
    rounded = [
        Fraction(Decimal(repr(float(w))).quantize(Decimal("0.0001"), ROUND_HALF_EVEN))
        for w in weights
    ]
    kept, total = [], Fraction(0)
    for j in descending(rounded):
        kept.append(j)
        total += rounded[j]
        if total > exact(cpt):
            return tuple(sorted(kept))
    return ()


def dim(candidates, kept):
    return sum(oracle_sizes(candidates)[j] for j in kept)


# Equation 6 and section 3.2.2
@pytest.mark.parametrize(
    "candidates", [PAPER, (0, 1, 3, 6), (0, 1, 2, 4, 6), (0, 1, 3, 6, 10), (2, 5, 9), (1,), (0, 7)]
)
def test_regions_of_the_embedding(candidates):
    sizes = oracle_sizes(candidates)
    assert regions.region_sizes(candidates).tolist() == sizes and sum(sizes) == candidates[-1]
    columns = [m for m in range(len(sizes)) for _ in range(sizes[m])]
    assert regions.column_regions(candidates).tolist() == columns


def test_sizes_of_the_paper():
    assert regions.region_sizes(PAPER).tolist() == [0, 1, 1, 2, 4, 8, 14]


@pytest.mark.parametrize("candidates", [(), (0,), (-1, 2), (0, 2, 2), (4, 2)])
def test_candidates_are_checked(candidates):
    for use in (regions.region_sizes, regions.column_regions, regions.check_candidates):
        with pytest.raises(
            ValueError, match="`candidates` should be ascending dimensions .*Received: "
        ):
            use(candidates)


@pytest.mark.parametrize(
    ("candidates", "width", "clipped"),
    [
        (PAPER, 30, PAPER),
        (PAPER, 16, (0, 1, 2, 4, 8, 16)),
        (PAPER, 10, (0, 1, 2, 4, 8, 10)),
        (PAPER, 1, (0, 1)),
        ((4, 8), 6, (4, 6)),
        ((4, 8), 2, (2,)),
    ],
)
def test_candidates_of_a_narrower_field(candidates, width, clipped):
    assert regions.clip_candidates(candidates, width) == clipped
    assert regions.region_sizes(clipped).sum() == width


def test_candidates_of_a_wider_field_stay():
    assert regions.clip_candidates(PAPER, 64) == PAPER
    assert regions.clip_candidates((0, 1, 3, 6), 16) == (0, 1, 3, 6)


# Equation 2
def alpha_of(logits, temperature):
    """The gate's alpha for these logits, [N, K], in double precision."""
    candidates = [tuple(range(logits.shape[1]))] * len(logits)
    gate = RegionGate(candidates, np.ones(len(logits)), temperature=temperature, penalty_weight=0.0)
    gate.logits = tf.constant(logits, tf.float64)
    return gate.alpha_values()


@pytest.mark.parametrize("temperature", [1.0, 0.2, 0.05])
def test_softmax(temperature):
    logits = np.random.default_rng(0).normal(0, 1, (5, 7))
    alpha = alpha_of(logits, temperature)
    np.testing.assert_allclose(
        alpha, [oracle_softmax(row, temperature) for row in logits], rtol=1e-12
    )
    np.testing.assert_allclose(alpha.sum(axis=1), 1, rtol=1e-12)


def test_softmax_of_large_and_equal_logits():
    assert alpha_of(np.zeros((1, 4)), 0.05).tolist() == [[0.25] * 4]
    ratio = math.exp(2)  # of the first two: a difference of 0.1 at temperature 0.05
    (alpha,) = alpha_of(np.array([[1000.0, 999.9, -1000.0]]), 0.05)
    np.testing.assert_allclose(alpha, [ratio / (1 + ratio), 1 / (1 + ratio), 0])


# Equation 5
def test_size_penalty():
    random = np.random.default_rng(0)
    sizes, alpha = [2, 1_000_000, 37], random.dirichlet(np.ones(7), 3)
    ours = (regions.size_weights(np.array(sizes)) * (alpha @ regions.region_sizes(PAPER))).sum()
    np.testing.assert_allclose(ours, oracle_penalty(sizes, PAPER, alpha), rtol=1e-12)
    np.testing.assert_allclose(
        oracle_penalty([3, 9], (0, 4), [[0.5, 0.5], [0.25, 0.75]]), 0.25 * 2 + 0.75 * 3
    )  # by hand


# Algorithm 1
CASES = [
    # The paper's example of section 3.3.1: argmax would drop two thirds of the weight.
    ([0.33, 0.33, 0.34], 0.3, (2,)),
    ([0.33, 0.33, 0.34], 0.34, (2,)),
    ([0.33, 0.33, 0.34], 0.35, (0, 2)),  # of equal weights the first
    ([0.33, 0.33, 0.34], 0.67, (0, 2)),
    ([0.33, 0.33, 0.34], 0.68, (0, 1, 2)),
    # Ties.
    ([0.25, 0.25, 0.25, 0.25], 0.0, (0,)),
    ([0.25, 0.25, 0.25, 0.25], 0.5, (0, 1)),
    ([0.2, 0.4, 0.4], 0.4, (1,)),
    # cpt 0 is argmax, cpt 1 keeps all, weights of zero too.
    ([0.1, 0.2, 0.7], 0.0, (2,)),
    ([0.1, 0.2, 0.7], 1.0, (0, 1, 2)),
    ([0.0, 1.0, 0.0], 0.999, (1,)),
    ([0.0, 1.0, 0.0], 1.0, (0, 1, 2)),
    # Equality where the sum is not exact in binary: 0.7 + 0.1 is 0.7999..., 0.1 + 0.2 is
    # 0.3000...4.
    ([0.7, 0.1, 0.2], 0.9, (0, 2)),
    ([0.1, 0.7, 0.1, 0.1], 0.8, (0, 1)),
    ([0.1, 0.2, 0.6, 0.1], 0.9, (0, 1, 2)),
    ([0.3, 0.3, 0.3, 0.1], 0.9, (0, 1, 2)),
    ([0.1] * 10, 0.8, tuple(range(8))),
    ([0.1] * 10, 0.3, (0, 1, 2)),
    # A sum that falls short of cpt by a real amount has not reached it.
    ([0.8 - 1e-6, 0.2 + 1e-6], 0.8, (0, 1)),
]


@pytest.mark.parametrize(("weights", "cpt", "kept"), CASES)
def test_prune(weights, cpt, kept):
    assert regions.prune(weights, cpt) == kept
    if cpt < 1:  # at 1 the statement of section 3.3.1 stands: all regions
        assert oracle_prune(weights, cpt) == kept


def test_prune_of_float32_weights_whose_sum_is_not_one():
    weights = np.full(7, 1 / 7, np.float32)
    assert regions.prune(weights, 1.0) == tuple(range(7))
    assert regions.prune(weights, 0.999999) == tuple(range(7))
    # A sharp softmax sums to 1 in float32 before its last regions: cpt 1 keeps those too.
    sharp = np.array([1, 1e-8, 1e-9, 0], np.float32)
    assert np.cumsum(sharp)[0] == 1 and regions.prune(sharp, 1.0) == (0, 1, 2, 3)


def test_prune_against_the_oracle():
    random = np.random.default_rng(7)
    for _ in range(3000):
        count = int(random.integers(1, 9))
        units = random.multinomial(
            int(random.choice([10, 100, 1000])),
            random.dirichlet(np.full(count, random.choice([0.3, 1, 10]))),
        )
        weights = [
            float(Fraction(int(unit), int(units.sum()))) for unit in units
        ]  # with ties, zeros and sums that meet cpt
        cpt = int(random.integers(0, 1000)) / 1000
        assert regions.prune(weights, cpt) == oracle_prune(weights, cpt), (weights, cpt)


@pytest.mark.parametrize("cpt", [-0.1, 1.1, float("nan")])
def test_cpt_is_checked(cpt):
    for rule in (regions.prune, regions.prune_official):
        with pytest.raises(ValueError, match=r"`cpt` should lie in \[0, 1\]. Received: "):
            rule([0.5, 0.5], cpt)


def test_dimensions_between_the_candidates():
    """Section 3.2.2: with {0, 1, 3, 6} a field can be 5 wide, by the third region (2 columns) and
    the fourth (3)."""
    candidates = (0, 1, 3, 6)
    kept = regions.prune([0.05, 0.1, 0.45, 0.4], 0.8)
    assert kept == (2, 3) and dim(candidates, kept) == 5
    columns = tuple(
        int(c) for c in np.flatnonzero(np.isin(regions.column_regions(candidates), kept))
    )
    assert FieldConfig(5, columns).labels == (1, 2, 3, 4, 5)


def test_region_of_dimension_0_deselects():
    assert dim(PAPER, regions.prune([0.6, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02], 0.45)) == 0


def test_without_dimension_0_every_field_stays():
    """d_1 > 0: the first region has columns, and no choice leaves a field without any."""
    candidates = (2, 5, 9)
    for weights, cpt, width in [
        ([0.8, 0.1, 0.1], 0.5, 2),
        ([0.1, 0.8, 0.1], 0.5, 3),
        ([0.1, 0.3, 0.6], 0.7, 7),
        ([0.2, 0.3, 0.5], 1, 9),
    ]:
        assert dim(candidates, regions.prune(weights, cpt)) == width


def test_candidates_that_vary_by_field():
    """A narrow field has fewer regions; each field is pruned over its own."""
    widths = {"wide": 6, "narrow": 2}
    weights = {"wide": [0.1, 0.2, 0.3, 0.4], "narrow": [0.1, 0.2, 0.7]}
    dims = {}
    for name, width in widths.items():
        candidates = regions.clip_candidates((0, 1, 3, 6), width)
        assert len(candidates) == len(weights[name])
        dims[name] = dim(candidates, regions.prune(weights[name], 0.7))
    assert dims == {"wide": 2 + 3, "narrow": 1}


# The rule of the public code
@pytest.mark.parametrize(
    ("weights", "cpt", "kept"),
    [
        ([0.33, 0.33, 0.34], 0.34, (0, 2)),  # > where the paper has >=
        ([0.33, 0.33, 0.34], 0.0, (2,)),
        ([0.1, 0.2, 0.7], 1.0, ()),  # 1 is never exceeded
        # unless rounding lets it: .3334 + .3334 + .3333 (half to even)
        ([0.33335, 0.33335, 0.3333], 1.0, (0, 1, 2)),
        # equality is not more, though .7 + .2 is .8999... in binary
        ([0.7, 0.1, 0.2], 0.9, (0, 1, 2)),
        ([0.1] * 10, 0.3, (0, 1, 2, 3)),  # nor where the binary sum is .3000...4
        ([0.45004, 0.3, 0.24996], 0.45, (0, 1)),  # .4500 after rounding
        ([0.45006, 0.3, 0.24994], 0.45, (0,)),
        # .3000 and .3000 are equal after rounding: the first
        ([0.30001, 0.30004, 0.39995], 0.6, (0, 2)),
    ],
)
def test_official_rule(weights, cpt, kept):
    assert regions.prune_official(weights, cpt) == oracle_official(weights, cpt) == kept


def test_official_rule_against_the_oracle():
    random = np.random.default_rng(8)
    for _ in range(2000):
        weights = np.round(random.dirichlet(np.full(int(random.integers(1, 9)), 0.7)), 6)
        cpt = int(random.integers(0, 1001)) / 1000
        if any(round(w * 1e6) % 100 == 50 for w in weights):  # halves are another matter
            continue
        assert regions.prune_official(weights, cpt) == oracle_official(weights, cpt), (weights, cpt)


# One search, the whole curve
def test_thresholds_are_where_configs_change():
    random = np.random.default_rng(9)
    alpha = random.dirichlet(np.ones(4), 5)
    alpha[4] = [0.6, 0.4, 0, 0]  # a field with two regions
    cpts = regions.thresholds(alpha)
    assert cpts[0] == 0 and cpts[-1] == 1 and (np.diff(cpts) > 0).all()

    def prune_all(cpt):
        return [regions.prune(row, cpt) for row in alpha]

    kept = [prune_all(cpt) for cpt in cpts]
    for cpt in random.uniform(0, 1, 500):
        assert prune_all(cpt) == kept[int(np.searchsorted(cpts, cpt))]
    # No threshold without a change.
    assert all(a != b for a, b in zip(kept[1:], kept[2:], strict=False))


# Golden counts
AVAZU_NAMES = (
    "C1 banner_pos site_id site_domain site_category app_id app_domain app_category device_id "
    "device_ip device_model device_type "
    "device_conn_type C14 C15 C16 C17 C18 C19 C20 C21 mday hour wday"
)
AVAZU_SIZES = [
    7, 7, 3135, 3487, 24, 4002, 252, 28, 101449, 523672, 5925, 5, 4, 2417, 8, 9, 426, 4, 67, 166, 60, 10, 24, 7,  # noqa: E501
]  # fmt: skip
AVAZU_OFFICIAL = {
    1: 1,
    2: 12,
    3: 18,
    5: 18,
    6: 1,
    7: 1,
    8: 5,
    9: 22,
    10: 18,
    12: 1,
    13: 5,
    16: 6,
    19: 6,
    20: 3,
    21: 2,
    22: 3,
}
CRITEO_SIZES = [
    4389, 8000, 329, 7432, 2646, 428, 233, 6301, 295, 11, 173, 176642, 585, 147117, 19845, 14830, 6916, 18687, 4, 6646, 1272, 46, 141085,  # noqa: E501
    64381, 63692, 11, 2156, 7806, 61, 5, 928, 15, 147387, 116331, 145634, 57186, 9307, 63, 34,
]  # fmt: skip
AVAZU = Schema(
    tuple(
        Field(name, vocabulary_size=size)
        for name, size in zip(AVAZU_NAMES.split(), AVAZU_SIZES, strict=True)
    )
)
CRITEO = Schema(tuple(Field(f"f{i}", vocabulary_size=size) for i, size in enumerate(CRITEO_SIZES)))


def counts(config, schema):
    config.check(schema)
    return config.num_fields, config.total_dims, config.num_params(schema)


def test_golden_counts():
    official = InputConfig.from_dims(
        {name: AVAZU_OFFICIAL.get(i, 0) for i, name in enumerate(AVAZU.names)}
    )
    uniform = InputConfig.uniform(AVAZU, 30)
    assert AVAZU.num_features == 645_195 and CRITEO.num_features == 1_178_909
    assert counts(official, AVAZU) == (16, 122, 12_323_301)  # table 3: 12.32M
    assert counts(official.fields_only(uniform), AVAZU) == (16, 480, 19_351_920)
    assert counts(uniform, AVAZU) == (24, 720, 19_355_850)
    assert counts(InputConfig.uniform(CRITEO, 25), CRITEO) == (39, 975, 29_472_725)
    assert official.within(uniform)


def test_official_dimensions_are_sums_of_regions():
    """Every width in the authors' list can be reached in the paper's search space."""
    sizes = oracle_sizes(PAPER)
    reachable = {
        dim(PAPER, [j for j in range(len(sizes)) if choice >> j & 1])
        for choice in range(2 ** len(sizes))
    }
    assert set(AVAZU_OFFICIAL.values()) <= reachable
