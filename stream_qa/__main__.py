"""``python -m stream_qa`` is ``stream-qa``."""

from stream_qa.cli import main

main()
