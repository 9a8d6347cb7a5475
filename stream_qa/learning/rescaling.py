"""Records that were whitened by an earlier model's prior, brought into the space of the newest one."""

from collections.abc import Callable

from stream_qa.learning.arrays import Floats
from stream_qa.learning.entity import Records
from stream_qa.learning.rule import Columns, Fields, Rule
from stream_qa.learning.whitening import Whitenings


def rescale(rule: Rule, entities: Records, contributions: Records, whitenings: Whitenings) -> None:
    """Bring ``entities`` ``(m,)`` and ``contributions`` ``(k,)`` into the newest space, in place.

    Straight from that in which each is: it does not matter which models it has missed.
    """
    dimension = len(whitenings.newest.scale)
    _rescale(entities, rule.learned_fields(dimension), rule.rescale_learned, whitenings)
    _rescale(contributions, rule.added_fields(dimension), rule.rescale_added, whitenings)


def _rescale(
    records: Records, fields: Fields, rescaled: Callable[[Columns, Floats], Columns], whitenings: Whitenings
) -> None:
    newest = whitenings.newest
    (rows,) = (records["model"] != newest.model_number).nonzero()
    if rows.size:
        factor = newest.scale / whitenings.scales(records["model"][rows])
        for name, column in rescaled({name: records[name][rows] for name, *_ in fields}, factor).items():
            records[name][rows] = column
        records["model"][rows] = newest.model_number
