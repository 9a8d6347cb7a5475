"""What a chunk on its way through the label stage learns of silence: which applications to look at, and what to say."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import islice

from stream_qa.events.fields import MAX_EVENT_TIME
from stream_qa.labels.event_time import (
    activity_key,
    sent_to_entry,
    sent_to_key,
    sent_to_range,
    visiting_job,
    visiting_key,
    visiting_range,
)
from stream_qa.labels.life_cycle import KnownApplication, SilentNegative
from stream_qa.labels.silence import Activity, SilenceSays
from stream_qa.stages.state import StateReader

Sent = tuple[int, str]
"""When an application was sent (ms), and its id."""


class LabelSilence:
    """The jobs of a chunk.

    Parameters
    ----------
    says
        The rule.
    state
        The label table of the partition.
    changes
        Takes in what changes there.
    most
        Applications that may be visited, about: what is more waits for the next chunk.
    """

    def __init__(self, says: SilenceSays, state: StateReader, changes: dict[bytes, bytes | None], most: int) -> None:
        self._says = says
        self._state = state
        self._changes = changes
        self._left = most
        self._activities: dict[str, Activity] = {}
        self._changed: set[str] = set()
        self._visiting = [visiting_job(key) for key, _ in state.scan(*visiting_range())]
        self._sent: defaultdict[str, list[Sent]] = defaultdict(list)
        """The chunk's own applications by job, which the table does not have yet."""

    @property
    def was_unfinished(self) -> bool:
        """Whether chunks before have left applications to visit."""
        return bool(self._visiting)

    @property
    def has_room(self) -> bool:
        """Whether more applications may be visited; while it is so, none is left."""
        return self._left > 0

    @property
    def unfinished(self) -> bool:
        """Whether applications are left to visit."""
        return any(activity.visits for activity in self._activities.values())

    def load(self, jobs: Iterable[str]) -> None:
        """Read at once what is known of the chunk's jobs."""
        ids = list(dict.fromkeys([*jobs, *self._visiting]))
        stored = self._state.get_many([activity_key(job_id) for job_id in ids])
        self._activities = {job_id: Activity.unpack(record) for job_id, record in zip(ids, stored, strict=True)}

    def left_before(self, open_since: int) -> list[tuple[int, list[Sent]]]:
        """Return when (ms) the answer came, and the applications that chunks before left to visit for it, by job."""
        # In this order: what is visited is left no more.
        return [(self._activities[job_id].visiting_at, self._visit(job_id, open_since)) for job_id in self._visiting]

    def expect_answer(self, application: KnownApplication) -> None:
        """Put an application where an answer to another one will find it."""
        job_id, sent = application.job_id, (application.applied_at, application.application_id)
        self._changes[sent_to_key(job_id, *sent)] = b""
        self._sent[job_id].append(sent)

    def answered(self, application: KnownApplication, answered_at: int, open_since: int) -> list[Sent]:
        """Return the applications to look at because this one was answered for the first time.

        Parameters
        ----------
        application
            The answered one.
        answered_at
            When it was answered (ms), and not before it was sent.
        open_since
            Applications sent until then (ms) are closed, and need no look.
        """
        activity = self._activities[application.job_id]
        activity.visits += self._says.answered(activity, application.applied_at, answered_at)
        self._changed.add(application.job_id)
        return self._visit(application.job_id, open_since)

    def says(self, application: KnownApplication, moment: int, said: SilentNegative | None) -> SilentNegative | None:
        """Return what silence says of an unanswered application at ``moment`` (ms); ``None`` for nothing new."""
        return self._says.says(self._activities[application.job_id], application.applied_at, moment, said)

    def end(self, job_id: str, applied_at: int, application_id: str, open_since: int) -> None:
        """Forget an application that is over; and the job, where that says nothing of any that is left.

        Parameters
        ----------
        job_id, applied_at, application_id
            The application; those of its job that were sent before it are over already.
        open_since
            Applications sent until then (ms) are closed.
        """
        self._changes[sent_to_key(job_id, applied_at, application_id)] = None
        activity = self._activities[job_id]
        # An answer may be younger than applications that are open: then a later one is the last to need it.
        if activity.answered <= applied_at and (
            activity.newest <= open_since or self._is_last(job_id, applied_at, application_id)
        ):
            self._activities[job_id] = Activity()
            self._changed.add(job_id)

    def save(self) -> None:
        """Turn what has changed into changes of the table."""
        for job_id in self._changed:
            activity = self._activities[job_id]
            self._changes[activity_key(job_id)] = None if activity == Activity() else activity.pack()
            if activity.visits:
                self._changes[visiting_key(job_id)] = b""
            elif job_id in self._visiting:
                self._changes[visiting_key(job_id)] = None

    def _is_last(self, job_id: str, applied_at: int, application_id: str) -> bool:
        """Return whether no application of a job was sent after this one."""
        stored = self._state.scan(*sent_to_range(job_id, applied_at, MAX_EVENT_TIME + 1, application_id))
        return next(stored, None) is None and max(self._sent[job_id], default=(0, "")) <= (applied_at, application_id)

    def _visit(self, job_id: str, open_since: int) -> list[Sent]:
        """Return the applications of a job that are to be visited, as many as may be."""
        visits, found = self._activities[job_id].visits, []
        while visits and self._left > 0:
            visit = visits[0]
            since = max(visit.since, open_since + 1)
            start, end = sent_to_range(job_id, since, visit.before, visit.after if since == visit.since else "")
            stored = [sent_to_entry(job_id, key) for key, _ in islice(self._state.scan(start, end), self._left)]
            own = [sent for sent in self._sent[job_id] if since <= sent[0] < visit.before]
            self._left -= len(stored)
            if self._left > 0:
                del visits[0]
            else:
                visit.since, visit.after = stored[-1]
                own = [sent for sent in own if sent < stored[-1]]
            found += stored + own
            self._changed.add(job_id)
        return sorted(found)
