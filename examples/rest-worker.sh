#!/bin/sh
# One task, done by REST with curl and jq: sh examples/rest-worker.sh [QUEUE]
# It waits for a task, does it, and ends. For more than a look at the routes take worker.sh.
set -eu
url=${CORTEX_URL:-http://127.0.0.1:9500}
queue=${1:-shell}
worker=shell-$$

post() {
  curl --silent --show-error --fail-with-body "$url$1" --json "$2" ${CORTEX_TOKEN:+--oauth2-bearer "$CORTEX_TOKEN"}
}

post /api/workers/register "{\"workerId\": \"$worker\", \"queues\": [\"$queue\"]}" > /dev/null
trap 'post /api/workers/unregister "{\"workerId\": \"$worker\"}" > /dev/null' EXIT
given=$(post /api/tasks/claim "{\"workerId\": \"$worker\", \"waitMs\": 20000}" | jq -c '.assignments[0]')
[ "$given" != null ] || { echo "no task came in 20 s" >&2; exit 1; }

words=$(echo "$given" | jq -r .task.payload | wc -w)
echo "$given" | jq -c --arg worker "$worker" --argjson words "$words" \
  '{taskId: .task.id, workerId: $worker, token: .lease.token, result: {words: $words}}' |
  post /api/tasks/complete @- | jq -r '"task \(.id) is \(.state)"'
