"""Frontier, hypervolume and rank correlations of sets of points.

usage: pymoo_check.py IN OUT
IN is a JSON list of {"points": [[mc, gen], ...], "reference": [mc, gen]}; both scores are maximised, pymoo minimises.
"""

import json
import sys

import numpy as np
from pymoo.indicators.hv import Hypervolume
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting
from scipy.stats import kendalltau, pearsonr, spearmanr


def number(value):
    return None if np.isnan(value) else float(value)


found = []
for entry in json.load(open(sys.argv[1])):
    points = np.array(entry["points"], dtype=float)
    reference = np.array(entry["reference"], dtype=float)
    mc, gen = points.T
    # scipy warns of sides without an order and gives NaN.
    with np.errstate(all="ignore"):
        pearson = pearsonr(mc, gen)
        found.append(
            {
                "frontier": sorted(int(i) for i in NonDominatedSorting().do(-points, only_non_dominated_front=True)),
                "hypervolume": float(Hypervolume(ref_point=-reference)(-points)),
                "pearson": [number(pearson.statistic), number(pearson.pvalue)],
                "spearman": number(spearmanr(mc, gen).statistic),
                "kendall": number(kendalltau(mc, gen).statistic),
            }
        )
with open(sys.argv[2], "w") as file:
    json.dump(found, file)
