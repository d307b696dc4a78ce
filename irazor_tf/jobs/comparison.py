"""What a job trains and compares: the found config, controls at its size, the points of a curve."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Mapping
from typing import NamedTuple

from irazor_tf.config.input_config import InputConfig
from irazor_tf.config.layout import Role
from irazor_tf.config.search_result import SearchResult
from irazor_tf.jobs.candidates import Candidate, Searched, short_name, unique_names
from irazor_tf.jobs.data import guarded
from irazor_tf.jobs.job import Job
from irazor_tf.search.budget import BudgetError
from irazor_tf.search.method import Search, SearchMethod
from irazor_tf.search.notices import Notices
from irazor_tf.search.run import Outcome, run_search, run_sweep, search_folder

_logger = logging.getLogger("irazor_tf")


class Chain(NamedTuple):
    """The methods of a job, all but the last having searched.

    Args:
      method: The last one.
      space: What the last one searches.
      before: The searches before it.
      seconds: What those took.
      notices: What they had to say, each with the method that says it.
    """

    method: SearchMethod
    space: InputConfig
    before: tuple[Searched, ...]
    seconds: float
    notices: tuple[str, ...]

    def whole(self, result: SearchResult) -> SearchResult:
        """The last method's result with what the searches before it took and had to say."""
        return dataclasses.replace(
            result,
            seconds=self.seconds + result.seconds,
            notices=(*self.notices, *result.notices),
        )


def chain_of(job: Job) -> Chain:
    """Runs all searches of a job but the last, each inside the result of the one before."""
    space, seconds = job.space, 0.0
    before: list[Searched] = []
    notices: list[str] = []
    for method in job.methods[:-1]:
        outcome = guarded(job, functools.partial(run_search, job.trainer, method, space))
        before.append(Searched(method.spec(), outcome.folder))
        space, seconds = outcome.result.config, seconds + outcome.result.seconds
        space.check(job.schema)
        who = f"{method.spec()}: "
        notices += [
            notice if notice.startswith(who) else who + notice for notice in outcome.result.notices
        ]
    return Chain(job.methods[-1], space, tuple(before), seconds, tuple(notices))


class Comparison:
    """The candidates of a job, as they are chosen.

    Args:
      job: The job.
      chain: Its methods.
      result: The found config.
    """

    def __init__(self, job: Job, chain: Chain, result: SearchResult):
        self._job, self._chain, self._result = job, chain, result
        self._full = job.space
        self._notices = Notices()
        self._folder = search_folder(chain.method, chain.space)
        self._explained = {self._folder}  # searches whose explanation is of the first result
        specs = (*(earlier.method for earlier in chain.before), chain.method.spec())
        self._name = " + ".join(map(short_name, specs))

    def candidates(self) -> list[Candidate]:
        """What is trained: the found config, the controls at its size, and the curve.

        A control that the model has no place for, or that keeps nothing as small as it should, is
        left out. A notice of the found config says so, and where the controls cannot be of its size
        because the whole space is smaller.
        """
        found = Candidate(Role.FOUND, self._name, self._result, self._folder, self._chain.before)
        chosen = [found]
        sizes = {"": found.num_params(self._job.schema)}
        for label, candidate in self._points() if self._job.config.curve else ():
            chosen.append(candidate)
            sizes[f" at {label}"] = candidate.num_params(self._job.schema)
        for control in self._job.controls:
            if control.spec() != self._chain.method.spec() or self._chain.before:
                chosen += self._of_control(control, sizes)
        notices = (*self._result.notices, *map(str, self._notices))
        chosen[0] = dataclasses.replace(
            found, result=dataclasses.replace(self._result, notices=notices)
        )
        return unique_names(chosen)

    def _points(self) -> list[tuple[str, Candidate]]:
        """The other settings of the last method, by label."""
        chain, points = self._chain, []
        for label, outcome in run_sweep(self._job.trainer, chain.method, chain.space):
            name, result = f"{self._name} {label}", chain.whole(outcome.result)
            point = Candidate(Role.CURVE, name, result, outcome.folder, chain.before)
            points.append((label, point))
        return points

    def _of_control(self, control: SearchMethod, sizes: Mapping[str, int]) -> list[Candidate]:
        """A control at each of the sizes, or at its own setting and, for a curve, at others."""
        lacking = sorted(control.traits.needs - self._job.base.sites)
        if lacking:
            model = self._job.config.model
            self._notice(f"control {control.spec()} left out: {model} has no {', '.join(lacking)}")
            return []
        own_setting = control.traits.budget == "own"
        chosen: list[Candidate] = []
        search: Search | None = None
        for label, size in ({"": None} if own_setting else dict(sizes)).items():
            if (outcome := self._at_size(control, label, size, search)) is not None:
                search = outcome.search
                chosen.append(_control(control, label, outcome))
        if self._job.config.curve and own_setting:  # else the found curve's sizes are its points
            for label, outcome in run_sweep(self._job.trainer, control, self._full, search):
                name = f"{short_name(control.spec())} {label}"
                chosen.append(Candidate(Role.CURVE, name, outcome.result, outcome.folder))
        return chosen

    def _at_size(
        self, control: SearchMethod, label: str, size: int | None, search: Search | None
    ) -> Outcome | None:
        """A control within so many parameters; None where it keeps nothing there."""
        whole = self._full.num_params(self._job.schema)
        if size is not None and size > whole:
            self._notice(
                f"controls{label} are smaller than the {size:,} parameters they should have: "
                f"the whole space has {whole:,}"
            )
        first = search_folder(control, self._full) not in self._explained
        try:
            outcome = run_search(self._job.trainer, control, self._full, size, search, redraw=first)
        except BudgetError as error:
            self._notice(f"control {control.spec()}{label} left out: {error}")
            return None
        self._explained.add(outcome.folder)
        return outcome

    def _notice(self, text: str) -> None:
        """Keeps a notice of the found config, and logs it once."""
        if text not in map(str, self._notices):
            self._notices.add(text)
            _logger.warning("%s", text)


def _control(control: SearchMethod, label: str, outcome: Outcome) -> Candidate:
    role = Role.CURVE if label else Role.CONTROL
    return Candidate(role, short_name(control.spec()) + label, outcome.result, outcome.folder)
