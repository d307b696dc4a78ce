"""The report's section on calibration: predictions against what happened, as trained and
calibrated. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irazor_tf.report import plots
from irazor_tf.report.job_folder import JobFolder, read
from irazor_tf.report.page import data_table, figure, number, paragraph


def calibration(job: JobFolder) -> str:
    """The found model in bins of its predictions, and a row per compared model; nothing where the
    task has no probabilities."""
    known = [point for point in job.compared if point.get("calibration")]
    if not known:
        return ""
    # Of the points only the summary's have bins, the found model's first.
    own = job.summary[0] if job.summary and job.summary[0]["name"] == known[0]["name"] else known[0]
    return _told(job, known[0]) + _binned(own) + _compared(known)


def _told(job: JobFolder, point: Mapping[str, Any]) -> str:
    """How far off the found model is, what corrects it, and what is served."""
    trained, mended = point["calibration"], point["calibrated"]
    text = (
        f"{point['name']} predicts {trained['mean_prediction']:.4f} on average on the test split, "
        f"of whose {trained['rows']:,} rows "
        f"{trained['rate']:.4f} are positive; its expected calibration error is "
        f"{trained['calibration_error']:.4f}. "
        f"Calibrated, p' = {_formula(point['correction'])}, it predicts "
        f"{mended['mean_prediction']:.4f} with an error of "
        f"{mended['calibration_error']:.4f}"
    )
    if "calibrated_log_loss" in point:
        text += (
            f", and its log loss goes from {point['log_loss']:.4f} to "
            f"{point['calibrated_log_loss']:.4f}"
        )
    found = [f"{text}."]
    exported = read(job.path, "export.json")
    if exported:
        as_trained = "predictions as trained; with --calibrate it serves calibrated ones"
        found.append(
            "The export serves "
            f"{'calibrated predictions' if exported.get('correction') else as_trained}."
        )
    notices = (read(job.path, point.get("folder", ""), "correction.json") or {}).get("notices", ())
    return "".join([paragraph(" ".join(found)), *(paragraph(notice, "note") for notice in notices)])


def _formula(correction: Mapping[str, float]) -> str:
    slope, intercept = correction["slope"], correction["intercept"]
    return f"sigmoid({slope:.4g} logit(p) {'-' if intercept < 0 else '+'} {abs(intercept):.4g})"


def _binned(point: Mapping[str, Any]) -> str:
    """The reliability diagram and its numbers."""
    trained, mended = (point[key].get("bins", ()) for key in ("calibration", "calibrated"))
    if not trained or len(trained) != len(mended):
        return ""
    drawn = plots.reliability({"as trained": trained, "calibrated": mended})
    caption = (
        f"{point['name']}: test rows sorted by prediction, in {len(trained)} bins of equal "
        "count; a bar is the rate's standard error."
    )
    rows = []
    for place, (own, other) in enumerate(zip(trained, mended, strict=True)):
        figures = [own["mean_prediction"], own["rate"], own["mean_prediction"] - own["rate"]]
        figures += [other["mean_prediction"], other["mean_prediction"] - other["rate"]]
        rows.append([str(place + 1), f"{own['rows']:,}", *map(number, figures)])
    header = [
        "Bin",
        "Rows",
        "Mean prediction",
        "Rate of positives",
        "Difference",
        "Calibrated prediction",
        "Difference",
    ]
    return figure(drawn, "reliability", caption) + data_table(header, rows)


def _compared(points: Sequence[Mapping[str, Any]]) -> str:
    rows, kinds = [], []
    for place, point in enumerate(points):
        trained, mended = point["calibration"], point["calibrated"]
        figures = [
            trained["mean_prediction"],
            trained["rate"],
            trained["calibration_error"],
            mended["mean_prediction"],
        ]
        figures += [
            mended["calibration_error"],
            point.get("log_loss"),
            point.get("calibrated_log_loss"),
        ]
        rows.append([point["name"], *map(number, figures), _formula(point["correction"])])
        kinds.append("plain" if place else "found")
    header = [
        "Name",
        "Mean prediction",
        "Rate of positives",
        "Calibration error",
        "Calibrated prediction",
        "Calibrated error",
    ]
    header += ["Log loss", "Calibrated log loss", "Calibrated p"]
    note = (
        "Calibration error: the mean over ten bins of equal count of |mean prediction - rate of "
        "positives|, weighted by rows. All figures "
        "are of the test split; the corrections were fitted on the validation split, which has "
        "chosen the epoch, too, and whose own "
        "figures flatter them. A correction with a positive slope changes neither the order of "
        "rows nor AUC. It is the one of least log "
        "loss: where the points above lie on a bent line, which no slope straightens, the "
        "calibration error may grow all the same."
    )
    return data_table(header, rows, classes=kinds) + paragraph(note, "note")
