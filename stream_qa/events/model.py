"""Where a model bundle is: what makes workers and servers take it up."""

from typing import Annotated

from pydantic import Field

from stream_qa.events.fields import Event, Identifier


class PublishedModel(Event):
    """A model bundle, keyed by ``version``. Its number is its offset in the topic and 1: the largest is the newest."""

    version: Identifier
    feature_schema: Annotated[str, Field(description="name and lengths of the feature schema, for people")]
    location: Annotated[str, Field(min_length=1, description="the bundle's directory, as workers see it")]
    sha256: Annotated[
        str,
        Field(
            pattern="^[0-9a-f]{64}$",
            description="of its manifest.json, which has those of global model, priors and curves",
        ),
    ]
    withdraws: Annotated[
        Identifier | None, Field(description="the version in whose place this one was put because it was no good")
    ] = None
