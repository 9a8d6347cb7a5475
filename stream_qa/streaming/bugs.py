"""When the code of a stage fails: which record it is, and whether to stop there or to go around it."""

import logging
from collections.abc import Callable, Sequence

from stream_qa.errors import ChunkError, PoisonousRecordError, StateError
from stream_qa.events import SourceRecord, dead_letter
from stream_qa.logs import at
from stream_qa.stages.overlay import Overlay
from stream_qa.stages.state import Outcome, StateReader, joined
from stream_qa.stages.upkeep import UpkeepError

_log = logging.getLogger(__name__)

Process = Callable[[Sequence[SourceRecord], StateReader], Outcome]
"""A stage at one partition: records and the state before them in, what they change and send out."""

_MESSAGE_LETTERS = 500


def guarded(stage: str, process: Process, dead_letters: str | None) -> Process:
    """Return ``process`` with an answer to bugs: it finds the records on which the code fails.

    What it returns raises :class:`~stream_qa.errors.ChunkError` where no record is at fault: no record may be put aside
    for what the next one meets as well.

    Parameters
    ----------
    stage
        Its name.
    process
        What may fail.
    dead_letters
        The topic where such records are kept, with the chunk's other messages; ``None`` to stop at the first.
    """

    def attempt(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        """Process records; what fails without being a record's fault is an error of its own."""
        try:
            return process(records, state)
        except StateError:
            raise
        except Exception as error:
            is_upkeep = isinstance(error, UpkeepError)
            if records and not is_upkeep:
                raise
            bug = ChunkError(f"the {stage} stage {error if is_upkeep else 'fails without any record'}")
            _log.error("%s", bug, exc_info=error, extra={"stage": stage})
            raise bug from error

    def guard(records: Sequence[SourceRecord], state: StateReader) -> Outcome:
        try:
            return attempt(records, state)
        except (StateError, ChunkError):
            raise
        except Exception as error:
            where = _range(records)
            _log.exception("the %s stage fails on %s; looking for the record", stage, where, extra={"stage": stage})
            outcome = _Search(stage, attempt, dead_letters, state).run(records)
            if outcome is None:
                raise ChunkError(f"the {stage} stage fails on {where} and on no record alone") from error
            return outcome

    return guard


class _Search:
    """Processes ever smaller parts of a chunk until only single records fail."""

    def __init__(self, stage: str, process: Process, dead_letters: str | None, state: StateReader) -> None:
        self._stage = stage
        self._process = process
        self._dead_letters = dead_letters
        self._state = Overlay(state)
        self._outcomes: list[Outcome] = []
        """In the order of the records; that of one which fails has its dead letter."""
        self._found = False
        self._used = 0
        self._stops = False
        """Whether records are left: what comes after them waits as well."""

    def run(self, records: Sequence[SourceRecord]) -> Outcome | None:
        """Return the outcome of the chunk without the records that fail; ``None`` where none fails alone.

        Raises
        ------
        PoisonousRecordError
            One does, and this is to stop there.
        ChunkError
            What fails is no record's.
        """
        self._halves(records)
        if not (self._found or self._stops):
            return None
        return joined(self._outcomes)._replace(left=len(records) - self._used)

    def _halves(self, records: Sequence[SourceRecord]) -> None:
        middle = len(records) // 2
        for part in (records[:middle], records[middle:]) if middle else (records,):
            if self._stops:
                return
            try:
                outcome = self._process(part, self._state)
            except (StateError, ChunkError):
                raise
            except Exception as error:  # noqa: BLE001 # of any kind: it is a bug
                if len(part) > 1:
                    self._halves(part)
                else:
                    self._take(self._without(part[0], error), 1)
            else:
                self._take(outcome, len(part) - outcome.left)
                self._stops = outcome.left > 0

    def _take(self, outcome: Outcome, used: int) -> None:
        """Go on from an outcome, of so many records."""
        self._used += used
        self._state.apply(outcome.changes)
        self._outcomes.append(outcome)

    def _without(self, record: SourceRecord, error: Exception) -> Outcome:
        """Return what there is to do without a record on which the code fails, and its dead letter."""
        # First of all: if that fails as well, the record is not why.
        outcome = self._process((), self._state)
        place = f"{record.topic}-{record.partition} at offset {record.offset}"
        # The error's own text can have an id in it: beside the record in the dead letters that says nothing new.
        bug = PoisonousRecordError(f"the {self._stage} stage fails on the record of {place}: {type(error).__name__}")
        if self._dead_letters is None:
            raise bug from error
        where = {**at(record.topic, record.partition, record.offset), "stage": self._stage}
        _log.error("%s; it goes to the dead letters", bug, exc_info=error, extra=where)
        self._found = True
        told = PoisonousRecordError(f"{bug}: {error}"[:_MESSAGE_LETTERS])
        letter = dead_letter(self._dead_letters, self._stage, record, told)
        return outcome._replace(messages=[*outcome.messages, letter])


def _range(records: Sequence[SourceRecord]) -> str:
    """Return which records these are, by topic."""
    topics = dict.fromkeys(f"{record.topic}-{record.partition}" for record in records)
    offsets = {
        topic: [record.offset for record in records if f"{record.topic}-{record.partition}" == topic]
        for topic in topics
    }
    return ", ".join(f"{topic} from offset {found[0]} to {found[-1]}" for topic, found in offsets.items())
