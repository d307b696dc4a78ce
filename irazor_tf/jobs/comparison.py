"""The choice of a job's candidates: the found config, controls at its size, the points of a
curve."""

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
    """The chained methods of a job, after all but the last have searched.

    Args:
      method: The last method.
      space: The config that the last method searches: the result of the one before it.
      before: The searches of the methods before the last.
      seconds: Wall time of those searches together.
      notices: Notices of those searches, each with the name of its method.
    """

    method: SearchMethod
    space: InputConfig
    before: tuple[Searched, ...]
    seconds: float
    notices: tuple[str, ...]

    def whole(self, result: SearchResult) -> SearchResult:
        """The result of the last method, to which the seconds and notices of the searches before it
        are added."""
        return dataclasses.replace(
            result,
            seconds=self.seconds + result.seconds,
            notices=(*self.notices, *result.notices),
        )


def chain_of(job: Job) -> Chain:
    """Runs all searches of a job but the last; each searches inside the result of the one
    before."""
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
    """The choice of a job's candidates.

    Args:
      job: The job.
      chain: The job's chained methods.
      result: The result of the last method, the found config.
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
        """The candidates: the found config, the controls at its size, and the points of the curve.

        A control is left out where the model lacks the site that the control needs, or where the
        control keeps nothing at so small a size. A notice of the found config says so, and also
        where the controls cannot have its size because the whole space is smaller.
        """
        main = Candidate(Role.FOUND, self._name, self._result, self._folder, self._chain.before)
        chosen = [main]
        sizes = {"": main.num_params(self._job.schema)}
        for label, candidate in self._points() if self._job.config.curve else ():
            chosen.append(candidate)
            sizes[f" at {label}"] = candidate.num_params(self._job.schema)
        for control in self._job.controls:
            if control.spec() != self._chain.method.spec() or self._chain.before:
                chosen += self._of_control(control, sizes)
        notices = (*self._result.notices, *map(str, self._notices))
        chosen[0] = dataclasses.replace(
            main, result=dataclasses.replace(self._result, notices=notices)
        )
        return unique_names(chosen)

    def _points(self) -> list[tuple[str, Candidate]]:
        """The points of the last method's curve: (label, candidate) for each of its other
        settings."""
        chain, points = self._chain, []
        for label, outcome in run_sweep(self._job.trainer, chain.method, chain.space):
            name, result = f"{self._name} {label}", chain.whole(outcome.result)
            point = Candidate(Role.CURVE, name, result, outcome.folder, chain.before)
            points.append((label, point))
        return points

    def _of_control(self, control: SearchMethod, sizes: Mapping[str, int]) -> list[Candidate]:
        """The candidates of one control: one for each size, or, for a control that has a size of
        its own, that one and, with a curve, those of its other settings.

        Args:
          control: The control.
          sizes: Label of a size -> number of embedding parameters.
        """
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
        """The outcome of a control that is given a size as its budget; None where it keeps nothing
        there.

        Args:
          control: The control.
          label: Label of the size, for the notice.
          size: Most embedding parameters. None for the control's own setting.
          search: The control's trained search. None where it has none yet.
        """
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
        """Adds a notice to those of the found config and logs it, unless it is there already."""
        if text not in map(str, self._notices):
            self._notices.add(text)
            _logger.warning("%s", text)


def _control(control: SearchMethod, label: str, outcome: Outcome) -> Candidate:
    role = Role.CURVE if label else Role.CONTROL
    return Candidate(role, short_name(control.spec()) + label, outcome.result, outcome.folder)
