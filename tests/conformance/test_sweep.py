"""The points that one search serves."""

from __future__ import annotations

import numpy as np
import pytest

from irazor_tf.config.specs import Spec, parse_spec
from irazor_tf.search.method import METHODS, Search
from irazor_tf.search.run import run_sweep
from tests.conformance import cases, runs


def test_a_setting_that_keeps_no_field_is_left_out_of_the_curve(
    tiny: runs.Tiny, tmp_path, caplog
) -> None:
    case = cases.Case(
        parse_spec("irazor(sweep=(0.01, 0.9, 1.0))"), Spec("mlp", (("hidden", (4,)),))
    )
    trainer = tiny.trainer(case, tmp_path)
    method = METHODS.build(case.method)
    supernet = trainer.build(tiny.space, method.gates(tiny.schema, tiny.space))
    logits = np.zeros(supernet.gates["embedding"].logits.shape, np.float32)
    logits[:, 0] = 1.0  # at tau .05 the region without columns has all the weight
    supernet.gates["embedding"].logits.assign(logits)
    caplog.set_level("WARNING", "irazor_tf")  # an earlier test may have made all loggers quiet
    points = [
        (label, outcome.result.config)
        for label, outcome in run_sweep(trainer, method, tiny.space, Search(supernet))
    ]
    assert [label for label, _ in points] == ["cpt=1"]
    assert points[0][1].dims == tiny.space.dims
    assert "cpt=0.01" in caplog.text and "keeps no field" in caplog.text


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_a_share_too_small_for_any_column_is_left_out_of_the_curve(
    name: str, tiny: runs.Tiny, tmp_path, caplog
) -> None:
    method = METHODS.build(f"{name}(sweep=(0.0001, 0.5))")
    trainer = tiny.trainer(cases.Case(parse_spec(name), Spec("mlp", (("hidden", (4,)),))), tmp_path)
    caplog.set_level("WARNING", "irazor_tf")
    points = [
        label
        for label, _ in run_sweep(trainer, method, tiny.space, Search(trainer.build(tiny.space)))
    ]
    assert points == ["share=0.5"]
    assert (
        f"no point of the curve. `share` of {name} should leave at least" in caplog.text
        and "Received: 0.0001" in caplog.text
    )
