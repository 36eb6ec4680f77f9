"""``qzhou-eval cmteb``: the Chinese suite."""

from __future__ import annotations

from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, expand


@expand
def cmteb(model: ModelOptions, run: RunOptions, device: DeviceOptions) -> int:
    """Run MTEB(cmn, v1), the Chinese suite of 31 tasks."""
    from qzhou_eval.cli.running import run_suite
    from qzhou_eval.suite.library import built_in

    return run_suite(built_in("cmteb"), model, run, device)
