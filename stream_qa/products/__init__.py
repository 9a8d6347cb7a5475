"""What a marketplace makes of scores: match flags, a member's standing, a recruiter's list. All are pure functions."""

from stream_qa.products.applicant_ranking import ranking
from stream_qa.products.notification import NotificationPolicy, explanation, is_very_high
from stream_qa.products.quality_match import MatchPolicy, Threshold, Verdict, judge, lowest_threshold
from stream_qa.products.top_applicant import Standings, TopPolicy, standings

__all__ = [
    "MatchPolicy",
    "NotificationPolicy",
    "Standings",
    "Threshold",
    "TopPolicy",
    "Verdict",
    "explanation",
    "is_very_high",
    "judge",
    "lowest_threshold",
    "ranking",
    "standings",
]
