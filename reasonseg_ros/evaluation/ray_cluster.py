"""Distributes the samples of a run over workers of a Ray cluster. Each worker holds the models.

Frames and questions are sent to the workers and results come back, so only this process needs the bags and the folder.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from reasonseg_ros.errors import ConfigError, InvalidInput
from reasonseg_ros.evaluation.pipeline import Evaluated, Loaded, Pace, answered, groups, passed_by
from reasonseg_ros.evaluation.reading.clips import Sample
from reasonseg_ros.evaluation.scoring.judging import Scoring, judged
from reasonseg_ros.methods.port import Method
from reasonseg_ros.reasoner.limits import failure
from reasonseg_ros.types import Frame, Query, Segmentation, Status

MOST_TRIES = 3
"""A sample is given up when its worker has died this many times."""

REACHABLE_WITHIN_S = 10.0

GROUPS_A_WORKER = 4
"""Groups in flight for each worker, so that a long answer does not hold up the others."""


class RayWorker:
    """A worker on the cluster: the models, and the stages from encoding to judging."""

    def __init__(self, load_method: Callable[[], Method], scoring: Scoring, pace: Pace) -> None:
        self._method = load_method()
        self._scoring = scoring
        self._pace = pace

    def ready(self) -> bool:
        return True

    def answer(self, group: Sequence[Loaded]) -> list[Evaluated]:
        return list(answered(group, self._method, self._scoring, self._pace))


@dataclass(eq=False)
class _Task:
    """A group in flight. `asked` are its items with a question; `result` is Ray's reference to their outcomes."""

    group: list[Loaded]
    asked: list[Loaded]
    worker: Any = None
    result: Any = None
    tries: int = 0


