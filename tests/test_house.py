"""The house's one rule: data goes one way, so a package imports only those before it."""

import ast
from pathlib import Path

import pytest

import qzhou_eval

ROOT = Path(qzhou_eval.__file__).parent
ORDER = ("recipe", "suite", "encode", "evaluate", "fetch", "plan", "scores", "report", "cli")


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("package", ORDER)
def test_imports_go_one_way(package):
    later = ORDER[ORDER.index(package) + 1 :]
    for path in (ROOT / package).rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            assert not (parts[0] == "qzhou_eval" and parts[1:2] and parts[1] in later), (path, name)


def test_what_all_packages_use_imports_none_of_them():
    for path in ROOT.glob("*.py"):
        if path.name != "__main__.py":
            names = [name.split(".") for name in imported(path)]
            assert not [n for n in names if n[0] == "qzhou_eval" and n[1:2] and n[1] in ORDER], path


def test_mteb_is_touched_in_its_adapter_alone():
    for path in ROOT.rglob("*.py"):
        names = {name.split(".")[0] for name in imported(path)}
        if "mteb" in names:
            assert path.parent == ROOT / "evaluate" / "mteb1", path
