"""The site that is made of docs/: it builds without a warning, its links lead somewhere, and it needs no other host."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).parents[1]
#: What a browser fetches by itself, and the attribute that says where. A link in the text is followed by people only.
FETCHED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
    "link": "href",
    "form": "action",
}


class Page(HTMLParser):
    """What a page fetches, links to and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.classes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.classes |= set(given.get("class", "").split())
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in FETCHED and given.get("rel") != "canonical" and FETCHED[tag] in given:
            self.fetched.append(given[FETCHED[tag]])
        if tag == "a" and "href" in given:
            self.links.append(given["href"])


def build(source: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    """Build the site; no request can leave, as the only proxy there is does not exist."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(source),
        "--site-dir",
        str(site),
    ]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    quiet = {"NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command,
        env={"PATH": "/usr/bin:/bin", **nowhere, **quiet},
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    done = build(REPOSITORY / "mkdocs.yml", directory)
    assert done.returncode == 0, done.stderr
    return directory


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_every_page_of_docs_is_there(pages: dict[Path, Page]) -> None:
    assert len(pages) - 1 == len(list((REPOSITORY / "docs").rglob("*.md")))  # 404.html besides


def test_nothing_is_fetched_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    assert any(page.fetched for page in pages.values())
    for path, page in pages.items():
        for address in page.fetched:
            parts = urlsplit(address)
            assert not parts.netloc, f"{path.relative_to(site)} fetches {address}"
        # The theme's script fetches a renderer from another host where a page has such a diagram.
        assert "mermaid" not in page.classes
    for style in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)\"']+", style.read_text()) == [], style


def test_every_link_and_picture_leads_to_something(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are those of the theme, from the root
        for address in [*page.links, *page.fetched]:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            assert target.exists(), f"{path.relative_to(site)}: {address}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.relative_to(site)}: {address}"


def test_lists_and_tables_are_not_left_as_text(pages: dict[Path, Page], site: Path) -> None:
    for path in pages:
        for paragraph in re.findall(r"<p>(.*?)</p>", path.read_text(), re.DOTALL):
            assert not re.search(r"^(?:- |\| )", paragraph, re.MULTILINE), (
                f"{path.relative_to(site)}: {paragraph[:200]}"
            )


def test_a_broken_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n[gone](gone.md) and [nowhere](#nowhere)\n")
    settings = (REPOSITORY / "mkdocs.yml").read_text()
    (tmp_path / "mkdocs.yml").write_text(settings.partition("\nnav:")[0])
    done = build(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode != 0
    assert "gone.md" in done.stderr
    assert "#nowhere" in done.stderr
