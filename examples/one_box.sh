#!/usr/bin/env bash
# All GPUs of one machine, both suites, then the verdict.
#
#   bash examples/one_box.sh                                   every GPU there is
#   DEVICES=cuda:0,cuda:1 bash examples/one_box.sh             these alone
#   MODEL=/models/mine bash examples/one_box.sh --pooling mean --trust-remote-code
#
# What stands behind the file's name goes to both runs. Nothing has to be set up: with more than one
# device the runs start a private Ray, which listens on the loopback address alone and ends with
# them. (Other users of the machine could reach it there.) Killed, the same command goes on where it
# stopped.
set -euo pipefail

model=${MODEL:-Kingsoft-LLM/QZhou-Embedding}
devices=${DEVICES:-auto}
output=${OUTPUT:-results}
suites=${SUITES:-cmteb mteb}

for suite in $suites; do
    qzhou-eval "$suite" --model "$model" --device "$devices" --output-dir "$output" "$@"
done
qzhou-eval report "$output" --output "$output/tables"
if [ "${COMPARE:-yes}" = yes ]; then
    qzhou-eval compare "$output"
fi
