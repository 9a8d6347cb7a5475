"""What the pages say is what the code has: settings, commands, targets, dependencies, topics, links."""

import builtins
import re
import tomllib
from pathlib import Path

import pytest
from commands import groups_and_commands

from stream_qa import errors
from stream_qa.durations import DAY
from stream_qa.events import TopicNames
from stream_qa.settings import PREFIX, Settings
from stream_qa.topics import TopicDeclaration, load_declarations

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "CHANGELOG.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *sorted((REPOSITORY / "examples").rglob("*.md")),
]
TEXTS = {page: page.read_text() for page in PAGES}
VARIABLES = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}

CODE = re.compile(r"^```.*?^```|^ {4}.*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def code(text: str) -> str:
    """Return what stands in code spans and code blocks."""
    return "\n".join(CODE.findall(text))


def named_commands(text: str) -> set[str]:
    """Return the commands that code in ``text`` names; an unknown one as it stands there."""
    groups = {command.split()[0] for command in groups_and_commands() if " " in command}
    found = set()
    for first, second in re.findall(r"\bstream-qa ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?", code(text)):
        found.add(f"{first} {second}".strip() if first in groups else first)
    return found


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def named_targets(text: str) -> set[str]:
    return set(re.findall(r"\bmake ([a-z][a-z-]*)", code(text)))


def dependencies() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    required = [*project["dependencies"], *(line for extra in extras for line in extra)]
    return {re.split(r"[\[<>=~! ]", line, maxsplit=1)[0] for line in required}


def first_cells(text: str) -> set[str]:
    """Return the code in the first cell of every table row."""
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def default_of(name: str) -> str:
    default = Settings.model_fields[name].default
    if default is None:
        return "none"
    return (str(default).lower() if isinstance(default, bool) else str(default)) or "empty"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_the_operations_page_with_its_default_and_what_it_is(name: str) -> None:
    row = f"| `{PREFIX}{name.upper()}` | `{default_of(name)}` | {Settings.model_fields[name].description} |"
    assert row in TEXTS[REPOSITORY / "docs" / "operations.md"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_names_no_setting_that_does_not_exist(page: Path) -> None:
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]", TEXTS[page])) <= VARIABLES


def test_the_dependencies_page_has_the_dependencies_and_no_others() -> None:
    assert first_cells(TEXTS[REPOSITORY / "docs" / "dependencies.md"]) == dependencies()


def test_every_make_target_is_in_a_page() -> None:
    assert targets() - set().union(*map(named_targets, TEXTS.values())) == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_names_no_command_or_target_that_does_not_exist(page: Path) -> None:
    assert named_commands(TEXTS[page]) <= set(groups_and_commands())
    assert named_targets(TEXTS[page]) <= targets()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_point_to_something(page: Path) -> None:
    for link in LINK.findall(TEXTS[page]):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(REPOSITORY), link
        if fragment:
            assert fragment in {anchor(heading) for heading in HEADING.findall(target.read_text())}, link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_names_no_error_that_does_not_exist(page: Path) -> None:
    named = set(re.findall(r"`(\w+Error)`", TEXTS[page]))
    assert {name for name in named if not hasattr(errors, name) and not hasattr(builtins, name)} == set()


@pytest.mark.parametrize("declaration", load_declarations(), ids=lambda declaration: declaration.name)
def test_the_topics_page_says_for_how_long_records_stay(declaration: TopicDeclaration) -> None:
    [row] = re.findall(rf"^\| `{declaration.name}` \|.*$", TEXTS[REPOSITORY / "docs" / "topics.md"], re.MULTILINE)
    policy, retention = declaration.config["cleanup.policy"], declaration.config.get("retention.ms")
    assert row.split("|")[4].strip() == (policy if retention is None else f"{policy}, {int(retention) // DAY} days")


def test_every_topic_is_in_the_topics_page() -> None:
    assert set(TopicNames().all()) - first_cells(TEXTS[REPOSITORY / "docs" / "topics.md"]) == set()


def test_the_tree_of_errors_in_their_module_is_that_of_the_classes() -> None:
    above = [errors.StreamQAError.__name__]
    tree = set()
    for branches, name in re.findall(r"^ {4}([│├└─ ]+── )(\w+)", errors.__doc__ or "", re.MULTILINE):
        depth = len(branches) // 4
        above[depth:] = [name]
        tree.add((above[depth - 1], name))
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.StreamQAError]
    assert tree == {(kind.__base__.__name__, kind.__name__) for kind in classes if kind.__base__}
