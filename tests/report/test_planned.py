from qzhou_eval.report.markdown import planned_markdown
from qzhou_eval.suite.suite import Suite, TaskSpec

SUITE = Suite("s", (TaskSpec("A", "STS"), TaskSpec("B", "STS"), TaskSpec("C", "STS")))


def entry(texts, tokens, seconds, status="done"):
    return {"status": status, "texts": texts, "tokens": tokens, "seconds": {"encode": seconds}}


def test_planned_beside_actual():
    manifest = {
        "planned": {
            "A": {"texts": 10, "tokens": 1000, "seconds": 30.0},
            "B": {"texts": 2000, "tokens": 90_000, "seconds": 6000.0},
            "C": {"texts": 1, "tokens": 1, "seconds": 1.0},
        },
        "tasks": {"A": entry(10, 1100, 60.0), "B": entry(2000, 100_000, 5400.0), "C": {}},
    }
    found = planned_markdown(SUITE, manifest)
    assert "## Planned and actual" in found
    assert "| A | 10 | 10 | 1,000 | 1,100 | 0.50 | 1.00 |" in found
    assert "| B | 2,000 | 2,000 | 90,000 | 100,000 | 100.0 | 90.0 |" in found
    assert "| All of these | 2,010 | 2,010 | 91,000 | 101,100 | 100.5 | 91.0 |" in found
    assert "| C |" not in found  # not done


def test_plan_without_a_pace():
    manifest = {"planned": {"A": {"texts": 10, "tokens": 9}}, "tasks": {"A": entry(10, 11, 60.0)}}
    found = planned_markdown(SUITE, manifest)
    assert "| A | 10 | 10 | 9 | 11 | – | 1.00 |" in found


def test_no_plan_or_an_odd_one():
    done = {"tasks": {"A": entry(1, 2, 3.0)}}
    assert planned_markdown(SUITE, {}) == ""
    assert planned_markdown(SUITE, done) == ""
    assert planned_markdown(SUITE, {**done, "planned": ["A"]}) == ""
    assert planned_markdown(SUITE, {**done, "planned": {"A": "much"}}) == ""
    assert "–" in planned_markdown(SUITE, {**done, "planned": {"A": {"texts": "many"}}})
