"""The documentation: links lead somewhere, commands and options exist, examples can be read."""

import re
import shlex
import unicodedata
from collections import defaultdict
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from typer.main import get_command

from qzhou_eval.cli.app import app
from qzhou_eval.recipe.library import read_recipe
from qzhou_eval.suite.instructions import read_table
from qzhou_eval.suite.library import read_suite

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        ROOT / "benchmarks/README.md",
        ROOT / "results/minilm/README.md",
    }
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\[[^\]]*\]\(\s*<?([^)<>\s]+)>?[^)]*\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
OPTION = re.compile(r"--[a-z][\w-]*")
# Options of other programs that the text speaks of.
FOREIGN = {
    "--small",
    "--strict",
    "--include-dashboard",
    "--node-ip-address",
    "--require-hashes",
    "--no-deps",
}
EVERYWHERE = {"--help", "--version", "--debug"}
TRANSLATED = [
    (ROOT / "README.md", ROOT / "README.zh.md"),
    *((path.parents[1] / path.name, path) for path in sorted(ROOT.glob("docs/zh/*.md"))),
]


def name(path):
    return path.relative_to(ROOT).as_posix()


@cache
def text(path):
    return path.read_text(encoding="utf-8")


def prose(path):
    """The page without its blocks of code."""
    return FENCE.sub("", text(path))


def slug(heading):
    """What GitHub makes of a heading: letters, digits, hyphens and underscores alone."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    kept = (c for c in plain if c in " -_" or unicodedata.category(c)[0] in "LNM")
    return "".join(kept).replace(" ", "-")


@cache
def anchors(path):
    found, seen = set(), defaultdict(int)
    for heading in HEADING.findall(prose(path)):
        own = slug(heading)
        found.add(f"{own}-{seen[own]}" if seen[own] else own)
        seen[own] += 1
    return found


def own_links(path):
    links = LINK.findall(SPAN.sub("`", prose(path)))
    return [link for link in links if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page):
    for link in own_links(page):
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert target.exists(), f"{link}: there is no {target}"
        if anchor:
            assert anchor in anchors(target), f"{link}: known are {sorted(anchors(target))}"


def command_lines(path):
    """Every ``qzhou-eval ...`` of the page: lines of its code, and its code in running text."""
    for _, block in FENCE.findall(text(path)):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("qzhou-eval "):
                yield line.strip()
    for span in SPAN.findall(prose(path)):
        if span.startswith("qzhou-eval "):
            yield " ".join(span.split())


def words(line):
    """The words of a command line, without comment, brackets of what may be left out, and `&`."""
    return [word.strip("[]") for word in shlex.split(line, comments=True) if word != "&"]


def spoken_of():
    """Command and option to the pages that have them.

    An empty option is the command alone; an empty command is an option in running text.
    """
    found = defaultdict(set)
    for page in PAGES:
        for line in command_lines(page):
            _, command, *rest = words(line)
            if command.startswith("-"):
                continue  # --help, --version
            found[command, ""].add(name(page))
            for word in rest:
                if OPTION.match(word):
                    found[command, word.partition("=")[0]].add(name(page))
        for span in SPAN.findall(prose(page)):
            if span.startswith("--"):
                for option in OPTION.findall(span):
                    found["", option].add(name(page))
    return dict(sorted(found.items()))


@cache
def command_line():
    """Command to its options, as the program has them."""
    commands = get_command(app).commands
    return {
        command: {option for p in entry.params for option in (*p.opts, *p.secondary_opts)}
        for command, entry in commands.items()
    }


SPOKEN_OF = spoken_of()


@pytest.mark.parametrize(
    ("command", "option"), SPOKEN_OF, ids=[" ".join(filter(None, pair)) for pair in SPOKEN_OF]
)
def test_the_program_has_what_the_pages_name(command, option):
    pages = ", ".join(sorted(SPOKEN_OF[command, option]))
    if not command:
        known = FOREIGN.union(EVERYWHERE, *command_line().values())
        assert option in known, f"no command has {option}: {pages}"
    elif command != "COMMAND":  # any of them
        assert command in command_line(), f"no command {command}: {pages}"
        known = command_line()[command] | EVERYWHERE | {""}
        assert option in known, f"{command} has no {option}: {pages}"


def examples():
    for page in PAGES:
        for language, block in FENCE.findall(text(page)):
            if language == "toml":
                yield pytest.param(block, id=f"{name(page)}-{block.splitlines()[0][:40]}")


@pytest.mark.parametrize("block", examples())
def test_every_toml_example_is_read(block, tmp_path):
    path = tmp_path / "example.toml"
    path.write_text(block, encoding="utf-8")
    if "tasks" in block:
        assert read_suite(path).tasks
    elif "pooling =" in block:
        assert read_recipe(path).pooling
    else:
        assert read_table(path)


@pytest.mark.parametrize(("page", "translation"), TRANSLATED, ids=lambda path: name(path))
def test_a_translation_has_the_same_sections_and_commands(page, translation):
    both = (page, translation)
    levels = [[h.split()[0] for h in re.findall(r"^#+ .*$", prose(p), re.M)] for p in both]
    assert levels[0] == levels[1]
    commands = [[words(line) for line in sorted(set(command_lines(p)))] for p in both]
    assert commands[0] == commands[1]
