import json
import sys

import pytest

from qzhou_eval import lock, machine
from qzhou_eval.environment import PUBLISHED_PINS
from qzhou_eval.errors import UserError
from qzhou_eval.lock import EnvironmentState, PackageState, Standing, read_lock


def state(python="3.10.12", **installed):
    """The published pins and one package besides, as locked unless `installed` says otherwise."""
    locked = {**PUBLISHED_PINS, "numpy": "2.2.6"}
    packages = (
        PackageState(name, version, installed.get(name.replace("-", "_"), version), name != "numpy")
        for name, version in locked.items()
    )
    return EnvironmentState(python, tuple(packages))


@pytest.mark.parametrize(
    ("found", "standing"),
    [
        (state(), Standing.EXACT),
        (state("3.10.16", torch="2.7.1+cu126"), Standing.EXACT),
        (state("3.12.1"), Standing.COMPATIBLE),
        (state(numpy="2.3.0"), Standing.COMPATIBLE),
        (state(numpy=""), Standing.COMPATIBLE),
        (state(torch="2.8.0"), Standing.DIFFERS),
        (state(mteb=""), Standing.DIFFERS),
        (state("3.13.0"), Standing.DIFFERS),
    ],
)
def test_standing(found, standing):
    assert found.standing is standing


def test_what_differs_names_the_published_pins_first():
    assert [p.name for p in state(numpy="1", torch="2.8.0").differing] == ["torch", "numpy"]


def test_the_projects_lock_has_the_published_pins():
    locked = read_lock(lock.lock_path())
    assert PUBLISHED_PINS.items() <= locked.items()
    assert len(locked) > 70


def test_markers_decide_which_entry_counts(tmp_path):
    path = tmp_path / "lock.txt"
    path.write_text(
        "# a comment\n"
        "old==1.0 ; python_full_version < '3' \\\n    --hash=sha256:00\n"
        "old==2.0 ; python_full_version >= '3' \\\n    --hash=sha256:00\n"
        "Plain_Name==3.1 \\\n    --hash=sha256:00\n    # via old\n"
        "elsewhere==1.0 ; sys_platform == 'beos' \\\n    --hash=sha256:00\n"
    )
    assert read_lock(path) == {"old": "2.0", "plain-name": "3.1"}
    path.write_text("nothing\n")
    with pytest.raises(UserError, match="names no package"):
        read_lock(path)
    with pytest.raises(UserError, match="not a readable lock"):
        read_lock(tmp_path / "nope.txt")


def test_doctor_in_the_locked_environment(cli):
    outcome = cli("doctor", "--offline")
    assert outcome.code == 0, outcome.out
    exact = sys.version_info[:2] == (3, 10)
    assert ("exact:" if exact else "compatible:") in outcome.out
    assert "offline: not tried" in outcome.out


def test_doctor_when_a_pin_differs(cli, monkeypatch):
    versions = {**lock.package_versions(), "torch": "2.9.0", "rich": "1.0"}
    monkeypatch.setattr(lock, "package_versions", lambda: versions)
    outcome = cli("doctor", "--offline")
    assert outcome.code == 1
    assert "differs: not the published environment" in outcome.out
    assert "rich 1.0 (locked" in outcome.out
    value = json.loads(cli("doctor", "--offline", "--json").out)
    assert value["standing"] == "differs"
    [torch] = [p for p in value["packages"] if p["name"] == "torch"]
    expected = {"installed": "2.9.0", "locked": "2.7.1", "published": True, "same": False}
    assert torch.items() >= expected.items()
    assert {"gpus", "driver", "cuda", "disk", "hub", "memory_bytes"} <= value["machine"].keys()


def test_a_hub_that_does_not_answer(monkeypatch):
    from huggingface_hub import constants

    for name in machine.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    found = machine.hub(offline=False)
    assert found["reachable"] is False
    assert "refused" in found["detail"]


def test_a_hub_that_answers(monkeypatch):
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    from huggingface_hub import constants

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(405)  # even a refusal is an answer
            self.end_headers()

        def log_message(self, *_):
            pass

    for name in machine.OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    assert machine.hub(offline=False)["reachable"] is True
    server.server_close()


def test_a_broken_torch_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    found = machine.accelerators()
    assert found["torch"] == ""
    assert found["error"]
