"""One owner for each thing: a pipeline builds what its settings name once, and hands it on."""

from __future__ import annotations

import collections
import os

import pytest

from irazor_tf.config.registry import Registry
from irazor_tf.training.trainer import Trainer
from launch import stages
from tests.jobs.small_jobs import small_job


@pytest.mark.parametrize("strategy", ["off", "one_device"])
def test_a_pipeline_builds_every_spec_and_every_folders_trainer_once(
    strategy, table, tmp_path, monkeypatch
):
    """As the command line runs it, scored rows and all; with one control, and nothing on disk. A
    model is bound to a config by the model itself, which is no building from a spec. A job under a
    strategy exports by trainers without one, of which there is one per folder, too."""
    built: collections.Counter[tuple[str, str]] = collections.Counter()
    trainers: collections.Counter[str] = collections.Counter()
    build, init = Registry.build, Trainer.__init__

    def counted_build(self, spec):
        built[self.kind, str(spec)] += 1
        return build(self, spec)

    def counted_init(self, *args, **kwargs):
        init(self, *args, **kwargs)
        trainers[os.path.relpath(self.work_dir, tmp_path)] += 1

    monkeypatch.setattr(Registry, "build", counted_build)
    monkeypatch.setattr(Trainer, "__init__", counted_init)
    job = small_job(
        table,
        tmp_path,
        method="irazor(cpt=0.3)",
        controls="magnitude",
        distribution_strategy=strategy,
        epochs=1,
    )
    stages.perform("pipeline", job)
    kinds = {kind for kind, _ in built}
    assert kinds == {"method", "model", "task", "reader"}
    of_jobs = {spec: n for spec, n in built.items() if spec[0] != "reader"}
    assert max(of_jobs.values()) == 1, of_jobs
    assert max(built.values()) == 2, "the job's reader, and that of preprocessing"
    assert max(trainers.values()) == (1 if strategy == "off" else 2), trainers
    assert set(trainers) >= {"."} and len(trainers) == 3, trainers
