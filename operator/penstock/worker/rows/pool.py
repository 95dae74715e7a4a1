"""Threads with a DuckDB each, and no more chunks under way than they can hold."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from threading import Event, Lock, local
from types import TracebackType
from typing import Self

from penstock.api.fields import SchemaField
from penstock.worker.pod import Pod
from penstock.worker.ports.chunks import Columns
from penstock.worker.ports.ledger import Claim
from penstock.worker.ports.source import Work
from penstock.worker.rows import engine, quality, shape
from penstock.worker.rows.rowrules import RowQuestion
from penstock.worker.rows.shape import NO_LIMITS, Limits
from penstock.worker.rows.shaped import Shape

_ENGINE_SHARE = 0.4
"""Share of the Pod's memory that DuckDB may use; the rest is for Arrow, writers and Python."""
_NO_LIMIT = 4 << 30
_WIDE = 500
"""Fields from which one thread works alone: what threads and writers keep in memory grows with the columns."""
_SHAPES = 64
"""How many sets of columns are kept compiled: inputs may all be different."""

Asked = tuple[Shape, quality.Questions]


class Pool:
    """As many threads as there are processors; they end with the block."""

    def __init__(
        self,
        fields: list[SchemaField],
        claim: Claim,
        pod: Pod,
        limits: Limits = NO_LIMITS,
        row_rules: RowQuestion | None = None,
    ) -> None:
        self._row_rules = row_rules
        self._fields, self._claim, self._pod, self._limits = fields, claim, pod, limits
        self._threads = 1 if len(fields) > _WIDE else pod.processors
        self._memory = int((pod.memory or _NO_LIMIT) * _ENGINE_SHARE) // self._threads
        self._own = local()
        self._asked: dict[Columns, Asked] = {}
        self._lock = Lock()
        self._ended = Event()
        self._executor = ThreadPoolExecutor(self._threads, thread_name_prefix="stage")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None) -> None:
        if kind is not None:
            self._ended.set()  # what is under way ends at its next block
        self._executor.shutdown(wait=True, cancel_futures=True)

    def asked(self, columns: Columns, where: str) -> Asked:
        """What rows of these columns are asked, compiled once: it takes longer than a small input.

        Raises InvalidSpec (WrongSpecification) when the Dataset's fields cannot be made of them.
        """
        with self._lock:
            if columns not in self._asked:
                if len(self._asked) == _SHAPES:
                    del self._asked[next(iter(self._asked))]
                shaped = shape.compiled(self._fields, columns, where, self._limits)
                self._asked[columns] = shaped, quality.questions(shaped, self._row_rules)
            return self._asked[columns]

    @property
    def judge(self) -> quality.Judge:
        """This thread's DuckDB."""
        if not hasattr(self._own, "judge"):
            self._own.judge = quality.Judge(engine.connect(self._memory, 1, self._pod.scratch))
        return self._own.judge  # type: ignore[no-any-return]  # threading.local has no types

    def each(self, tasks: Iterable[Callable[[], None]]) -> None:
        """Run every task, taking the next one only when there is room, so that memory stays bounded.

        The first failure ends it, in the order of the tasks; what is under way then is waited for.
        """
        running: deque[Future[None]] = deque()
        try:
            for task in tasks:
                running.append(self._executor.submit(task))
                if len(running) > self._threads:
                    running.popleft().result()
            while running:
                running.popleft().result()
        except Exception:  # of a task, or of what gives the next one
            wait(running)
            for future in running:
                future.result()
            raise

    def wanted(self, works: Iterable[Work]) -> Iterator[Work]:
        """The works, as long as they are of use: the claim is not lost, and nobody has ended the run."""
        for parse in works:
            self.require()
            yield parse

    def require(self) -> None:
        """Raise CancelledError when somebody has ended the run, and the claim's error when it is lost."""
        self._claim.require()
        if self._ended.is_set():
            raise CancelledError
