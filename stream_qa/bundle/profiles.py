"""``profile.json``, and the rest of a bundle that says what the training's data looked like."""

from collections.abc import Sequence

import numpy as np

from stream_qa.bundle.files import Description, FeatureProfile, ProfileFile
from stream_qa.labels.curves import SilenceCurves
from stream_qa.learning.profile import Profile, SideProfile


def profile_file(member: SideProfile, job: SideProfile) -> ProfileFile:
    """Return the file of both sides."""
    return ProfileFile(member=_written(member), job=_written(job))


def profile_of(file: ProfileFile, description: Description, curves: SilenceCurves | None) -> Profile:
    """Return what a bundle says of its training's data."""
    return Profile(
        member=_read(file.member),
        job=_read(file.job),
        positive_share=description.positives / description.applications if description.applications else 0.0,
        ages=np.array([] if curves is None else curves.ages, np.int64),
        answered=np.array([] if curves is None else curves.by_age, np.float64),
    )


def _written(side: SideProfile) -> list[FeatureProfile]:
    columns = (side.least, side.most, side.edges, side.up_to[:, 0], side.up_to[:, 1])
    return [
        FeatureProfile(name=name, least=least, most=most, edges=edges, at_most=at_most, below=below)
        for name, least, most, edges, at_most, below in zip(
            side.names, *(column.tolist() for column in columns), strict=True
        )
    ]


def _read(features: Sequence[FeatureProfile]) -> SideProfile:
    edges = len(features[0].edges) if features else 0
    return SideProfile(
        names=tuple(feature.name for feature in features),
        least=np.array([feature.least for feature in features], np.float64),
        most=np.array([feature.most for feature in features], np.float64),
        edges=np.array([feature.edges for feature in features], np.float64).reshape(len(features), edges),
        up_to=np.array([[feature.at_most, feature.below] for feature in features], np.float64).reshape(
            len(features), 2, edges
        ),
    )
