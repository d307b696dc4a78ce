"""One training of FuxiCTR's DNN or DeepFM: what `benchmarks.fuxictr_beside` starts in FuxiCTR's own
environment.

    ENV/bin/python fuxictr_run.py CONFIG_DIR EXPERIMENT RESULT.json

The package has FuxiCTR's layers, its training loop, feature encoder, data loader and metrics, but
not its model zoo; `Network` puts those layers together as model_zoo/DNN/DNN_torch/src/DNN.py and
model_zoo/DeepFM/DeepFM_torch/src/DeepFM.py of reczoo/FuxiCTR do. Rows lie in memory
(`NpzDataLoader`, without worker processes), as in its benchmark; nothing but FuxiCTR, torch and
what they need is imported here."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import numpy as np
import torch  # type: ignore[import-not-found]
from fuxictr.features import FeatureMap  # type: ignore[import-not-found]
from fuxictr.preprocess import FeatureProcessor  # type: ignore[import-not-found]
from fuxictr.pytorch.dataloaders import RankDataLoader  # type: ignore[import-not-found]
from fuxictr.pytorch.layers import FactorizationMachine, FeatureEmbedding, MLP_Block  # type: ignore[import-not-found]
from fuxictr.pytorch.models import BaseModel  # type: ignore[import-not-found]
from fuxictr.pytorch.torch_utils import seed_everything  # type: ignore[import-not-found]
from fuxictr.utils import load_config, set_logger  # type: ignore[import-not-found]

SPLITS = ("train", "valid", "test")


class Network(BaseModel):
    """A tower over the embeddings; in DeepFM, a factorization machine and first-order terms beside
    it.

    Args:
      feature_map: FuxiCTR's.
      params: FuxiCTR's settings of the model.
    """

    def __init__(self, feature_map: Any, params: dict[str, Any]):
        super().__init__(feature_map, **params)
        self.embedding_layer = FeatureEmbedding(feature_map, params["embedding_dim"])
        self.fm = FactorizationMachine(feature_map) if params["model"] == "DeepFM" else None
        self.mlp = MLP_Block(
            input_dim=feature_map.sum_emb_out_dim(),
            output_dim=1,
            hidden_units=params["hidden_units"],
            hidden_activations=params["hidden_activations"],
            output_activation=None,
            dropout_rates=params["net_dropout"],
            batch_norm=params["batch_norm"],
        )
        self.epochs: list[
            tuple[float, float]
        ] = []  # seconds by the clock and of the processor, the validation pass among them
        self.compile(params["optimizer"], params["loss"], params["learning_rate"])
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Probabilities of a batch."""
        ids = self.get_inputs(inputs)
        embedded = self.embedding_layer(ids)
        logit = self.mlp(embedded.flatten(start_dim=1))
        if self.fm is not None:
            logit = logit + self.fm(ids, embedded)
        return {"y_pred": self.output_activation(logit)}

    def train_epoch(self, data_generator: Any) -> None:
        """FuxiCTR's epoch, timed."""
        clock, processor = time.perf_counter(), time.process_time()
        super().train_epoch(data_generator)
        self.epochs.append((time.perf_counter() - clock, time.process_time() - processor))


def encoded(params: dict[str, Any]) -> Any:
    """FuxiCTR's feature map of a log, whose encoded splits lie beside it from now on; `params` then
    names them."""
    encoder = FeatureProcessor(**params)
    folder = encoder.data_dir
    paths = {split: os.path.join(folder, f"{split}.npz") for split in SPLITS}
    if not all(map(os.path.exists, paths.values())):
        frames = {
            split: encoder.preprocess(encoder.read_data(params[f"{split}_data"]))
            for split in SPLITS
        }
        encoder.fit(frames["train"], min_categr_count=params["min_categr_count"])
        for split, frame in frames.items():
            np.savez(paths[split], **encoder.transform(frame.collect().to_dict(as_series=False)))
    params.update({f"{split}_data": path for split, path in paths.items()}, data_format="npz")
    feature_map = FeatureMap(params["dataset_id"], folder)
    feature_map.load(os.path.join(folder, "feature_map.json"), params)
    return feature_map


def main() -> None:
    """Trains, evaluates and writes what came out."""
    config, experiment, result = sys.argv[1:]
    params = load_config(config, experiment)
    torch.set_num_threads(1)
    set_logger(params)
    seed_everything(params["seed"])
    feature_map = encoded(params)
    model = Network(feature_map, params)
    train, valid, test = RankDataLoader(feature_map, stage="both", **params)
    model.fit(train, validation_data=valid, epochs=params["epochs"])
    metrics = model.evaluate(test, metrics=["AUC", "logloss"])
    clock, processor = zip(*model.epochs, strict=True)
    figures = {
        "auc": metrics["AUC"],
        "log_loss": metrics["logloss"],
        "epochs": len(clock),
        "seconds": sum(clock),
        "processor_seconds": sum(processor),
        "features": feature_map.total_features,
    }
    with open(result + ".partial", "w", encoding="utf-8") as file:
        json.dump(figures, file)
    os.replace(result + ".partial", result)


if __name__ == "__main__":
    main()
