"""What a plan counts is what a run of mteb's own task has encoded."""

from collections import Counter

import numpy as np
import pytest

from qzhou_eval.evaluate.local_data import find_local
from qzhou_eval.evaluate.mteb1.model import SIDES
from qzhou_eval.evaluate.mteb1.tasks import build, load_data
from qzhou_eval.evaluate.mteb1.texts import calls
from qzhou_eval.evaluate.quiet import quiet_libraries
from qzhou_eval.suite.library import built_in
from tests.evaluate.hub_layout import CMTEB_TASKS, MTEB_TASKS


class Recorder:
    """Gives every text a vector of its own and keeps what it was asked for."""

    def __init__(self):
        self.asked = []

    def encode(self, sentences, *, task_name, prompt_type=None, **_):
        texts = list(sentences)
        self.asked.append((SIDES[prompt_type] if prompt_type else None, texts))
        vectors = [np.frombuffer((text.encode() + b"*" * 64)[:64], np.uint8) for text in texts]
        return np.array(vectors, dtype=np.float32) - 60


CASES = [
    *[("cmteb", name) for name in CMTEB_TASKS],
    *[("mteb", name) for name in MTEB_TASKS],
    *[("demo", task.name) for task in built_in("demo").tasks],
]


@pytest.mark.parametrize(("command", "name"), CASES)
def test_texts_are_those_of_a_run(data, command, name):
    suite = built_in(command)
    spec = suite.task(name)
    local = find_local(suite.datasets_dir or data, spec.dataset)
    recorder = Recorder()
    with quiet_libraries():
        task = build(spec, local)
        load_data(task, spec, local)
        for split in spec.splits:
            task.evaluate(
                recorder, split, subsets_to_run=list(spec.subsets), encode_kwargs={"batch_size": 8}
            )
        found = [(call.side, call.texts) for call in calls(spec, local)]
    assert len(found) == len(recorder.asked)
    for (side, texts), (asked_side, asked) in zip(found, recorder.asked, strict=True):
        assert side == asked_side
        assert Counter(texts) == Counter(asked)
        if spec.type == "Classification":
            break  # the test texts and the first draw come in another order
    mine, theirs = (
        sorted(t for _, texts in part for t in texts) for part in (found, recorder.asked)
    )
    assert mine == theirs
