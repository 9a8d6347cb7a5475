"""The rule that keeps an entity's last applications and solves for its coefficients again with every label.

The coefficients minimise, nearly, in the space whitened by the prior,

    ½ |c|² + Σ fading · weight · logloss(value, x·c + offset)

over all labels. Those of the last ``APPLICATIONS`` applications are kept as they are; each older one as the parabola
that touched its log-loss when it was learned (Laplace's approximation): ``curvature``, the second derivative by the
log-odds, and ``pull``, which places its lowest point. A label starts a few Newton steps from where the coefficients
are, each halved until it leads down: a full one may overshoot, and the next lead back, for ever.

A parabola is two numbers along the application's features, and the sum of parabolas is a matrix and a vector. The two
numbers are kept with what the label added, so a revision takes it out exactly, also when its application has long left
the window. That is why an application that waits for its final label may leave it like any other, and why the state is
bounded however many wait.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import numpy as np

from stream_qa.learning.arrays import Booleans, Floats, Integers
from stream_qa.learning.global_model import probability
from stream_qa.learning.rule import Columns, Fields, Labels, Rule, RuleNumber, log_odds, slope

#: How many applications an entity's record holds; part of the format.
APPLICATIONS = 32

#: Features are kept in single precision; squares of this and sums of them are far from its ends.
_LARGEST_FEATURE = 1e6
_MOST_HALVINGS = 12
_ROUNDING = 1e-12
"""Of a loss: what rises by no more than this has not risen."""
_OF_A_ROW = ("row_weight", "row_value", "row_offset", "row_curvature", "row_pull")


@dataclass(frozen=True)
class Window(Rule):
    """Damped Newton steps over the last 32 applications, and over what the older ones left.

    Parameters
    ----------
    newton_steps
        How many a label takes.
    longest_step
        No coefficient moves further in one of them.
    least_curvature
        No label's curvature is less than this times its weight, so that a label that was certain still counts.
    """

    number: ClassVar[RuleNumber] = RuleNumber.WINDOW

    newton_steps: int = 2
    longest_step: float = 3.0
    least_curvature: float = 1e-4

    def learned_fields(self, dimension: int) -> Fields:
        """Return the rows of the window, in a ring, and the older ones' matrix (lower triangle) and vector.

        ``taken`` counts the rows there ever were; that with number ``i``, from 1, is or was in place ``(i - 1) % 32``.
        """
        return [
            ("coefficients", "<f8", (dimension,)),
            ("taken", "<i8", ()),
            *((name, "<f8", (APPLICATIONS,)) for name in _OF_A_ROW),
            ("row_features", "<f4", (APPLICATIONS, dimension)),
            ("older_pull", "<f8", (dimension,)),
            ("older_curvature", "<f8", (dimension * (dimension + 1) // 2,)),
        ]

    def added_fields(self, dimension: int) -> Fields:
        """Return the number of the label's row, and its parabola."""
        del dimension
        return [("row", "<i8", ()), ("curvature", "<f8", ()), ("pull", "<f8", ())]

    def retract(self, learned: Columns, added: Columns, kept: Floats, features: Floats) -> Columns:
        """Empty the row, or take its parabola out of the older ones, and solve again."""
        which = np.flatnonzero(added["row"])
        without = {name: column.copy() for name, column in learned.items()}
        if not which.size:
            return without
        part = {name: column[which] for name, column in learned.items()}
        mine = {name: column[which] for name, column in added.items()}
        row, held = mine["row"], self._held(part, mine["row"])
        place = (np.flatnonzero(held), (row[held] - 1) % APPLICATIONS)
        for name in _OF_A_ROW:
            part[name][place] = 0.0
        faded = np.where(held, 0.0, -kept[which])
        self._add_to_older(part, _single(features[which]), faded * mine["curvature"], faded * mine["pull"])
        part["coefficients"] = self._solve(part)
        for name, column in part.items():
            without[name][which] = column
        return without

    def fade(self, learned: Columns, kept: Floats) -> Columns:
        """Let every label count less; the coefficients follow with the next step."""
        faded = dict(learned)
        for name in ("row_weight", "row_curvature", "row_pull", "older_pull", "older_curvature"):
            faded[name] = learned[name] * kept[:, np.newaxis]
        return faded

    def start(self, coefficients: Floats, curvature: Floats) -> Columns:
        """Take the fit for one parabola of older labels, with its lowest point, the prior's counted, at the fit."""
        bounded = self.bounded(coefficients)
        count, dimension = bounded.shape
        rows, columns = _lower_triangle(dimension)
        matrix = np.zeros((count, len(rows)))
        matrix[:, rows == columns] = curvature
        return {"coefficients": bounded, "older_pull": (1.0 + curvature) * bounded, "older_curvature": matrix}

    def rescale_learned(self, learned: Columns, factor: Floats) -> Columns:
        """Shrink coefficients as features grow, and with those the older ones' matrix and vector."""
        rows, columns = _lower_triangle(factor.shape[1])
        return {
            **learned,
            "coefficients": self.bounded(learned["coefficients"] / factor),
            "row_features": np.clip(
                learned["row_features"] * factor[:, np.newaxis], -_LARGEST_FEATURE, _LARGEST_FEATURE
            ).astype(np.float32),
            "older_pull": learned["older_pull"] * factor,
            "older_curvature": learned["older_curvature"] * (factor[:, rows] * factor[:, columns]),
        }

    def rescale_added(self, added: Columns, factor: Floats) -> Columns:
        """Return it as it is: a parabola's two numbers are of the log-odds."""
        del factor
        return added

    def step(self, learned: Columns, replaced: Columns, labels: Labels) -> tuple[Columns, Columns]:
        """Put each label into the row of the one it replaces, or into that of the oldest application, and solve."""
        after = {name: column.copy() for name, column in learned.items()}
        row = np.where(self._held(learned, replaced["row"]), replaced["row"], learned["taken"] + 1)
        after["taken"] = np.maximum(learned["taken"], row)
        place = (np.arange(len(row)), (row - 1) % APPLICATIONS)
        leaving = after["row_features"][place].astype(np.float64)
        self._add_to_older(after, leaving, after["row_curvature"][place], after["row_pull"][place])

        labels = labels._replace(features=_single(labels.features))
        for name, column in labels._asdict().items():
            after[f"row_{name}"][place] = column
        coefficients = after["coefficients"] = self._solve(after)
        score = log_odds(coefficients, labels.features)
        curvature = self._curvature(probability(score + labels.offset), labels.weight)
        pull = curvature * score - slope(coefficients, labels)
        after["row_curvature"][place], after["row_pull"][place] = curvature, pull
        return after, {"row": row, "curvature": curvature, "pull": pull}

    @staticmethod
    def _held(learned: Columns, row: Integers) -> Booleans:
        """Return whether the rows of these numbers, shape ``(n,)``, are in the windows."""
        return np.asarray((row > 0) & (row > learned["taken"] - APPLICATIONS))

    @staticmethod
    def _add_to_older(learned: Columns, features: Floats, curvature: Floats, pull: Floats) -> None:
        """Add a parabola along each row of ``features`` ``(n, d)``, in place."""
        rows, columns = _lower_triangle(features.shape[1])
        learned["older_curvature"] += curvature[:, np.newaxis] * (features[:, rows] * features[:, columns])
        learned["older_pull"] += pull[:, np.newaxis] * features

    def _curvature(self, chance: Floats, weight: Floats) -> Floats:
        return weight * np.maximum(chance * (1.0 - chance), self.least_curvature)

    def _solve(self, learned: Columns) -> Floats:
        """Return the coefficients after a few Newton steps, shape ``(n, d)``."""
        objective = _Objective.of(learned)
        place = objective.at(self.bounded(learned["coefficients"]))
        for _ in range(self.newton_steps):
            chance = probability(place.scores)
            slopes = objective.weight * (chance - objective.value)
            gradient = place.of_older + (slopes[:, :, np.newaxis] * objective.features).sum(axis=1)
            weighted = objective.features * self._curvature(chance, objective.weight)[:, :, np.newaxis]
            step = -_solved(objective.older + objective.features.swapaxes(1, 2) @ weighted, gradient)
            step *= self.longest_step / np.maximum(np.abs(step).max(axis=1, keepdims=True), self.longest_step)
            place = self._moved(objective, place, step, _MOST_HALVINGS)
        return place.coefficients

    def _moved(self, objective: "_Objective", before: "_Place", step: Floats, halvings: int) -> "_Place":
        """Return where a step leads that is halved until it leads down; where it never does, stay."""
        after = objective.at(self.bounded(before.coefficients + step))
        worse = np.flatnonzero(~objective.falls(before, after))
        if worse.size:
            instead = before.of_rows(worse)
            if halvings:
                instead = self._moved(objective.of_rows(worse), instead, step[worse] / 2, halvings - 1)
            for column, replacing in zip(after, instead, strict=True):
                column[worse] = replacing
        return after


