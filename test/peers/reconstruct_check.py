"""Down projections of all experts of a layer by one dense least-squares solve.

usage: reconstruct_check.py IN OUT
IN is a JSON list of {"inputs": [[experts * columns] ...], "outputs": [[hidden] ...], "start": [experts][hidden * columns],
"columns", "ridge"}. The ridge of an expert is "ridge" times the mean diagonal of its inputs' Gram matrix.
"""

import json
import sys

import numpy as np

found = []
for case in json.load(open(sys.argv[1])):
    inputs = np.array(case["inputs"], dtype=float)
    outputs = np.array(case["outputs"], dtype=float)
    columns = case["columns"]
    start = np.concatenate([np.array(w, dtype=float).reshape(-1, columns) for w in case["start"]], axis=1)
    squares = (inputs**2).sum(axis=0).reshape(-1, columns)
    ridge = np.repeat(case["ridge"] * squares.mean(axis=1), columns)
    # The ridge as one more row for each weight, pulled to the start.
    rows = np.concatenate([inputs, np.diag(np.sqrt(ridge))])
    wanted = np.concatenate([outputs - inputs @ start.T, np.zeros((ridge.size, outputs.shape[1]))])
    change, *_ = np.linalg.lstsq(rows, wanted, rcond=None)
    weights = start + change.T
    found.append([w.ravel().tolist() for w in np.split(weights, len(case["start"]), axis=1)])
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
