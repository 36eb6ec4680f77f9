import pytest

from qzhou_eval.errors import UserError
from qzhou_eval.suite.library import built_in, parse_task_argument, read_suite, suite_from_arguments
from qzhou_eval.suite.suite import TASK_TYPES


def test_demo_has_every_type_in_both_languages():
    tasks = built_in("demo").tasks
    found = {(task.type, task.languages) for task in tasks}
    assert found == {(t, lang) for t in TASK_TYPES for lang in (("eng-Latn",), ("cmn-Hans",))}


def test_select_by_name_and_type_in_any_case():
    suite = built_in("cmteb")
    names = [task.name for task in suite.select(["stsb", "LCQMC", "TNews"], ["sts"])]
    assert names == ["LCQMC", "STSB"]


@pytest.mark.parametrize(
    ("names", "types", "message"),
    [
        (["STSBB"], [], "unknown task 'STSBB' in .*did you mean STSB"),
        ([], ["STSS"], "unknown task type 'STSS'.*did you mean STS"),
        (["STSB"], ["Retrieval"], "no task of"),
    ],
)
def test_select_names_what_is_unknown(names, types, message):
    with pytest.raises(UserError, match=message):
        built_in("cmteb").select(names, types)


def test_task_argument_with_subsets():
    spec = parse_task_argument("MasakhaNEWSClusteringS2S:amh,eng")
    assert (spec.name, spec.subsets) == ("MasakhaNEWSClusteringS2S", ("amh", "eng"))


@pytest.mark.parametrize("argument", ["", ":en", "STS17:", "STS17:en,,de"])
def test_malformed_task_argument(argument):
    with pytest.raises(UserError, match="expected TASK or TASK:SUBSET"):
        parse_task_argument(argument)


def test_a_task_cannot_be_named_twice():
    with pytest.raises(UserError, match="STS17 is named twice"):
        suite_from_arguments(["STS17:en-en", "STS17:ar-ar"])


def test_suite_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\ntasks = ["SciFact", {name = "STS17", subsets = ["en-en"]},'
        ' {name = "SciFact", splits = ["test"]}]\n'
    )
    suite = read_suite(path)
    assert [(task.name, task.splits) for task in suite.tasks] == [
        ("STS17", ()),
        ("SciFact", ("test",)),
    ]
    assert suite_from_arguments([str(path)]).name == "mine"


OWN = 'name = "T"\ntype = "STS"\nlayout = "pairs"\ndataset = "a/b"\nlanguages = ["eng-Latn"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'", "at least one"),
        ("[[tasks]]\ntype = 'STS'", "task 1: expected a table with a name"),
        ("[[tasks]]\nname = 'A'\nsplit = 'test'", "unknown key 'split'.*did you mean splits"),
        ("[[tasks]]\nname = 'A'\nsplits = 'test'", "splits takes a list"),
        ("[[tasks]]\nname = 'A'\ntype = 3", "type takes a text"),
        ("[[tasks]]\n" + OWN.replace("pairs", "pair"), "unknown layout 'pair'"),
        ("[[tasks]]\n" + OWN.replace('"STS"', '"STSS"'), "unknown task type 'STSS'"),
        ("[[tasks]]\n" + OWN.replace('dataset = "a/b"', ""), "names its dataset"),
        ("[[tasks]]\n" + OWN.replace('"eng-Latn"', ""), "names its languages"),
    ],
)
def test_broken_suite_file(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_suite(path)
