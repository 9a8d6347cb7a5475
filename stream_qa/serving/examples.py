"""Examples of requests, for the description of the interface."""

from typing import Any

_MEMBER = {"member_id": "m-1", "features": [0.5, -1.0]}
_OTHER_MEMBER = {"member_id": "m-2", "features": [0.25, 2.0]}
_JOB = {"job_id": "j-1", "features": [0.25]}
_OTHER_JOB = {"job_id": "j-2", "features": [-0.75]}

MEMBER_AGAINST_JOBS: dict[str, Any] = {
    "feature_schema": "v1",
    "member": _MEMBER,
    "jobs": [_JOB, {**_OTHER_JOB, "global_log_odds": -1.1}],
}
JOB_AGAINST_MEMBERS: dict[str, Any] = {"feature_schema": "v1", "job": _JOB, "members": [_MEMBER, _OTHER_MEMBER]}
RANKED_APPLICANTS: dict[str, Any] = {**JOB_AGAINST_MEMBERS, "exploration": 0.2, "seed": "recruiter-7 2026-01-05"}
_BATCH: dict[str, Any] = {
    "feature_schema": "v1",
    "members": [_MEMBER, _OTHER_MEMBER],
    "jobs": [_JOB, _OTHER_JOB],
}
MIXED_BATCH: dict[str, Any] = {
    **_BATCH,
    "pairs": [{"member_id": "m-1", "job_id": "j-2"}, {"member_id": "m-2", "job_id": "j-1"}],
}
MATCH_BATCH: dict[str, Any] = {
    **_BATCH,
    "pairs": [{"member_id": "m-1", "job_id": "j-2", "flagged": True}, {"member_id": "m-2", "job_id": "j-1"}],
}
PAST_SCORES: dict[str, Any] = {
    "probabilities": [0.8, 0.7, 0.6, 0.2],
    "outcomes": [1, 1, 0, 0],
    "precision": 0.6,
    "least_flagged": 2,
}
