"""Speed of torch's products, one JSON line for each that is asked for on stdin; see products-beside.ts.

    {"rows", "columns", "outputs", "precision", "threads", "seconds"} -> {"wall", "core"} in GFLOP/s
"""

import json
import sys
import time

import torch
import torch.nn.functional as F

# As many weights as an ordinary layer's experts: they come from memory, not from the cache.
WEIGHT_BYTES = 64e6
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
weights, last = [], None


def measure(asked):
    global weights, last
    rows, columns, outputs = asked["rows"], asked["columns"], asked["outputs"]
    dtype = DTYPES[asked["precision"]]
    torch.set_num_threads(asked["threads"])
    if last != (columns, outputs, dtype):
        count = max(2, round(WEIGHT_BYTES / (columns * outputs * dtype.itemsize)))
        weights, last = [torch.rand(outputs, columns).sub_(0.5).to(dtype) for _ in range(count)], (columns, outputs, dtype)
    x = torch.rand(rows, columns).sub_(0.5).to(dtype)
    for weight in weights[:2]:
        F.linear(x, weight)
    runs, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < asked["seconds"]:
        F.linear(x, weights[runs % len(weights)])
        runs += 1
    operations = 2e-9 * runs * rows * columns * outputs
    return {"wall": operations / (time.perf_counter() - start), "core": operations / (time.process_time() - cpu)}


with torch.inference_mode():
    for line in sys.stdin:
        print(json.dumps(measure(json.loads(line))), flush=True)
