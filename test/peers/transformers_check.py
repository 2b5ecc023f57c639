"""Loads a checkpoint in Hugging Face transformers and compares it with ours and with its source.

    transformers_check.py MODEL RESULT SOURCE

RESULT is what `ream forward MODEL` wrote (input_ids, logits). Prints one JSON object: the largest deviation of the logits,
tensors that transformers missed or did not expect, the number of experts, and tensors outside routers and experts whose
bytes differ from SOURCE's.
"""
import json
import re
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import AutoConfig, Mxfp4Config

from auto_model import auto_class, text_logits

torch.set_num_threads(1)


def tensors(folder):
    found = {}
    for path in sorted(Path(folder).glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            found.update({name: file.get_tensor(name) for name in file.keys()})
    return found


# Routers with their biases and routed experts, by the names of all families.
ROUTED = re.compile(
    r"\.(mlp|block_sparse_moe|feed_forward|mixer|ffn)\.(experts|gate|router|moe_statics|expert_bias|e_score_correction_bias|"
    r"input_linear|output_linear)\b|\.self_attention\.experts\.(input_linear|output_linear|router)\b|"
    r"\.moe\.(gate|router_bias|router|gate_proj|up_proj|down_proj)\b|\.layers\.\d+\.(experts|router\.(proj|per_expert_scale))\b")
COUNTS = ["num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"]


def decoding(config):
    """Has weights in MXFP4 decoded: the kernels for them need a GPU."""
    if getattr(config, "quantization_config", None) is None:
        return {}
    return {"quantization_config": Mxfp4Config(dequantize=True)}


def check(folder, result, source):
    given = AutoConfig.from_pretrained(folder)
    model, info = auto_class(given.model_type).from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True, **decoding(given))
    with safe_open(result, "pt") as file:
        ids, logits = file.get_tensor("input_ids").long(), file.get_tensor("logits")
    with torch.no_grad():
        expected = text_logits(model.eval(), ids)
    before, after = tensors(source), tensors(folder)
    config = getattr(model, "thinker", model).config.get_text_config()
    config = getattr(config, "ffn_config", config)
    return {
        "logits": float((logits - expected).abs().max()),
        "spread": float(expected.std()),
        "unmatched": [str(name) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[kind]],
        "experts": next(getattr(config, key) for key in COUNTS if hasattr(config, key)),
        "changed": [name for name, tensor in before.items()
                    if not ROUTED.search(name) and not (name in after and torch.equal(tensor, after[name]))],
    }


if __name__ == "__main__":
    print(json.dumps(check(*sys.argv[1:4])))
