"""Whatever an exported folder's files hold, what comes out is read by mteb, or nothing does."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mteb.load_results.task_results import TaskResult

from qzhou_eval.files import file_digest
from qzhou_eval.report.submission.choice import Choice
from qzhou_eval.report.submission.placing import write
from qzhou_eval.report.submission.submission import prepare
from qzhou_eval.report.submission.telling import summary_lines
from qzhou_eval.scores.result_folder import open_result_folder
from tests.fuzz.hostile import examples, json_bytes, told
from tests.report.submitting import COMMIT, NAME, PLACE, sample

TASKS = ("STS17", "LCQMC")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = sample(tmp_path_factory.mktemp("hostile"), manifest=True)
    manifest = json.loads((found / "run.json").read_text())
    manifest["tasks"] = {task: manifest["tasks"][task] for task in TASKS}
    manifest["suites"] = [{"name": "MTEB(eng, v2)", "tasks": [{"name": "STS17"}]}]
    manifest["environment"] = manifest["preflight"] = {}
    (found / "run.json").write_text(json.dumps(manifest))
    return found


NAMES = ("STS17.json", "model_meta.json", "run.json")


@given(name=st.sampled_from(NAMES), partial=st.booleans(), data=st.data())
@examples(400)
def test_what_is_exported_can_be_read(folder, name, partial, data):
    originals = {file: (folder / file).read_bytes() for file in NAMES}
    output = folder.parents[1] / "out"
    try:
        hostile = data.draw(json_bytes(json.loads(originals[name])))
        (folder / name).write_bytes(hostile)
        if name == "STS17.json":  # as the run wrote it, then
            manifest = json.loads(originals["run.json"])
            manifest["tasks"]["STS17"]["sha256"] = file_digest(folder / name)
            (folder / "run.json").write_text(json.dumps(manifest))
        choice = Choice(partial=True) if partial else Choice(tasks=TASKS)

        def export():
            results = open_result_folder(folder)
            submission = prepare(results, output, choice, model_name=NAME, revision=COMMIT)
            write(submission.placing)
            return [*summary_lines(submission, results), *submission.warnings]

        lines = told(export)
        if lines is None:
            assert not output.exists()
            return
        assert all("\x1b" not in line for line in lines)
        place = output / PLACE
        assert [path for path in output.rglob("*.json") if path.parent != place] == []
        meta = json.loads((place / "model_meta.json").read_text())
        assert (meta["name"], meta["revision"]) == (NAME, COMMIT)
        for path in place.iterdir():
            if path.name != "model_meta.json":
                result = TaskResult.from_disk(path, load_historic_data=False)
                assert result.task_name == path.stem
                assert result.mteb_version == "1.38.30"
                again = folder.parents[1] / "again.json"
                result.to_disk(again)
                assert again.read_bytes() == path.read_bytes()
    finally:
        shutil.rmtree(output, ignore_errors=True)
        for file, original in originals.items():
            (folder / file).write_bytes(original)
