"""The report's section on calibration: predictions, as trained and calibrated, compared with the
rate of positives. No TensorFlow import."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irazor_tf.config.layout import ModelPaths
from irazor_tf.report.figures.curves import reliability
from irazor_tf.report.formats import number
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import data_table, figure, paragraph
from irazor_tf.report.search_record import read

Point = Mapping[str, Any]


def calibration(job: JobRecord) -> str:
    """HTML of the section: the found model in bins of its predictions, and a table with a row per
    compared model; "" where the task has no probabilities."""
    points = [point for point in job.compared if point.get("calibration")]
    if not points:
        return ""
    # Only the summary's records have bins, the found model's first.
    summary = job.summary[0] if job.summary else {}
    binned = summary if summary.get("name") == points[0]["name"] else points[0]
    return _described(job, points[0]) + _reliability(binned) + _compared(points)


def _described(job: JobRecord, point: Point) -> str:
    """HTML of a paragraph: how far the found model's predictions are off, which correction mends
    them, and whether it is served with that correction."""
    trained, calibrated = point["calibration"], point["calibrated"]
    text = (
        f"{point['name']} predicts {trained['mean_prediction']:.4f} on average on the test split, "
        f"of whose {trained['rows']:,} rows {trained['rate']:.4f} are positive; its expected "
        f"calibration error is {trained['calibration_error']:.4f}. "
        f"Calibrated, p' = {_formula(point['correction'])}, it predicts "
        f"{calibrated['mean_prediction']:.4f} with an error of "
        f"{calibrated['calibration_error']:.4f}"
    )
    if "calibrated_log_loss" in point:
        text += (
            f", and its log loss goes from {point['log_loss']:.4f} to "
            f"{point['calibrated_log_loss']:.4f}"
        )
    text += "."
    if job.exported:
        as_trained = "predictions as trained; with --calibrate it serves calibrated ones"
        served = "calibrated predictions" if job.exported.get("correction") else as_trained
        text += f" The export serves {served}."
    model = ModelPaths(job.paths.at(point.get("folder", "")))
    notices = (read(model.correction) or {}).get("notices", ())
    return "".join([paragraph(text), *(paragraph(notice, "note") for notice in notices)])


def _formula(correction: Mapping[str, float]) -> str:
    slope, intercept = correction["slope"], correction["intercept"]
    return f"sigmoid({slope:.4g} logit(p) {'-' if intercept < 0 else '+'} {abs(intercept):.4g})"


def _reliability(point: Point) -> str:
    """HTML of the reliability diagram of a model and of its numbers; "" where its record has no
    bins."""
    trained, calibrated = (point[key].get("bins", ()) for key in ("calibration", "calibrated"))
    if not trained or len(trained) != len(calibrated):
        return ""
    drawn = reliability({"as trained": trained, "calibrated": calibrated})
    caption = (
        f"{point['name']}: test rows sorted by prediction, in {len(trained)} bins of equal "
        "count; a bar is the rate's standard error."
    )
    rows = []
    for place, (before, after) in enumerate(zip(trained, calibrated, strict=True), 1):
        numbers = [
            before["mean_prediction"],
            before["rate"],
            before["mean_prediction"] - before["rate"],
            after["mean_prediction"],
            after["mean_prediction"] - after["rate"],
        ]
        rows.append([str(place), f"{before['rows']:,}", *map(number, numbers)])
    header = ["Bin", "Rows", "Mean prediction", "Rate of positives", "Difference"]
    header += ["Calibrated prediction", "Difference"]
    return figure(drawn, "reliability", caption) + data_table(header, rows)


def _compared(points: Sequence[Point]) -> str:
    """HTML of a table with a row per compared model, the found one first."""
    rows = []
    for point in points:
        trained, calibrated = point["calibration"], point["calibrated"]
        numbers = [
            trained["mean_prediction"],
            trained["rate"],
            trained["calibration_error"],
            calibrated["mean_prediction"],
            calibrated["calibration_error"],
            point.get("log_loss"),
            point.get("calibrated_log_loss"),
        ]
        rows.append([point["name"], *map(number, numbers), _formula(point["correction"])])
    header = ["Name", "Mean prediction", "Rate of positives", "Calibration error"]
    header += ["Calibrated prediction", "Calibrated error"]
    header += ["Log loss", "Calibrated log loss", "Calibrated p"]
    note = (
        "Calibration error: the mean over ten bins of equal count of |mean prediction - rate of "
        "positives|, weighted by rows. All figures are of the test split; the corrections were "
        "fitted on the validation split, which has chosen the epoch, too, and whose own figures "
        "flatter them. A correction with a positive slope changes neither the order of rows nor "
        "AUC. It is the one of least log loss: where the points above lie on a bent line, which "
        "no slope straightens, the calibration error may grow all the same."
    )
    classes = ["found", *["plain"] * (len(points) - 1)]
    return data_table(header, rows, classes=classes) + paragraph(note, "note")
