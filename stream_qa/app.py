"""``faust -A stream_qa.app worker``: the stages, wired on one page.

::

    applications ──┐
                   ├─► label ──► labels ──► member ──► examples ──► job
    engagements ───┘                           └─► scores ──► notify

Each agent hands the chunks of its topics to the lane of their partition (``streaming/lane.py``), which takes them
through its stage (``stages/``) and commits what comes out.
"""

import asyncio
import sys

import uvloop

from stream_qa.errors import StreamQAError
from stream_qa.settings import load_settings
from stream_qa.stages.pipeline import build_pipeline
from stream_qa.streaming.faust_app import ChunkApp

# Before Faust asks for a loop; it has no other way to be given this one.
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())

try:
    settings = load_settings()
    app = ChunkApp(settings, build_pipeline(settings))
except StreamQAError as error:
    sys.exit(f"The worker does not start: {error}")

app.read(settings.topics.applications, settings.topics.engagements, settings.topics.ticks, by="label")
app.read(settings.topics.labels, by="member")
app.read(settings.topics.examples, by="job")
if settings.notify_per_job_and_day:
    app.read(settings.topics.scores, by="notify")
