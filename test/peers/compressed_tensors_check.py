"""Compares quantised weights with compressed-tensors, both ways.

    compressed_tensors_check.py make OUT
        OUT receives theirs.safetensors: random matrices that compressed-tensors compresses, as `<case>.<suffix>`, with what it
        decompresses them to, `<case>.values`; and the weights themselves, `<case>.weight_source`. grids.json: scales and
        zero points that calculate_qparams gives to random ranges. turned.safetensors: weights of AutoAWQ and AutoGPTQ.
    compressed_tensors_check.py check IN
        Reads IN/ours.safetensors (`<case>.<suffix>`, `<case>.values`) and IN/ours.json (by case the scheme, as in
        config_groups) and says "same" for every case whose decompressed values are `values` bit for bit. configs.json, by name
        a quantization_config, is parsed and must come out as it went in.

    compressed_tensors_check.py load IN FORMAT...
        Loads IN/<format>/quantised and IN/<format>/decoded with transformers and says "same" where all weights have the same bits.

A case is <format>/<dtype>/<rows>x<columns>.
"""
import json
import sys

import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter
from compressed_tensors.quantization import QuantizationArgs, QuantizationConfig, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam
from safetensors.torch import load_file, save_file

FLOAT4 = dict(num_bits=4, type="float", symmetric=True)
INT = dict(type="int")
FORMATS = {
    "int8": ("pack-quantized", dict(num_bits=8, symmetric=True, strategy="channel", **INT)),
    "int4-g32": ("pack-quantized", dict(num_bits=4, symmetric=True, strategy="group", group_size=32, **INT)),
    "int4-g128": ("pack-quantized", dict(num_bits=4, symmetric=True, strategy="group", group_size=128, **INT)),
    "int4-g32-asym": ("pack-quantized", dict(num_bits=4, symmetric=False, strategy="group", group_size=32, **INT)),
    "int4-g128-asym": ("pack-quantized", dict(num_bits=4, symmetric=False, strategy="group", group_size=128, **INT)),
    "fp8": ("naive-quantized", dict(num_bits=8, type="float", symmetric=True, strategy="channel")),
    "fp8-block": ("naive-quantized", dict(num_bits=8, type="float", symmetric=True, strategy="block", block_structure=[128, 128])),
    "mxfp4": ("mxfp4-pack-quantized", dict(strategy="group", group_size=32, scale_dtype=torch.uint8, zp_dtype=torch.uint8, **FLOAT4)),
    "nvfp4": ("nvfp4-pack-quantized", dict(strategy="tensor_group", group_size=16, scale_dtype=torch.float8_e4m3fn, zp_dtype=torch.float8_e4m3fn, **FLOAT4)),
    # Read, not written.
    "int8-plain": ("int-quantized", dict(num_bits=8, symmetric=True, strategy="channel", **INT)),
    "int8-plain-asym": ("int-quantized", dict(num_bits=8, symmetric=False, strategy="channel", **INT)),
    "int8-asym": ("pack-quantized", dict(num_bits=8, symmetric=False, strategy="group", group_size=64, **INT)),
    "int4-channel": ("pack-quantized", dict(num_bits=4, symmetric=True, strategy="channel", **INT)),
    "fp8-tensor": ("float-quantized", dict(num_bits=8, type="float", symmetric=True, strategy="tensor")),
}
# More than 8 rows: 0.20.0 cannot unpack zero points of one word (a stride that it takes for 1 is not).
SHAPES = [(12, 128), (64, 256), (130, 384)]
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def ranges(weight, args):
    """Least and greatest value of what shares a scale."""
    if args.strategy == "tensor":
        return weight.min().reshape(1), weight.max().reshape(1)
    if args.strategy == "channel":
        return weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    if args.strategy == "block":
        rows, columns = args.block_structure
        blocks = [[block for block in part.split(columns, 1)] for part in weight.split(rows, 0)]
        return tuple(torch.stack([torch.stack([of(block) for block in row]) for row in blocks]) for of in (torch.min, torch.max))
    groups = weight.unflatten(1, (-1, args.group_size))
    return groups.amin(-1), groups.amax(-1)


def compress(weight, name):
    storage, keywords = FORMATS[name]
    args = QuantizationArgs(**keywords)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format=storage)
    state = {"weight": weight}
    low, high = ranges(weight, args)
    global_scale = None
    if args.strategy == "tensor_group":
        global_scale = generate_gparam(weight.min().float(), weight.max().float())
        state["weight_global_scale"] = global_scale
    scale, zero = calculate_qparams(low, high, args, global_scale=global_scale)
    state.update(weight_scale=scale, weight_zero_point=zero)
    compressor = BaseCompressor.get_value_from_registry(storage)
    parts = compressor.compress(state, scheme)
    values = compressor.decompress(parts, scheme)["weight"]
    return {**parts, "values": values, "weight_source": weight}


