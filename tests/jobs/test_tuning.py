"""`tune` through whole jobs: what it leaves, that it goes on where it stopped, and that its
flagfile is taken."""

from __future__ import annotations

import glob
import json
import logging
import os
import pathlib
import shutil
from typing import Any

import pytest

from irazor_tf.config import recipe
from irazor_tf.config.files import read_json
from irazor_tf.config.recipe import RULE
from irazor_tf.jobs import stages as jobs
from irazor_tf.training import tuning
from irazor_tf.training.callbacks import DivergedError
from irazor_tf.training.plan import FitPlan
from irazor_tf.training.trainer import Trainer
from tests.jobs import small_jobs
from tests.jobs.small_jobs import SMALL, job_of

# What is left to the rule: three recipes (batch, network optimizer, ridge), which differ in speed
# and in where they end.
OPEN = ("batch_size", "network_optimizer", "embedding_ridge")
GIVEN = {key: value for key, value in SMALL.items() if key not in OPEN} | {
    "model": "mlp(hidden=(16,), dropout=0.0)",
    "epochs": 3,
    "patience": 1,
}
FEW = (
    {"network_optimizer": lambda _: "adam(learning_rate=0.02)"},
    {"batch_size": tuning.times(4), "network_optimizer": lambda _: "sgd(learning_rate=1e-6)"},
    {"network_optimizer": lambda _: "sgd(learning_rate=1e4)"},
)


@pytest.fixture(scope="module", autouse=True)
def few():
    """Three recipes beside the rule's; the last one diverges."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "CHANGES", FEW)
        yield


def job_at(table: dict[str, str], folder: pathlib.Path, **changes: Any) -> Any:
    return job_of({**table, **GIVEN, "controls": "", "model_dir": str(folder), **changes})


@pytest.fixture(scope="module")
def tuned(table, tmp_path_factory):
    """A finished tuning: its job, what it returned, the folders of the epochs it trained, and what
    it said."""
    job = job_at(table, tmp_path_factory.mktemp("tuned"))
    with pytest.MonkeyPatch.context() as patch:
        trained = small_jobs.fits(patch)
        said: list[str] = []
        patch.setattr(
            logging.getLogger("irazor_tf"), "info", lambda text, *values: said.append(text % values)
        )
        records = jobs.tune(job)
    return job, records, trained, said


def test_every_recipe_has_its_record_the_best_first(tuned):
    job, records, trained, _ = tuned
    assert [record["changes"] for record in records if not record["diverged"]].count(
        {}
    ) == 1 and len(records) == 4
    assert records[0]["finished"] and not records[0]["diverged"]
    ended = [record for record in records if record["finished"]]
    assert [record["metrics"]["auc"] for record in ended] == sorted(
        (record["metrics"]["auc"] for record in ended), reverse=True
    )
    assert {} in [record["changes"] for record in ended]
    (diverged,) = [record for record in records if record["diverged"]]
    assert (
        diverged["changes"] == {"network_optimizer": "sgd(learning_rate=1e4)"}
        and diverged["metrics"] == {}
    )
    assert sum(record["epochs"] for record in records) == len(trained) <= tuning.most_epochs(4, 3)
    stored = read_json(job.path("tune", "result.json"))[0]
    assert stored["recipes"] == json.loads(json.dumps(records)) and stored["metric"] == "auc"


def history_of(job: Any, record: Any) -> list[dict[str, float]]:
    """The epochs of a recipe's training, found by their number and its settings."""
    paths = pathlib.Path(job.path("tune")).glob("*/model/state.json")
    histories = [json.loads(path.read_text(encoding="utf-8"))["history"] for path in paths]
    (found,) = [
        history
        for history in histories
        if any(record["metrics"].items() <= epoch.items() for epoch in history)
    ]
    return found


def test_the_best_epochs_metrics_are_told(tuned):
    job, records, _, _ = tuned
    for record in records:
        if not record["diverged"]:
            history = history_of(job, record)
            assert len(history) == record["epochs"] and record["metrics"]["auc"] == max(
                epoch["auc"] for epoch in history
            )
            assert record["settings"]["batch_size"] == (
                256 if "batch_size" in record["changes"] else 64
            )


