"""The export of the found model: which version holds which model, whether it is undamaged, and how
large exports are."""

from __future__ import annotations

import functools
import logging
import os
import tempfile

import tensorflow as tf

from irazor_tf.config.files import read_json, write_json
from irazor_tf.config.integrity import warn_once
from irazor_tf.evaluation.calibration import Correction
from irazor_tf.jobs.candidates import Candidate
from irazor_tf.jobs.data import guarded, verified
from irazor_tf.jobs.figures import correction_of, is_corrected
from irazor_tf.jobs.final_models import restored_model
from irazor_tf.jobs.job import Job
from irazor_tf.serving import export as export_lib
from irazor_tf.serving import versions

_logger = logging.getLogger("irazor_tf")


def export_found(job: Job, candidate: Candidate) -> str:
    """Exports the candidate's model as a new version, unless an undamaged version with the same
    model and the same correction exists; returns the version's folder."""
    marker, folder = job.paths.exported, job.paths.exports
    done = read_json(marker)[0] if os.path.exists(marker) else {}
    correction = _served_correction(job, candidate)
    numbers = None if correction is None else correction.numbers()
    version, damage = os.path.join(folder, done.get("version", "")), ""
    same = done.get("key") == candidate.key and done.get("correction") == numbers
    is_there = same and os.path.isdir(version)
    if is_there and not (done.get("checksums") or versions.has_checksums(version)):
        warn_once("The export %s has no checksums of its files: it is taken as it is", version)
    elif is_there:
        damage = versions.damage(version)
    if damage:
        _logger.warning(
            "The export %s is damaged (%s): it is made anew under the next number", version, damage
        )
    if not is_there or damage:
        # Written first: a version comes into being by one rename, and whoever finds it then knows
        # whose it is.
        version = str(versions.next_version(folder))
        done = {"key": candidate.key, "correction": numbers, "version": version, "checksums": True}
        write_json(marker, done)
        with tf.device("/CPU:0"):
            model = guarded(job, functools.partial(restored_model, job.on_one_device(), candidate))
            export_lib.export(model, job.schema, folder, correction)
    path = os.path.join(folder, done["version"])
    if "mib" not in done:
        write_json(marker, done | _size(path))
    return path


def export_size(job: Job, candidate: Candidate) -> float:
    """The size of the candidate's export, in MiB of weights and vocabularies: measured once, on a
    SavedModel that is written and removed again."""
    path = job.paths.model(candidate.key).export_size
    if not os.path.exists(path):
        with tempfile.TemporaryDirectory() as folder:
            model = restored_model(job.on_one_device(), candidate)
            write_json(path, _size(export_lib.export(model, job.schema, folder)))
    return read_json(path)[0]["mib"]


def _served_correction(job: Job, candidate: Candidate) -> Correction | None:
    """The correction that the export applies to probabilities; None where they are served as
    trained."""
    if not job.config.calibrate:
        return None
    if not is_corrected(job, candidate):
        verified(job)
    correction = guarded(job, functools.partial(correction_of, job, candidate))
    return None if correction.is_identity else correction


def _size(path: str) -> dict[str, float]:
    """Bytes of an export's variables and assets, and their sum in MiB. The graph is left out (about
    0.1 MiB), because its size varies by a few bytes with what else the process has traced."""
    sizes = versions.size_report(path)
    return {
        "variables": sizes["variables"],
        "assets": sizes["assets"],
        "mib": (sizes["variables"] + sizes["assets"]) / 2**20,
    }
