"""What a job's "auto" settings stand for: resolved once, when the data are there, and kept in `resolved.json`."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import Any

from data_pipelines.records import load_manifest
from irazor_tf.base_model import MODELS
from irazor_tf.job_config import JobConfig
from irazor_tf.json_files import read_json, understanding, write_json
from irazor_tf.recipe import RULE, resolved
from irazor_tf.schema import Schema
from irazor_tf.trainer import known_of

_notices = logging.getLogger("irazor_tf")


def resolved_job(job: JobConfig, schema: Schema) -> JobConfig:
    """The job with values for what is "auto" in its training settings.

    `resolved.json` holds what the rule said when the settings were first resolved, and a later call takes it from there, whatever the
    rule says by then. Settings that have changed since, which `job_config.claim` allows as long as nothing is trained, are resolved anew.
    """
    path = job.path("resolved.json")
    given = {key: getattr(job.train, key) for key in RULE}
    stored = read_json(path)[0] if os.path.exists(path) else {}
    with understanding(path):
        if not stored or stored["given"] != given or stored["fingerprint"] != schema.fingerprint:
            manifest = load_manifest(job.records_dir)
            known = known_of(schema, manifest["splits"]["train"]["rows"], MODELS.build(job.model))
            values = resolved(given, known)
            whole = manifest.get("resolved", {}) | given | values
            stored = {"given": given, "fingerprint": schema.fingerprint, "known": dataclasses.asdict(known)}
            stored |= {"values": values, "recipe": whole}
            write_json(path, stored)
            if said := _said(manifest.get("resolved", {}) | values):
                _notices.info("auto: %s (%s rows, %s features; see resolved.json)", said, f"{known.rows:,}", f"{known.features:,}")
        return dataclasses.replace(job, train=dataclasses.replace(job.train, **stored["values"]))


def recipe_of(job: JobConfig) -> dict[str, Any]:
    """The settings of the rule as the job's trainings have them; empty before the data are there."""
    path = job.path("resolved.json")
    return read_json(path)[0]["recipe"] if os.path.exists(path) else {}


def _said(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
