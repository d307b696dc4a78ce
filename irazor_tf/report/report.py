"""The report of a job: one HTML file, without scripts and without links to anything outside it. No
TensorFlow import.

A section whose stage has not run, or for which the method leaves nothing, is left out; the first
section says which stages have not run.
"""

from __future__ import annotations

from collections.abc import Callable

from irazor_tf.config import integrity
from irazor_tf.config.schema import Schema
from irazor_tf.report.figures.style import house_style
from irazor_tf.report.job_record import JobRecord
from irazor_tf.report.page import page
from irazor_tf.report.sections import baselines, models, overview, per_field, searches
from irazor_tf.report.sections.calibration import calibration
from irazor_tf.report.sections.learned import learned
from irazor_tf.report.sections.learning import learning
from irazor_tf.report.sections.quality import quality
from irazor_tf.report.sections.settings import settings

# The page from top to bottom: title, id, and what makes a section's HTML ("": nothing to show).
SECTIONS: tuple[tuple[str, str, Callable[[JobRecord], str]], ...] = (
    ("What was found", "headline", overview.headline),
    ("Dimension of every field", "dimensions", per_field.dimensions),
    ("What the search learned", "arrays", learned),
    ("Pictures of the searches", "pictures", searches.pictures),
    ("Quality against size", "quality", quality),
    ("Calibration", "calibration", calibration),
    ("What the searches cost", "costs", searches.costs),
    ("Learning curves", "learning", learning),
    ("Every model", "models", models.every_model),
    ("Settings", "settings", settings),
)


def write(model_dir: str, schema: Schema) -> str:
    """Writes the report of a job into its folder.

    Args:
      model_dir: the job's folder.
      schema: the data's fields.

    Returns:
      The report's path.
    """
    job = JobRecord.load(model_dir, schema)
    with house_style():
        sections = [(title, key, section(job)) for title, key, section in SECTIONS]
    title = f"Fields and dimensions: {job.method}"
    text = page(title, overview.lead(job), sections, baselines.first_line(job))
    with integrity.beside(job.paths.report) as file:
        file.write(text)
    return job.paths.report
