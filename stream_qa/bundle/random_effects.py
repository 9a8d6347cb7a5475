"""``random_effects.npz``: the coefficients of all entities as they were fitted, from which a worker may start.

Arrays only, no pickles. Ids are the bytes of a JSON list: numpy's own strings lose zeros at their end.
"""

import zipfile
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import orjson
from pydantic import TypeAdapter, ValidationError

from stream_qa.errors import BundleError
from stream_qa.events.fields import MAX_COUNT, MAX_EVENT_TIME, Identifier
from stream_qa.learning.starting import EntityCoefficients

_IDS = TypeAdapter(list[Identifier])


@dataclass(frozen=True)
class RandomEffects:
    """Both kinds."""

    members: EntityCoefficients
    jobs: EntityCoefficients


def pack(effects: RandomEffects) -> bytes:
    """Return the file's bytes: the same for the same coefficients."""
    file = BytesIO()
    np.savez(
        file,
        **_arrays("member", effects.members),
        **_arrays("job", effects.jobs),
        allow_pickle=False,
    )
    return file.getvalue()


def unpack(content: bytes, member_dimension: int, job_dimension: int) -> RandomEffects:
    """Return what is in a file's bytes.

    Raises
    ------
    BundleError
        They cannot be read, or are not what may be published of entities with so many coefficients.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            return RandomEffects(
                _entities(dict(arrays), "member", member_dimension), _entities(dict(arrays), "job", job_dimension)
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"the coefficients of entities cannot be read: {error}") from error


def _arrays(kind: str, entities: EntityCoefficients) -> dict[str, np.ndarray]:
    return {
        f"{kind}_ids": np.frombuffer(orjson.dumps(list(entities.ids)), np.uint8),
        f"{kind}_coefficients": entities.coefficients,
        f"{kind}_labels": entities.labels,
        f"{kind}_newest_at": entities.newest_at,
    }


def _entities(arrays: dict[str, np.ndarray], kind: str, dimension: int) -> EntityCoefficients:
    try:
        ids = _IDS.validate_json(arrays[f"{kind}_ids"].tobytes())
    except ValidationError as error:
        raise ValueError(f"the ids of its {kind}s are none: {error.errors(include_url=False)[0]['msg']}") from None
    coefficients, labels, newest_at = (arrays[f"{kind}_{what}"] for what in ("coefficients", "labels", "newest_at"))
    if coefficients.dtype != np.float64 or labels.dtype != np.int64 or newest_at.dtype != np.int64:
        raise ValueError(f"the numbers of its {kind}s are of other types")
    if coefficients.shape != (len(ids), dimension) or not labels.shape == newest_at.shape == (len(ids),):
        raise ValueError(f"its {kind}s have not {dimension} coefficients each")
    if len(set(ids)) < len(ids):
        raise ValueError(f"a {kind} is there twice")
    if not np.isfinite(coefficients).all():
        raise ValueError(f"coefficients of a {kind} are not finite")
    for numbers, most in ((labels, MAX_COUNT), (newest_at, MAX_EVENT_TIME)):
        if not ((numbers >= 0) & (numbers <= most)).all():
            raise ValueError(f"a {kind} has a number or time of labels that no message may have")
    return EntityCoefficients(ids, coefficients, labels, newest_at)
