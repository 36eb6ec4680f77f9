#!/usr/bin/env bash
# Several machines as one Ray cluster. On each, the same environment with qzhou-eval, and the model
# under the same path or in the hub's cache.
#
#   on the first machine     bash examples/ray_cluster.sh head 10.0.0.1
#   on each of the others    bash examples/ray_cluster.sh worker 10.0.0.1:6379 10.0.0.2
#   on any of them           bash examples/ray_cluster.sh run 10.0.0.1:6379 cmteb --model NAME
#   on all, afterwards       bash examples/ray_cluster.sh stop
#
# The last address of "head" and "worker" is the machine's own, by which the others find it; Ray listens
# on all of the machine's addresses all the same, and whoever reaches its ports runs code as you: close
# them to everybody else, or use TLS. See docs/devices.md, "Security". "stop" ends
# all of your Ray on the machine, other runs' included.
set -euo pipefail

usage() {
    sed -n '2,14s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

# This machine's cores and GPUs are found by Ray; CPUS and GPUS say otherwise.
start=(ray start --disable-usage-stats)
[ -n "${CPUS:-}" ] && start+=(--num-cpus="$CPUS")
[ -n "${GPUS:-}" ] && start+=(--num-gpus="$GPUS")
# Its logs and sockets; of everyone's /tmp/ray otherwise. Keep it short.
[ -n "${RAY_DIR:-}" ] && start+=(--temp-dir="$RAY_DIR")

case "${1:-}" in
head)
    [ $# -eq 2 ] || usage
    "${start[@]}" --head --node-ip-address="$2" --port="${PORT:-6379}" --include-dashboard=false
    ;;
worker)
    [ $# -eq 3 ] || usage
    "${start[@]}" --address="$2" --node-ip-address="$3"
    ;;
run)
    [ $# -ge 3 ] || usage
    address=$2
    shift 2
    qzhou-eval "$@" --ray-address "$address"
    ;;
stop)
    ray stop
    ;;
*)
    usage
    ;;
esac