class _Place(NamedTuple):
    """Where ``n`` entities are."""

    coefficients: Floats
    """Shape ``(n, d)``."""
    scores: Floats
    """The log-odds of the window's rows, shape ``(n, r)``."""
    of_older: Floats
    """The parabolas' gradient, shape ``(n, d)``."""

    def of_rows(self, rows: Integers) -> "_Place":
        """Return where some of them are."""
        return _Place(*(column[rows] for column in self))


class _Objective(NamedTuple):
    """What the coefficients of ``n`` entities minimise: parabolas, the prior's among them, and the window's losses."""

    older: Floats
    """The parabolas' matrices, shape ``(n, d, d)``."""
    pull: Floats
    """Their vectors, shape ``(n, d)``."""
    features: Floats
    """Of the window's rows, shape ``(n, r, d)``."""
    offset: Floats
    """Shape ``(n, r)``, as the next two."""
    value: Floats
    weight: Floats

    @classmethod
    def of(cls, learned: Columns) -> "_Objective":
        dimension = learned["coefficients"].shape[1]
        rows, columns = _lower_triangle(dimension)
        older = np.empty((len(learned["taken"]), dimension, dimension))
        older[:, rows, columns] = older[:, columns, rows] = learned["older_curvature"]
        # The prior's own curvature: features are whitened by it.
        older += np.eye(dimension)
        features = learned["row_features"].astype(np.float64)
        of_rows = (learned[name] for name in ("row_offset", "row_value", "row_weight"))
        return cls(older, learned["older_pull"], features, *of_rows)

    def of_rows(self, rows: Integers) -> "_Objective":
        """Return that of some of the entities."""
        return _Objective(*(column[rows] for column in self))

    def at(self, coefficients: Floats) -> _Place:
        """Return the place of coefficients, shape ``(n, d)``."""
        held = coefficients[:, np.newaxis]
        scores = (self.features * held).sum(axis=2) + self.offset
        return _Place(coefficients, scores, (self.older * held).sum(axis=2) - self.pull)

    def falls(self, before: _Place, after: _Place) -> Booleans:
        """Return whether it is lower at another place, shape ``(n,)``; as little as rounding makes is no rise.

        The differences of the parts are summed: those of the sums would drown, where parts are large.
        """
        step = after.coefficients - before.coefficients
        of_parabolas = 0.5 * (step * (before.of_older + after.of_older)).sum(axis=1)
        loss, loss_after = (np.logaddexp(0.0, place.scores) - self.value * place.scores for place in (before, after))
        change = of_parabolas + (self.weight * (loss_after - loss)).sum(axis=1)
        return np.asarray(change <= _ROUNDING * (1.0 + (self.weight * loss).sum(axis=1)))


@lru_cache
def _lower_triangle(dimension: int) -> tuple[Integers, Integers]:
    """Return the rows and columns of a symmetric matrix's numbers, in the order in which they are kept."""
    rows, columns = np.tril_indices(dimension)
    return rows, columns


def _single(features: Floats) -> Floats:
    """Return features as the window holds them, shape as given, as float64."""
    return np.clip(features, -_LARGEST_FEATURE, _LARGEST_FEATURE).astype(np.float32).astype(np.float64)


def _solved(matrices: Floats, vectors: Floats) -> Floats:
    """Return the solutions, shape ``(n, d)``; zeros for a matrix that rounding has made singular."""
    try:
        return np.asarray(np.linalg.solve(matrices, vectors[:, :, np.newaxis])[:, :, 0])
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.zeros_like(vectors)
        return np.concatenate(
            [_solved(matrices[row : row + 1], vectors[row : row + 1]) for row in range(len(matrices))]
        )