def turned():
    """Random weights of AutoAWQ and AutoGPTQ: what compressed-tensors' converter makes of the former, and what AutoGPTQ's own
    dequantisation (qlinear_cuda_old.py, without its kernels) makes of the latter."""
    tensors = {}
    rows, columns, group = 64, 128, 32
    words = lambda *shape: torch.randint(-(2**31), 2**31, shape).to(torch.int32)
    scales = (torch.randn(columns // group, rows) * 0.01).half()
    awq = {"qweight": words(columns, rows // 8), "qzeros": words(columns // group, rows // 8), "scales": scales}
    converted = AutoAWQConverter(group_size=group).process({f"a.{name}": tensor for name, tensor in awq.items()})
    parts = {name.removeprefix("a."): tensor for name, tensor in converted.items()}
    args = QuantizationArgs(num_bits=4, type="int", symmetric=False, strategy="group", group_size=group)
    scheme = QuantizationScheme(targets=["Linear"], weights=args, format="pack-quantized")
    values = BaseCompressor.get_value_from_registry("pack-quantized").decompress(parts, scheme)["weight"]
    tensors.update({f"awq.{name}": tensor for name, tensor in {**awq, "values": values}.items()})
    for bits in (4, 8):
        for offset, version in ((1, "gptq"), (0, "gptq_v2")):
            shifts = torch.arange(0, 32, bits, dtype=torch.int32)
            mask = 2**bits - 1
            qweight, qzeros = words(columns * bits // 32, rows), words(columns // group, rows * bits // 32)
            if bits == 8:
                qzeros &= 0x7F7F7F7F
            g_idx = torch.randperm(columns).to(torch.int32) // group
            zeros = ((qzeros.unsqueeze(2) >> shifts) & mask).reshape(columns // group, rows) + offset
            codes = ((qweight.unsqueeze(1) >> shifts.reshape(1, -1, 1)) & mask).reshape(columns, rows)
            weight = scales[g_idx] * (codes - zeros[g_idx]).half()
            parts = {"qweight": qweight, "qzeros": qzeros, "scales": scales.clone(), "g_idx": g_idx, "values": weight.T}
            tensors.update({f"{version}-{bits}.{name}": tensor.contiguous() for name, tensor in parts.items()})
    return tensors


def make(folder):
    torch.manual_seed(5)
    save_file(turned(), f"{folder}/turned.safetensors")
    tensors = {}
    for name in FORMATS:
        for dtype_name, dtype in DTYPES.items():
            for rows, columns in SHAPES:
                weight = torch.randn(rows, columns) * torch.rand(rows, 1) * 0.1
                weight[rows // 2] = 0
                weight[0, :8] *= 30
                for suffix, tensor in compress(weight.to(dtype), name).items():
                    tensors[f"{name}/{dtype_name}/{rows}x{columns}.{suffix}"] = tensor.contiguous()
    save_file(tensors, f"{folder}/theirs.safetensors")

    grids = []
    for bits in (4, 8):
        for symmetric in (True, False):
            for dtype_name, dtype in DTYPES.items():
                args = QuantizationArgs(num_bits=bits, type="int", symmetric=symmetric, strategy="group", group_size=32)
                ends = (torch.randn(300, 2) * torch.tensor([1e-3, 1.0]).repeat(150).reshape(300, 1)).sort(1).values.to(dtype)
                ends[0] = 0
                scales, zeros = calculate_qparams(ends[:, 0], ends[:, 1], args)
                grids.append(dict(bits=bits, symmetric=symmetric, dtype=dtype_name, low=ends[:, 0].tolist(), high=ends[:, 1].tolist(), scales=scales.tolist(), zeros=zeros.tolist()))
    with open(f"{folder}/grids.json", "w") as file:
        json.dump(grids, file)


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.view(torch.uint8), b.view(torch.uint8))


def check(folder):
    tensors = load_file(f"{folder}/ours.safetensors")
    with open(f"{folder}/ours.json") as file:
        schemes = json.load(file)
    for case, scheme in schemes.items():
        parts = {name.removeprefix(f"{case}."): tensor for name, tensor in tensors.items() if name.startswith(f"{case}.")}
        values = parts.pop("values")
        scheme = QuantizationScheme(**scheme)
        found = BaseCompressor.get_value_from_registry(scheme.format).decompress(parts, scheme)["weight"]
        print(case, "same" if same(found.contiguous(), values) else "differs")
    with open(f"{folder}/configs.json") as file:
        for name, config in json.load(file).items():
            again = QuantizationConfig(**config).model_dump()
            rest = {key: value for key, value in config.items() if key in again}
            known = {key: value for key, value in json.loads(json.dumps(again)).items() if key in config}
            print(name, "same" if known == rest else f"differs: {known} {rest}")


def load(folder, *formats):
    from transformers import AutoModelForCausalLM, FineGrainedFP8Config

    # The kernels for this form need a GPU: its own decoding is what is compared.
    decoding = lambda name: {"quantization_config": FineGrainedFP8Config(dequantize=True)} if "deepseek" in name else {}

    for name in formats:
        try:
            quantised, decoded = [
                AutoModelForCausalLM.from_pretrained(f"{folder}/{name}/{kind}", dtype=torch.bfloat16, **more)
                for kind, more in (("quantised", decoding(name)), ("decoded", {}))
            ]
            quantised(torch.arange(4)[None])  # decompresses what is still packed
            parameters = dict(quantised.named_parameters())
            differ = [key for key, value in decoded.named_parameters() if not same(parameters[key].data, value.data)]
            print(name, "same" if not differ else f"differs: {differ}")
        except Exception as error:
            print(name, type(error).__name__, error)


{"make": make, "check": check, "load": load}[sys.argv[1]](*sys.argv[2:])
