"""Down or up projections of all experts of a layer by one dense least-squares solve.

usage: reconstruct_check.py IN OUT
IN is a JSON list of {"inputs": [[experts * columns] ...], "outputs": [[hidden] ...], "start": [experts][hidden * columns],
"columns", "ridge"}. The ridge of an expert is "ridge" times the mean diagonal of its inputs' Gram matrix.
Up projections have, besides, "outer": [experts][hidden][width] and "factors": [[experts * width] ...]: an expert makes
outer (factors * W inputs), and its Gram matrix is that of all its weights.
"""

import json
import sys

import numpy as np



def up(case, inputs, outputs):
    """Every weight a column: its derivative of the outputs of all tokens."""
    columns, width = case["columns"], case["width"]
    factors = np.array(case["factors"], dtype=float)
    blocks, ridges = [], []
    for e, outer in enumerate(np.array(case["outer"], dtype=float)):
        a = inputs[:, e * columns : (e + 1) * columns]
        f = factors[:, e * width : (e + 1) * width]
        block = np.einsum("hi,ti,tj->thij", outer, f, a).reshape(outputs.size, width * columns)
        blocks.append(block)
        ridges += [case["ridge"] * (block**2).sum() / block.shape[1]] * block.shape[1]
    design, start = np.concatenate(blocks, axis=1), np.concatenate(case["start"])
    rows = np.concatenate([design, np.diag(np.sqrt(ridges))])
    wanted = np.concatenate([outputs.ravel() - design @ start, np.zeros(start.size)])
    weights = start + np.linalg.lstsq(rows, wanted, rcond=None)[0]
    return [w.tolist() for w in np.split(weights, len(case["outer"]))]


found = []
for case in json.load(open(sys.argv[1])):
    inputs = np.array(case["inputs"], dtype=float)
    outputs = np.array(case["outputs"], dtype=float)
    if "outer" in case:
        found.append(up(case, inputs, outputs))
        continue
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
