"""Loads compressed checkpoints in transformers and compares each with ours.

    check_families.py LIST

LIST is a JSON list of [MODEL, RESULT, SOURCE] (transformers_check.py). Prints a JSON list with an object for each.
"""
import json
import sys

from transformers_check import check

print(json.dumps([check(*paths) for paths in json.load(open(sys.argv[1]))]))
