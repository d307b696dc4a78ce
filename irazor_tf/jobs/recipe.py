"""The values of a job's "auto" settings: derived once, when the data exist, and kept in
`resolved.json`."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any

from data_pipelines.manifest import load_manifest
from irazor_tf.config.files import read_json, understanding, write_json
from irazor_tf.config.recipe import AUTO, RULE, resolved
from irazor_tf.config.schema import Schema
from irazor_tf.jobs.config import NEUTRAL, JobConfig
from irazor_tf.model.base import BaseModel
from irazor_tf.training.options import TrainOptions, known_of

_logger = logging.getLogger("irazor_tf")


def resolved_options(job: JobConfig, schema: Schema, base: BaseModel) -> TrainOptions:
    """The training settings of a job, with numbers and specs in place of "auto".

    `resolved.json` holds the values that the rule gave when the settings were first resolved; later
    calls take them from there, even if the rule has changed. As long as nothing is trained,
    settings that have changed (see `claim`), the base model among them, are resolved anew. A
    trained job of an earlier version goes on without the settings that did not exist then
    (`NEUTRAL`).

    Args:
      job: The job's settings.
      schema: The fields of its data.
      base: Its base model.
    """
    path = job.paths.resolved
    given = {key: getattr(job.train, key) for key in RULE}
    stored = read_json(path)[0] if os.path.exists(path) else {}
    with understanding(path):
        if not stored or not job.has_trained:
            manifest = load_manifest(job.records_dir)
            known = known_of(schema, manifest["splits"]["train"]["rows"], base)
            now = {
                "given": given,
                "fingerprint": schema.fingerprint,
                "known": dataclasses.asdict(known),
            }
            if {key: stored.get(key) for key in now} != now:
                values = resolved(given, known)
                stored = now | {
                    "values": values,
                    "recipe": manifest.get("resolved", {}) | given | values,
                }
                write_json(path, stored)
                if words := _in_words(manifest.get("resolved", {}) | values):
                    _logger.info(
                        "auto: %s (%s rows, %s features; see resolved.json)",
                        words,
                        f"{known.rows:,}",
                        f"{known.features:,}",
                    )
        values = {
            key: (NEUTRAL | stored["values"])[key] for key, value in given.items() if value == AUTO
        }
        return dataclasses.replace(job.train, **values)


def recipe_of(job: JobConfig) -> dict[str, Any]:
    """The values that the job's trainings have for the settings of the rule, name -> value; empty
    before `resolved.json` exists."""
    path = job.paths.resolved
    return read_json(path)[0]["recipe"] if os.path.exists(path) else {}


def _in_words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
