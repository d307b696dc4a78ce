"""The paths and file names of everything in a job's folder; no other module spells them.

A job's folder holds its settings, the records (unless they lie elsewhere), one folder per search,
one per trained model, the export and the report. No TensorFlow import.
"""

from __future__ import annotations

import dataclasses
import enum
import glob
import os


class Role(enum.Enum):
    """The purpose of an entry in `summary.json` and `curve.json`.

    FOUND is the config that the search found, CONTROL a config of the same size by another method,
    CURVE a config at another setting or size. These three are candidates, which are trained.
    BASELINE is a model without embeddings, which is fitted and shown beside them.
    """

    FOUND = "found"
    CONTROL = "control"
    CURVE = "curve"
    BASELINE = "baseline"


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder whose files have fixed names, which a subclass gives as paths.

    Args:
      root: Path of the folder.
    """

    root: str

    def at(self, *parts: str) -> str:
        """The path of a file or folder inside this one.

        Args:
          parts: The path relative to this folder, one name after the other.
        """
        return os.path.join(self.root, *parts)


class RecordsPaths(Folder):
    """The folder that preprocessing writes: block records, vocabularies, counts."""

    # written last: its presence means that the rest is whole
    manifest = property(lambda self: self.at("manifest.json"))
    schema = property(lambda self: self.at("schema.json"))
    counts = property(lambda self: self.at("counts.npz"))
    vocabularies = property(lambda self: self.at("vocab"))
    # where a generated log lies, and the truth about it
    log = property(lambda self: self.at("log"))
    truth = property(lambda self: self.at("log", "truth.json"))

    @property
    def lock(self) -> str:
        """The lock beside the folder, since several jobs may share the records in it."""
        parent, name = os.path.split(os.path.abspath(self.root))
        return os.path.join(parent, f".{name}.lock")

    def vocabulary(self, field: str) -> str:
        """Path of the text file with a line per feature of `field`."""
        return os.path.join(self.vocabularies, f"{field}.txt")


def search_folder_name(method: str, digest: str) -> str:
    """Name of a search's folder, relative to the job's own."""
    return os.path.join("search", f"{method}-{digest}")


class FitPaths(Folder):
    """The folder of one training: its state, the checkpoints that the state names, and TensorBoard
    curves."""

    state = property(lambda self: self.at("state.json"))
    tensorboard = property(lambda self: self.at("tensorboard"))

    def checkpoint(self, step: int) -> str:
        """Name, relative to this folder, of the checkpoint that is written after `step` steps."""
        return f"step-{step}"

    def checkpoint_files(self, name: str = "step-*") -> list[str]:
        """Paths of the files of which the checkpoint called `name` consists; of all checkpoints by
        default."""
        return sorted(glob.glob(os.path.join(glob.escape(self.root), f"{name}.*")))


class SearchPaths(Folder):
    """The folder of one search: its trainings, the searched space, the method's scores and
    pictures, and what the search cost."""

    space = property(lambda self: self.at("space.json"))
    scores = property(lambda self: self.at("scores.json"))  # with the method's arrays beside it
    pictures = property(lambda self: self.at("pictures.json"))
    cost = property(lambda self: self.at("search_cost.json"))

    def fit(self, name: str) -> FitPaths:
        """The folder of the training called `name`."""
        return FitPaths(self.at(name))


class ModelPaths(Folder):
    """The folder of one candidate's final model (or of its models, one per cluster of rows):
    trainings, config and figures."""

    result = property(lambda self: self.at("result.json"))
    metrics = property(lambda self: self.at("metrics.json"))  # of the validation split
    test = property(lambda self: self.at("test.json"))  # of the test split, read once
    correction = property(lambda self: self.at("correction.json"))
    export_size = property(lambda self: self.at("export_size.json"))

    def fit(self, name: str) -> FitPaths:
        """The folder of the training called `name`."""
        return FitPaths(self.at(name))


class RecipePaths(FitPaths):
    """The folder of one recipe of a tuning."""

    diverged = property(lambda self: self.at("diverged.json"))  # there where its loss was no number


class TunePaths(Folder):
    """The folder of the tuning of the training settings."""

    result = property(lambda self: self.at("result.json"))
    flags = property(lambda self: self.at("recipe.flags"))

    def recipe(self, digest: str) -> RecipePaths:
        """The trainings of the recipe with this digest."""
        return RecipePaths(self.at(digest))


class ExportPaths(Folder):
    """The folder of the exported versions, which TensorFlow Serving watches."""

    def version(self, version: int | str) -> str:
        """The folder of the version with this number. A folder gets this name only once it is
        complete."""
        return self.at(str(version))

    def partial(self, version: int | str) -> str:
        """The hidden folder in which the version with this number is written."""
        return self.at(f".{version}.partial")

    def checksums(self, version: int | str) -> str:
        """The file with the checksums of a version's files, in the form that `sha256sum --check`
        reads."""
        return self.at(f"{version}.sha256")


class JobPaths(Folder):
    """The folder of a job: settings, records, searches, trained models, figures, export, report."""

    lock = property(lambda self: self.at(".lock"))
    settings = property(lambda self: self.at("job.json"))
    resolved = property(lambda self: self.at("resolved.json"))
    records = property(lambda self: RecordsPaths(self.at("data")))
    # also where trainings lie that searches share
    searches = property(lambda self: self.at("search"))
    result = property(lambda self: self.at("search", "result.json"))
    candidates = property(lambda self: self.at("candidates.json"))
    models = property(lambda self: self.at("models"))
    summary = property(lambda self: self.at("summary.json"))
    curve = property(lambda self: self.at("curve.json"))
    exports = property(lambda self: self.at("export"))
    # which model is exported, and as what version
    exported = property(lambda self: self.at("export.json"))
    report = property(lambda self: self.at("report.html"))
    tune = property(lambda self: TunePaths(self.at("tune")))

    def search(self, folder: str) -> SearchPaths:
        """The folder of a search.

        Args:
          folder: Its path relative to the job's folder, as `candidates.json` lists it.
        """
        return SearchPaths(self.at(folder))

    def model(self, key: str) -> ModelPaths:
        """The folder of the models that are trained for a candidate.

        Args:
          key: Digest of the candidate, `Candidate.key`.
        """
        return ModelPaths(os.path.join(self.models, key))

    def baseline(self, name: str) -> str:
        """The file with the figures of the baseline called `name`."""
        return self.at("baselines", f"{name}.json")


def shared_fit(key: str) -> str:
    """Name, relative to the shared folder, of the folder of a training that several searches share.

    Args:
      key: Digest of what the training depends on.
    """
    return os.path.join("pretrained", key)


def fits_in(folder: str) -> list[FitPaths]:
    """The folders of the trainings directly inside `folder`, sorted by name."""
    states = glob.glob(os.path.join(glob.escape(folder), "*", "state.json"))
    return [FitPaths(os.path.dirname(path)) for path in sorted(states)]


def fits_below(folder: str) -> list[FitPaths]:
    """The folders of the trainings anywhere below `folder`."""
    states = glob.glob(os.path.join(glob.escape(folder), "**", "state.json"), recursive=True)
    return [FitPaths(os.path.dirname(path)) for path in sorted(states)]
