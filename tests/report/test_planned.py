import pytest

from qzhou_eval.report.markdown import planned_markdown
from qzhou_eval.suite.suite import Suite, TaskSpec

SUITE = Suite("s", (TaskSpec("A", "STS"), TaskSpec("B", "STS"), TaskSpec("C", "STS")))


def entry(texts, tokens, seconds, planned=None, status="done"):
    done = {"status": status, "texts": texts, "tokens": tokens, "seconds": {"encode": seconds}}
    return done | ({"planned": planned} if planned is not None else {})


def test_planned_beside_actual():
    tasks = {
        "A": entry(10, 1100, 60.0, {"texts": 10, "tokens": 1000, "seconds": 30.0}),
        "B": entry(2000, 100_000, 5400.0, {"texts": 2000, "tokens": 90_000, "seconds": 6000.0}),
        "C": {"planned": {"texts": 1, "tokens": 1, "seconds": 1.0}},
    }
    found = planned_markdown(SUITE, {"tasks": tasks})
    assert "## Planned and actual" in found
    assert "| A | 10 | 10 | 1,000 | 1,100 | 0.50 | 1.00 |" in found
    assert "| B | 2,000 | 2,000 | 90,000 | 100,000 | 100.0 | 90.0 |" in found
    assert "| All of these | 2,010 | 2,010 | 91,000 | 101,100 | 100.5 | 91.0 |" in found
    assert "| C |" not in found  # not done


def test_plan_without_a_pace():
    found = planned_markdown(
        SUITE, {"tasks": {"A": entry(10, 11, 60.0, {"texts": 10, "tokens": 9})}}
    )
    assert "| A | 10 | 10 | 9 | 11 | – | 1.00 |" in found


@pytest.mark.parametrize("planned", [None, ["A"], "much", {}])
def test_no_plan_or_an_odd_one(planned):
    assert planned_markdown(SUITE, {}) == ""
    assert planned_markdown(SUITE, {"tasks": {"A": entry(1, 2, 3.0, planned)}}) == ""


def test_an_odd_number_is_left_out():
    tasks = {"A": entry(1, 2, 3.0, {"texts": "many"})}
    assert "–" in planned_markdown(SUITE, {"tasks": tasks})
