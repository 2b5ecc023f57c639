"""Loads quantised checkpoints in Hugging Face transformers and compares their logits with ours.

    steps_check.py LIST

LIST is a JSON list of [MODEL, RESULT, HOW]; RESULT is what `ream forward MODEL` wrote (input_ids, logits). HOW is "transformers",
which decodes by itself, "bfloat16", the same in this dtype (MXFP4 is decoded to it), or "decompressed": what compressed-tensors makes of each module is loaded as an ordinary checkpoint,
where transformers cannot decode a format inside its joined experts. Prints a JSON list with the largest deviation of the
logits, their spread, and tensors that were missed or not expected.
"""
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)


def decompressed(folder, target):
    """Writes the checkpoint with every module as compressed-tensors decompresses it."""
    config = json.loads((folder / "config.json").read_text())
    quantised = config.pop("quantization_config")
    scheme = QuantizationConfig.model_validate(quantised).config_groups["group_0"]
    compressor = BaseCompressor.get_value_from_registry(quantised["format"])
    modules, plain = {}, {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            module, _, suffix = name.rpartition(".")
            modules.setdefault(module, {})[suffix] = tensor
    for module, parts in modules.items():
        if "weight_scale" in parts:
            plain[f"{module}.weight"] = compressor.decompress(dict(parts), scheme)["weight"].contiguous()
        else:
            plain.update({f"{module}.{suffix}": tensor for suffix, tensor in parts.items()})
    save_file(plain, target / "model.safetensors", {"format": "pt"})
    (target / "config.json").write_text(json.dumps(config))


def check(folder, result, how):
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(folder)
        if how == "decompressed":
            decompressed(source, Path(temporary))
            source = Path(temporary)
        model, info = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.bfloat16 if how == "bfloat16" else torch.float32, attn_implementation="eager", output_loading_info=True)
    with safe_open(result, "pt") as file:
        ids, logits = file.get_tensor("input_ids").long(), file.get_tensor("logits")
    with torch.no_grad():
        expected = model.eval()(ids, use_cache=False).logits.float()
    return {
        "logits": float((logits - expected).abs().max()),
        "spread": float(expected.std()),
        "unmatched": [str(name) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for name in info[kind]],
    }


print(json.dumps([check(*paths) for paths in json.load(open(sys.argv[1]))]))
