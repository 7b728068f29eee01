#!/bin/sh
# A worker in shell: sh examples/worker.sh [QUEUE]
# `cortexd run` starts this file once more for each task: the payload is its input, what it prints last the result.
set -eu

if [ -z "${CORTEX_TASK_ID:-}" ]; then
  exec cortexd run --queue "${1:-shell}" --raw --concurrency 2 -- sh "$0"
fi

echo "task $CORTEX_TASK_ID, attempt $CORTEX_ATTEMPT"  # a line of the task's log
words=$(wc -w)
[ "$words" -gt 0 ] || { echo "nothing to count" >&2; exit 65; }  # the attempt fails, with the code exit-65
echo "{\"words\": $words}"