def test_by_log_loss_the_lowest_is_best_and_without_patience_the_last_epoch_counts(table, tmp_path):
    job = job_at(
        table,
        tmp_path,
        metric="log_loss",
        patience=0,
        epochs=6,
        network_optimizer="adam(learning_rate=0.05)",
        embedding_ridge=0,
    )
    records = jobs.tune(job)
    ended = [record for record in records if record["finished"]]
    assert ended and [record["metrics"]["log_loss"] for record in ended] == sorted(
        r["metrics"]["log_loss"] for r in ended
    )
    for record in ended:
        history = history_of(job, record)
        assert record["metrics"]["log_loss"] == history[-1]["log_loss"]
    assert any(
        record["metrics"]["log_loss"] > min(epoch["log_loss"] for epoch in history_of(job, record))
        for record in ended
    )


def test_a_small_log_has_recipes_too(table, tmp_path):
    lines = small_jobs.table_lines(rows=60)
    job = job_at(
        small_jobs.write_table(tmp_path / "log", lines),
        tmp_path / "job",
        epochs=1,
        patience=0,
        fractions="0.6,0.2,0.2",
    )
    records = jobs.tune(job)
    assert {record["settings"]["batch_size"] for record in records} == {32}


def test_what_it_costs_is_said_before_anything_is_trained(tuned):
    rows = read_json(tuned[0].path("tune", "result.json"))[0]["rows"]
    said = [line for line in tuned[3] if line.startswith("tune: ")]
    assert (
        said[0]
        == f"tune: 4 recipes, together at most {tuning.most_epochs(4, 3)} passes over {rows:,} "
        "training rows (one training: at most 3)"
    )
    assert (
        said[2].startswith("tune: an epoch of this one takes ")
        and sum("an epoch of this one" in line for line in said) == 1
    )
    assert [
        line
        for line in said
        if line
        == "tune: network_optimizer sgd(learning_rate=1e4) is left out: its loss is no number any "
        "more"
    ]


def test_the_flagfile_holds_the_whole_recipe_and_another_stage_takes_it(tuned, table, tmp_path):
    job, records, _, _ = tuned
    folder = shutil.copytree(job.model_dir, tmp_path / "job")
    path = str(folder / "tune" / "recipe.flags")
    words = small_jobs.words(
        {**table, **GIVEN, "controls": "", "model_dir": folder, "method": "fde"}
    )
    own = [
        word
        for word in words
        if word.partition("=")[0].removeprefix("--") not in (*RULE, "model", "metric")
    ]
    later = job_of([*own, f"--flagfile={path}"])
    best = records[0]
    assert {key: getattr(later.train, key) for key in RULE} == best[
        "settings"
    ] and later.model == best["model"]
    assert later.train.metric == "auc"
    jobs.retrain(later)  # in the same folder: a tuning binds nobody
    (metrics,) = (folder / "models").glob("*/metrics.json")
    assert json.loads(metrics.read_text())["valid_auc"] > 0.6


def test_a_final_model_of_its_own_is_the_one_that_is_tuned(table, tmp_path):
    job = job_at(table, tmp_path, retrain_model="fm", epochs=1)
    records = jobs.tune(job)
    assert {record["model"] for record in records} == {"fm()"}
    words = (tmp_path / "tune" / "recipe.flags").read_text(encoding="utf-8").splitlines()
    assert (
        words[0].startswith("# ")
        and "--retrain_model=fm()" in words
        and not [word for word in words if word.startswith("--model=")]
    )