class RayCluster:
    """Workers on an existing cluster. Use it in a `with` statement, which ends them, also after an error or Ctrl-C.

    Raises ConfigError if Ray is not installed, no cluster answers, or it is too small. Errors of the workers while they
    load the models, such as ModelError, are raised as well.
    """

    def __init__(
        self,
        address: str,
        load_method: Callable[[], Method],
        scoring: Scoring,
        pace: Pace | None = None,
        *,
        workers: int = 0,
        use_gpus: bool = False,
        report: Callable[[str], None] = print,
    ) -> None:
        """`address` is `auto`, `HOST:PORT` or `ray://HOST:PORT`.

        Without `workers` there is one for each GPU, or, without `use_gpus`, one for each CPU. `report` is called with a
        line when a worker dies.
        """
        try:
            import ray
        except ImportError as error:
            raise ConfigError("--ray needs Ray; pip install 'reasonseg_ros[ray]'") from error
        self._ray = ray
        self._address = address
        self._scoring = scoring
        self._pace = pace or Pace()
        self._wanted = workers
        self._resource = "GPU" if use_gpus else "CPU"
        self._arguments = load_method, scoring, self._pace
        self._report = report
        self._workers: list[Any] = []
        self._starting: dict[Any, Any] = {}  # workers by the reference that is ready when they are

    def __enter__(self) -> RayCluster:
        ray = self._ray
        try:
            _check_reachable(self._address)
            ray.init(address=self._address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            lines = str(error.__cause__ or error).strip().splitlines()  # of a traceback, the last line is the reason
            raise ConfigError(
                f"the Ray cluster at {self._address!r} cannot be used "
                f"({lines[-1][:300] if lines else type(error).__name__}); "
                "start one with `ray start --head`, give --ray its address, or set RAY_AUTH_MODE=token where it asks "
                "for a token"
            ) from error
        try:
            there = int(ray.cluster_resources().get(self._resource, 0))
            count = self._wanted or there
            if not 0 < count <= there:
                raise ConfigError(f"{count or 1} workers need a {self._resource} each; the cluster has {there}")
            for _ in range(count):
                self._start()
            ray.get(list(self._starting))
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def workers(self) -> int:
        return len(self._workers) + len(self._starting)

    def answered(self, items: Iterable[Loaded]) -> Generator[Evaluated, None, None]:
        """The outcomes of `items`, in order. Clips of a worker that dies are given to another one."""
        tasks: deque[_Task] = deque()
        for group in groups(items, self._pace.batch_size):
            task = _Task(group, [_portable(item) for item in group if item.frames])
            tasks.append(self._given(task, tasks))
            while len(tasks) > GROUPS_A_WORKER * self.workers:
                yield from self._outcomes(tasks.popleft(), tasks)
        while tasks:
            yield from self._outcomes(tasks.popleft(), tasks)

    def _start(self) -> None:
        options = {"num_cpus": 1, "num_gpus": 1 if self._resource == "GPU" else 0, "max_restarts": 0}
        worker: Any = self._ray.remote(RayWorker).options(**options).remote(*self._arguments)
        self._starting[worker.ready.remote()] = worker

    def _take_those_that_are_up(self) -> None:
        """Use started workers. Replacements may wait for resources of the cluster, so they get no task before."""
        if not self._starting:
            return
        starting = list(self._starting)
        # Without any worker, wait for the first.
        wanted, timeout_s = (len(starting), 0) if self._workers else (1, None)
        for reference in self._ray.wait(starting, num_returns=wanted, timeout=timeout_s)[0]:
            worker = self._starting.pop(reference)
            self._ray.get(reference)
            self._workers.append(worker)

    def _given(self, task: _Task, others: Sequence[_Task]) -> _Task:
        """Give the task to the least busy worker."""
        if not task.asked:
            return task
        self._take_those_that_are_up()
        results = [other.result for other in others if other.result is not None]
        busy = set(self._ray.wait(results, num_returns=len(results), timeout=0)[1]) if results else set()
        load = {id(worker): 0 for worker in self._workers}
        for other in others:
            if other.result in busy and id(other.worker) in load:
                load[id(other.worker)] += 1
        task.worker = min(self._workers, key=lambda worker: load[id(worker)])
        task.result = task.worker.answer.remote(task.asked)
        return task

    def _outcomes(self, task: _Task, others: Sequence[_Task]) -> Iterator[Evaluated]:
        found = iter(self._results(task, others))
        for item in task.group:
            yield next(found) if item.frames else passed_by(item)

    def _results(self, task: _Task, others: Sequence[_Task]) -> list[Evaluated]:
        errors = self._ray.exceptions
        while task.asked:
            try:
                return list(self._ray.get(task.result))
            except errors.RayTaskError:
                raise  # an error of this program, which another worker would repeat
            except errors.RayError as error:
                reason = " ".join(str(error).split())[:200]
            if task.worker in self._workers:
                # It was probably working on this task, so only this one counts the try.
                self._workers.remove(task.worker)
                self._start()
                task.tries += 1
                ids = ", ".join(sample.sample_id for item in task.asked for sample, _ in item.samples)
                self._report(f"a worker died at {ids}, try {task.tries} of {MOST_TRIES}: {reason}")
            if task.tries == MOST_TRIES:
                return [self._given_up(item, reason) for item in task.asked]
            self._given(task, others)
        return []

    def _given_up(self, item: Loaded, reason: str) -> Evaluated:
        answer = failure(Status.FAILED, f"its worker died {MOST_TRIES} times: {reason}", "")
        query = Query(item.clip.question)
        results = [
            judged(item.clip, sample, Segmentation(frame, query, answer), None, self._scoring)
            for sample, frame in item.samples
        ]
        return Evaluated(tuple(results), unreadable=item.unreadable)

    def _leave(self) -> None:
        for worker in [*self._workers, *self._starting.values()]:
            self._ray.kill(worker)
        self._ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises OSError if nothing listens at the address. Ray itself would take minutes to notice."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), timeout=REACHABLE_WITHIN_S).close()


def _portable(item: Loaded) -> Loaded:
    """The item without its references to the open bag."""
    clip = replace(item.clip, frames=tuple(map(_without_image, item.clip.frames)))
    return replace(item, clip=clip, frames=tuple((_without_image(sample), frame) for sample, frame in item.frames))


def _without_image(sample: Sample) -> Sample:
    return replace(sample, load_frame=_left_behind)


def _left_behind() -> Frame:
    raise InvalidInput("the image stays with the process that reads the bag")
