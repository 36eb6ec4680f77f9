from qzhou_eval.encode.cost import Shape
from qzhou_eval.encode.encoder import Meter
from qzhou_eval.plan.outlook import Outlook, clock

SHAPE = Shape(2, 8, 32, 2, 2, 4, False, 100)
PLANNED = {"A": {"tokens": 1000, "seconds": 10.0}, "B": {"tokens": 2000, "seconds": 20.0}}


def test_time_left_goes_by_the_plan_then_by_what_was_seen():
    meter = Meter()
    outlook = Outlook({**PLANNED, "C": {"tokens": 500, "seconds": 5.0}}, meter, SHAPE)
    assert outlook.left()[1] == 35
    outlook.begin("A")
    meter.tokens, meter.seconds = 600, 12.0
    assert outlook.left(50)[0] == 400 / 50
    assert outlook.left(50)[1] == 8 + 25
    meter.tokens, meter.seconds = 1000, 20.0  # twice as long as planned
    outlook.begin("B")
    assert outlook.left() == (40.0, 50.0)
    outlook.end("A")  # scored while B is encoded
    assert outlook.left() == (40.0, 50.0)
    meter.tokens += 2500  # more than planned
    assert outlook.left(100)[0] == 0
    outlook.end("B")
    outlook.end("C")  # kept: never begun
    assert outlook.left() == (0, 0)


def test_tasks_of_unknown_size_are_left_out():
    meter = Meter()
    outlook = Outlook(PLANNED, meter, SHAPE)
    outlook.begin("unknown")
    meter.tokens, meter.seconds = 10, 100.0
    assert "left" not in outlook.told(1, 10, 1.0)
    outlook.end("unknown")
    assert outlook.left()[1] == 30


def test_what_a_bar_says():
    outlook = Outlook(PLANNED, Meter(), SHAPE, ceiling=SHAPE.flops(100, 10) * 4)
    outlook.begin("A")
    assert outlook.share(100, 10, 0.5) == 0.5
    assert outlook.told(10, 100, 0.5) == "200 tokens/s, 50% of ceiling, task 0:05, all 0:25 left"
    assert Outlook(PLANNED, Meter(), SHAPE).share(100, 10, 0.5) == 0


def test_clock():
    assert [clock(s) for s in (0.4, 62, 3723)] == ["0:00", "1:02", "1:02:03"]