def test_a_second_call_trains_nothing(tuned):
    job, records, _, _ = tuned
    with pytest.MonkeyPatch.context() as patch:
        trained = small_jobs.fits(patch)
        fit = Trainer.fit
        begun: list[str] = []

        def watched(self, *args, **kwargs):
            begun.append(self.work_dir)
            return fit(self, *args, **kwargs)

        patch.setattr(Trainer, "fit", watched)
        again = jobs.tune(job)
    assert not trained and again == records
    diverged = {
        os.path.dirname(path)
        for path in glob.glob(os.path.join(job.path("tune"), "*", "diverged.json"))
    }
    assert len(diverged) == 1 and not begun


def test_what_was_stopped_goes_on_and_ends_the_same(tuned, table, tmp_path, monkeypatch):
    job = job_at(table, tmp_path)
    whole = tuned[2]
    trained = small_jobs.fits(monkeypatch)
    from irazor_tf.training.state import TrainingState

    end_epoch = TrainingState.end_epoch

    def stopping(self: Any, *args: Any, **kwargs: Any) -> None:
        end_epoch(self, *args, **kwargs)
        if len(trained) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "end_epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        jobs.tune(job)
    monkeypatch.setattr(TrainingState, "end_epoch", end_epoch)
    records = jobs.tune(job)
    assert len(trained) == len(whole)
    assert small_jobs.without_timing(records) == small_jobs.without_timing(tuned[1])


def test_no_test_rows_are_read(table, tmp_path, monkeypatch):
    from irazor_tf.training.source import Source

    read: list[str] = []
    ordered = Source.ordered

    def watched(self, *args):
        read.append(self.split)
        return ordered(self, *args)

    monkeypatch.setattr(Source, "ordered", watched)
    jobs.tune(job_at(table, tmp_path, epochs=1))
    assert set(read) == {"valid"}


def test_what_diverges_later_is_left_out_then_and_again(table, tmp_path, monkeypatch):
    """The second recipe, better than the rule's on the rungs, diverges after them; a second call
    trains nothing and tells the same."""
    monkeypatch.setattr(tuning, "CHANGES", FEW[:1])
    monkeypatch.setattr(
        recipe, "RULE", {**RULE, "network_optimizer": lambda known: "sgd(learning_rate=1e-9)"}
    )
    job = job_at(table, tmp_path)
    fit, begun = Trainer.fit, []

    def failing(self: Any, model: Any, name: str, plan: FitPlan) -> Any:
        begun.append(plan.pause)
        if plan.pause is None and "adam" in self.options.network_optimizer:
            raise DivergedError("nan")
        return fit(self, model, name, plan)

    monkeypatch.setattr(Trainer, "fit", failing)
    records = jobs.tune(job)
    assert [record["changes"] for record in records if record["finished"]] == [{}] and records[0][
        "changes"
    ] == {}
    (diverged,) = [record for record in records if record["diverged"]]
    assert diverged["epochs"] == 1 and diverged["metrics"] == {}
    count = len(begun)
    assert jobs.tune(job) == records and len(begun) == count


def test_something_should_be_left_to_the_rule(table, tmp_path):
    job = job_of(
        {
            **table,
            **SMALL,
            "model": "mlp(hidden=(16,), dropout=0.0)",
            "controls": "",
            "model_dir": str(tmp_path),
        }
    )
    with pytest.raises(
        ValueError,
        match="some of batch_size, network_optimizer should be auto .*Received: none that is, and "
        "that this model",
    ):
        jobs.tune(job)


def test_the_rules_own_recipe_has_to_be_trainable(table, tmp_path):
    job = job_at(table, tmp_path, network_optimizer="sgd(learning_rate=1e4)")
    with pytest.raises(ValueError, match="`loss` should stay finite"):
        jobs.tune(job)
    assert not (tmp_path / "tune" / "recipe.flags").exists()


def test_the_command_prints_a_table(tuned, capsys):
    from launch import stages

    stages.perform("tune", tuned[0])
    shown = capsys.readouterr().out
    assert "the rule's recipe" in shown and "diverged" in shown and "to its end" in shown
    assert shown.rstrip().endswith(
        f"--flagfile={pathlib.Path(tuned[0].path('tune', 'recipe.flags')).absolute()}"
    )
