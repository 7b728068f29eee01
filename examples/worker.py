#!/usr/bin/env python3
"""A worker in Python, with the standard library alone: python3 examples/worker.py [QUEUE]

It claims a task over REST, keeps its lease alive while it works, and says how it ended. Ctrl-C stops it.
"""
import json, os, signal, sys, threading, time, urllib.request

URL = os.environ.get("CORTEX_URL", "http://127.0.0.1:9500")
QUEUE = sys.argv[1] if len(sys.argv) > 1 else "python"
WORKER = f"python-{os.getpid()}"


def call(path, **body):
    request = urllib.request.Request(URL + path, json.dumps(body).encode(), {"content-type": "application/json"})
    if "CORTEX_TOKEN" in os.environ:
        request.add_header("authorization", "Bearer " + os.environ["CORTEX_TOKEN"])
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def work(task):
    return {"words": len(task["payload"].split())}


def beat():
    while not ended.wait(5):
        try:
            call("/api/workers/heartbeat", workerId=WORKER)
        except OSError:
            pass  # the claim below says so too


def serve():
    call("/api/workers/register", workerId=WORKER, queues=[QUEUE])
    print(f"{WORKER} serves the queue {QUEUE}", flush=True)
    while True:
        for given in call("/api/tasks/claim", workerId=WORKER, waitMs=20000)["assignments"]:
            held = {"taskId": given["task"]["id"], "workerId": WORKER, "token": given["lease"]["token"]}
            try:
                result = work(given["task"])
            except Exception as error:
                call("/api/tasks/fail", **held, error={"message": str(error)})
            else:
                call("/api/tasks/complete", **held, result=result)


def end(*_):
    raise KeyboardInterrupt


signal.signal(signal.SIGTERM, end)
ended = threading.Event()
threading.Thread(target=beat, daemon=True).start()
try:
    while True:
        try:
            serve()
        except OSError as error:  # no daemon, or it refused: it says why, and the worker comes back
            print(error.read().decode() if hasattr(error, "read") else error, file=sys.stderr)
            time.sleep(1)
except KeyboardInterrupt:
    ended.set()
    call("/api/workers/unregister", workerId=WORKER)
    print(f"{WORKER} has stopped", flush=True)
