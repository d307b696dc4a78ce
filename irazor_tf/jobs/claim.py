"""The claim on a job's folder: `job.json` holds the settings with which the work in it was begun,
and a call with other settings is refused with a list of the differences."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from data_pipelines.manifest import load_manifest
from irazor_tf.config import integrity, plugins
from irazor_tf.config.files import read_json, understanding, write_json
from irazor_tf.config.recipe import AUTO
from irazor_tf.config.specs import parse_specs
from irazor_tf.jobs.config import NEUTRAL, JobConfig
from irazor_tf.jobs.job import Job

# Trained models do not tell by what settings they were trained, and would be shown under others.
_SETTINGS_GONE = (
    "Restore it, or delete the folders `search` and `models` beside it, or take another `model_dir`"
)


def claim(work: Job) -> None:
    """Writes the settings into `job.json`, or refuses settings that do not fit to the work that is
    in the folder already.

    Records fix the settings of the data (where the job gives none, those of the records are taken).
    A training whose state is on disk, or a found config, fixes all other settings that it depends
    on, and the data's fingerprint. Before either exists, settings may still change: a name mistyped
    in the first call, or a batch larger than the log, does no harm.

    Args:
      work: The job.

    Raises:
      ValueError: settings have changed; the message lists each old and new value.
    """
    job = work.config
    path = job.paths.settings
    before = _written(path)
    if before.get("settings", {}).get("train"):
        # What "auto" stood for is kept since before there was this one, so "auto" may stand for
        # what the job had: see `resolved_job`.
        open_steps = {"search_steps": AUTO} if job.train.search_steps == AUTO else {}
        before["settings"]["train"] = NEUTRAL | open_steps | before["settings"]["train"]
    if not before and job.has_trained:
        raise ValueError(
            "What was trained in a folder should have its settings beside it. Received: no "
            f"{path}. {_SETTINGS_GONE}"
        )
    old, settings = before.get("settings", {}), _plain(job.settings())
    fingerprint = _check_records(work, settings)
    if before and job.has_trained:
        changed = _difference(_but_data(old), _but_data(settings))
        known = before.get("data_fingerprint")
        if known and fingerprint:
            changed += _difference(known, fingerprint, "data fingerprint")
        if changed:
            raise ValueError(
                f"The settings should be those that {path} was begun with, or `model_dir` another. "
                f"Received: {'; '.join(changed)}"
            )
        fingerprint = fingerprint or known
    chosen = job.choices() | {
        "calibrate": job.calibrate,
        "baselines": list(job.baselines),
        "data_dir": job.data_dir,
    }
    chosen |= {"distribution_strategy": job.distribution_strategy}
    if plugins.loaded():
        chosen["plugins"] = list(plugins.loaded())
    now = {
        "settings": settings,
        "chosen": chosen,
        "data_fingerprint": fingerprint,
        "trained": before.get("trained"),
    }
    if now != before:
        write_json(path, now)


def _check_records(work: Job, settings: dict[str, Any]) -> str | None:
    """The fingerprint of the job's records; None where there are none yet.

    Args:
      work: The job.
      settings: The job's settings as JSON. Where they do not say how the records were made, what
        the records' manifest says is entered in them.

    Raises:
      ValueError: the settings and the manifest differ.
    """
    job = work.config
    if not job.has_records:
        return None
    manifest = load_manifest(job.records_dir)
    made_with = manifest["options"]
    if job.data is None:
        settings["data"] = made_with or None
        return manifest["fingerprint"]
    changed = _difference(made_with, _moved(settings["data"], made_with), "data")
    if manifest.get("described") is not None and not changed:
        described = work.reader.described()
        changed = _difference(manifest["described"], described, job.data.schema or "data")
    if changed:
        raise ValueError(
            f"The settings of the data should be those that the records in {job.records_dir} "
            "were made with (or be left out), or the "
            f"folder another. Received: {'; '.join(changed)}"
        )
    return manifest["fingerprint"]


@contextlib.contextmanager
def naming_plugins(job: JobConfig) -> Iterator[None]:
    """A context in which a ValueError also names the plug-ins that the job was begun with, and that
    this process has not loaded."""
    try:
        yield
    except ValueError as error:
        chosen = _written(job.paths.settings).get("chosen")
        begun_with = chosen.get("plugins", []) if isinstance(chosen, dict) else []
        if not (missing := plugins.missing(begun_with)):
            raise
        raise ValueError(f"{error}. The job was begun with --plugin={','.join(missing)}") from None


def mark_trained(job: JobConfig) -> None:
    """Notes in `job.json` the choices for which the models listed in `candidates.json` were
    trained."""
    path = job.paths.settings
    write_json(path, _written(path) | {"trained": job.choices()})


def check_trained(job: JobConfig) -> None:
    """Raises ValueError where the models listed in `candidates.json` were trained for other choices
    than the job's, or where no models were trained."""
    path = job.paths.settings
    trained = _written(path).get("trained")
    if trained is None:
        raise ValueError(
            "Models should be trained before this stage (retrain). Received: none in "
            f"{job.model_dir}"
        )
    with understanding(path):
        changed = _difference(_respelled(trained), _respelled(_plain(job.choices())))
    if changed:
        raise ValueError(
            "The choices should be those that models were last trained for (retrain). Received: "
            f"{'; '.join(changed)}"
        )


def _written(path: str) -> dict[str, Any]:
    """The content of `job.json`; an empty dict where there is no such file.

    Raises:
      ValueError: the file is damaged, or does not hold settings.
    """
    if integrity.damaged(path):
        raise ValueError(
            f"`job.json` should be as the job wrote it. Received: {path}, with another content. "
            f"{_SETTINGS_GONE}"
        )
    value = read_json(path)[0] if os.path.exists(path) else {}
    if not isinstance(value, dict) or not isinstance(value.get("settings", {}), dict):
        raise ValueError(
            f"`job.json` should hold a job's settings. Received: {path}, with other things. "
            f"{_SETTINGS_GONE}"
        )
    return value


def _but_data(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key != "data"}


def _respelled(choices: dict[str, Any]) -> dict[str, Any]:
    """The choices, with the spec of the method in the spelling that parsing and printing give
    it."""
    return choices | {"method": " + ".join(map(str, parse_specs(choices["method"])))}


def _moved(options: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """The options, with the old path of a schema file that has merely been moved (as happens with a
    newly installed package): same name, and gone from its old place.

    Args:
      options: Options of the data as they are now.
      before: Options that the records were made with.
    """
    old, new = before.get("schema"), options["schema"]
    if old and new and not os.path.exists(old) and os.path.basename(old) == os.path.basename(new):
        return options | {"schema": old}
    return options


def _plain(value: Any) -> Any:
    """The value as JSON would give it back: tuples as lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _difference(before: Any, now: Any, name: str = "") -> list[str]:
    """A sentence "`name` was ... and is ..." for every value that differs.

    Args:
      before, now: The two values; objects are compared key by key.
      name: Name of the value, with dots between keys.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [
            line
            for key in keys
            for line in _difference(before.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    return [] if before == now else [f"`{name}` was {before!r} and is {now!r}"]
