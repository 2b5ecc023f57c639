"""Makes random quantised tensors with the values that PyTorch and transformers give them.

    make_quantised.py OUT

OUT receives fp8.safetensors (every E4M3 code but NaN, and matrices with partial blocks) and mxfp4.safetensors: for each case
`<case>.weight` or `<case>.blocks`, `<case>.scales`, and `<case>.values` in float32 or bfloat16.
"""
import sys

import torch
from safetensors.torch import save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

torch.manual_seed(11)


def fp8(rows, columns, block, scale_dtype):
    codes = torch.randint(0, 254, (rows, columns), dtype=torch.int32)
    codes = (codes + (codes >= 127)).to(torch.uint8)  # 127 and 255 are NaN
    grid = (-(-rows // block[0]), -(-columns // block[1]))
    scales = torch.randn(grid).to(scale_dtype)
    spread = scales.float().repeat_interleave(block[0], 0)[:rows].repeat_interleave(block[1], 1)[:, :columns]
    weight = codes.view(torch.float8_e4m3fn)
    return {"weight": weight, "scales": scales, "values": weight.float() * spread}


def mxfp4(experts, rows, columns):
    blocks = torch.randint(0, 256, (experts, rows, columns // 32, 16), dtype=torch.int32).to(torch.uint8)
    # Down to the smallest scale: its values are below the normal numbers of bfloat16.
    scales = torch.randint(0, 253, (experts, rows, columns // 32), dtype=torch.int32).to(torch.uint8)
    values = convert_moe_packed_tensors(blocks, scales).transpose(1, 2).contiguous()
    return {"blocks": blocks, "scales": scales, "values": values}


def save(path, cases):
    save_file({f"{case}.{part}": tensor for case, parts in cases.items() for part, tensor in parts.items()}, path)


save(f"{sys.argv[1]}/fp8.safetensors", {
    "128x128": fp8(300, 260, (128, 128), torch.float32),
    "64x32": fp8(130, 97, (64, 32), torch.bfloat16),
    "1x128": fp8(40, 256, (1, 128), torch.float32),
})
save(f"{sys.argv[1]}/mxfp4.safetensors", {"small": mxfp4(2, 6, 64), "large": mxfp4(3, 50, 288)})
