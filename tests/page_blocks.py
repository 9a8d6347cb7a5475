"""The fenced blocks of the pages, and what is to be done with each: the comment in the line above says it.

``<!-- run -->`` runs it, ``<!-- file: NAME -->`` puts it into a file of that name for the blocks that follow, and
``<!-- not run: REASON -->`` leaves it alone.
"""

import re
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^(?P<above>[^\n]*)\n```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!-- (?:(?P<run>run)|file: (?P<file>[\w.]+)|not run: (?P<reason>\w.+)) -->")


class Block(NamedTuple):
    """A fenced block; one of ``run``, ``file`` and ``reason`` is set where its comment can be understood."""

    line: int
    language: str
    text: str
    run: bool
    file: str | None
    reason: str | None

    @property
    def is_understood(self) -> bool:
        """Whether it is said what to do with it, and that can be done."""
        if self.run:
            return self.language in {"bash", "python"}
        return bool(self.file or self.reason)

    @property
    def script(self) -> str:
        """What the shell of the page has to do for it."""
        heredoc = f"<< 'END OF BLOCK'\n{self.text}END OF BLOCK\n"
        if self.file:
            return f"cat > {self.file} {heredoc}"
        if not self.run:
            return ""
        return self.text if self.language == "bash" else f"python - {heredoc}"


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    found = []
    for fence in _FENCE.finditer(text):
        said = _COMMENT.fullmatch(fence["above"])
        line = text.count("\n", 0, fence.start("language")) + 1
        how = (bool(said["run"]), said["file"], said["reason"]) if said else (False, None, None)
        found.append(Block(line, fence["language"], fence["text"], *how))
    return found


def session(text: str) -> str:
    """Return a page's blocks as one script, which says on stderr before each where it stands."""
    steps = [f'echo "block of line {block.line}" >&2\n{block.script}' for block in blocks(text) if block.script]
    return "set -euo pipefail\n" + "\n".join(steps)
