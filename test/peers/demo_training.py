"""Random models of demo/training, saved by it: OUT/<family>/ and OUT/<family>.safetensors with tokens and logits.

    python demo_training.py OUT

`trained` are the logits of the model that is trained, `logits` those of transformers with the saved checkpoint.
"""

import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

demo = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../demo")
sys.path.insert(0, demo)
from train import save  # noqa: E402
from training.families import FAMILIES  # noqa: E402
from training.model import Model  # noqa: E402

SIZES = dict(vocab_size=96, hidden_size=64, num_attention_heads=2, num_key_value_heads=1, moe_intermediate_size=16)


@torch.no_grad()
def main(out):
    torch.manual_seed(3)
    for family, config in FAMILIES.items():
        folder = f"{out}/{family}"
        os.makedirs(folder)
        model = Model({**config, **SIZES}, torch.float32).eval()
        for parameter in model.parameters():
            # Values that bfloat16 has: the checkpoint then stores the model as it is.
            parameter.copy_((parameter + 0.1 * torch.randn_like(parameter)).bfloat16())
        for block in model.blocks():
            if block.sigmoid:
                block.bias.normal_(std=0.2)
        save(model, folder)
        ids = torch.randint(0, SIZES["vocab_size"], (2, 24))
        trained, _ = model(ids)
        loaded, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        logits = loaded.eval()(ids).logits
        tensors = dict(input_ids=ids.int(), trained=trained, logits=logits)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, f"{folder}.safetensors")


if __name__ == "__main__":
    main(sys.argv[1])
