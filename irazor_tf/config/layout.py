"""Where everything in a job's folder lies: the one owner of its paths and file names.

A job's folder holds its settings, the records (unless they lie elsewhere), one folder per search,
one per trained model, the export, the report. No TensorFlow import."""

from __future__ import annotations

import dataclasses
import enum
import glob
import os


class Role(enum.Enum):
    """Why a candidate is trained, and what else stands beside it in `summary.json` and
    `curve.json`: baselines are no candidates."""

    FOUND = "found"
    CONTROL = "control"
    CURVE = "curve"
    BASELINE = "baseline"


@dataclasses.dataclass(frozen=True)
class Folder:
    """A folder whose files have names of their own.

    Args:
      root: path of the folder.
    """

    root: str

    def at(self, *parts: str) -> str:
        """The path of something inside."""
        return os.path.join(self.root, *parts)


class RecordsPaths(Folder):
    """What preprocessing leaves: block records, vocabularies, counts."""

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
        """The text file with a line per feature of `field`."""
        return os.path.join(self.vocabularies, f"{field}.txt")


def search_folder_name(method: str, digest: str) -> str:
    """Name of a search's folder, relative to the job's own."""
    return os.path.join("search", f"{method}-{digest}")


class FitPaths(Folder):
    """One training: its state, the checkpoints that the state names, curves."""

    state = property(lambda self: self.at("state.json"))
    tensorboard = property(lambda self: self.at("tensorboard"))

    def checkpoint(self, step: int) -> str:
        """Name, in the folder, of the checkpoint after so many steps."""
        return f"step-{step}"

    def checkpoint_files(self, name: str = "step-*") -> list[str]:
        """Paths of the files that a checkpoint consists of; of all checkpoints by default."""
        return sorted(glob.glob(os.path.join(glob.escape(self.root), f"{name}.*")))


class SearchPaths(Folder):
    """One search: the trainings inside, and what the method left of them."""

    space = property(lambda self: self.at("space.json"))
    scores = property(lambda self: self.at("scores.json"))  # with the method's arrays beside it
    pictures = property(lambda self: self.at("pictures.json"))
    cost = property(lambda self: self.at("search_cost.json"))

    def fit(self, name: str) -> FitPaths:
        """The training called `name`."""
        return FitPaths(self.at(name))


class ModelPaths(Folder):
    """One final model (or one per cluster): its trainings and figures."""

    result = property(lambda self: self.at("result.json"))
    metrics = property(lambda self: self.at("metrics.json"))  # of the validation split
    test = property(lambda self: self.at("test.json"))  # of the test split, read once
    correction = property(lambda self: self.at("correction.json"))
    export_size = property(lambda self: self.at("export_size.json"))

    def fit(self, name: str) -> FitPaths:
        """The training called `name`."""
        return FitPaths(self.at(name))


class TunePaths(Folder):
    """The tuning of the training recipe."""

    result = property(lambda self: self.at("result.json"))
    flags = property(lambda self: self.at("recipe.flags"))


class ExportPaths(Folder):
    """A folder of exported versions, as TensorFlow Serving watches it."""

    def version(self, version: int | str) -> str:
        """The folder of a version, complete from the moment that it has this name."""
        return self.at(str(version))

    def partial(self, version: int | str) -> str:
        """The hidden folder in which a version is written."""
        return self.at(f".{version}.partial")

    def checksums(self, version: int | str) -> str:
        """The checksums of a version's files, in the form that `sha256sum --check` reads."""
        return self.at(f"{version}.sha256")


class JobPaths(Folder):
    """A job's folder."""

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
        """A search by its folder, which stands in `candidates.json` relative to the job's own."""
        return SearchPaths(self.at(folder))

    def model(self, key: str) -> ModelPaths:
        """The models trained for the candidate with this key."""
        return ModelPaths(os.path.join(self.models, key))

    def baseline(self, name: str) -> str:
        """The figures of a baseline."""
        return self.at("baselines", f"{name}.json")


def shared_fit(key: str) -> str:
    """Name of the folder of a training that several searches share."""
    return os.path.join("pretrained", key)


def fits_in(folder: str) -> list[FitPaths]:
    """The trainings that lie right inside a folder, by name."""
    states = glob.glob(os.path.join(glob.escape(folder), "*", "state.json"))
    return [FitPaths(os.path.dirname(path)) for path in sorted(states)]


def fits_below(folder: str) -> list[FitPaths]:
    """The trainings anywhere under a folder."""
    states = glob.glob(os.path.join(glob.escape(folder), "**", "state.json"), recursive=True)
    return [FitPaths(os.path.dirname(path)) for path in sorted(states)]
