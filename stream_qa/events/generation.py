"""Generations: worker groups that learn everything anew beside each other, of which one serves."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event
from stream_qa.events.model import PublishedModel

SERVING = b"serving"
"""The key of the record that says which generation serves; those that say which were begun have their number."""

GenerationNumber = Annotated[int, Field(ge=1, le=1_000_000)]


class Generation(Event):
    """A generation, keyed by its number where it was begun, and by ``serving`` where it is to serve from then on."""

    generation: GenerationNumber
    bundle: Annotated[
        PublishedModel | None, Field(description="the model bundle with which it began; null for one without a bundle")
    ]
    instead_of: Annotated[
        GenerationNumber | None, Field(description="the one that served before, of a record keyed by serving")
    ] = None
    ended: Annotated[bool, Field(description="its topics were deleted; its number is not used again")] = False
