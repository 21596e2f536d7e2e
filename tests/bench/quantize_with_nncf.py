"""Run by a Python that has NNCF and not onnxq: ``MODEL SAMPLES.npz performance|mixed OUT.onnx``."""

import sys

import nncf
import numpy as np
import onnx

model, samples, preset, out = sys.argv[1:]
held = np.load(samples)
arrays = {name: held[name] for name in held.files}
count = len(next(iter(arrays.values())))
feeds = [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)]
quantized = nncf.quantize(
    onnx.load(model), nncf.Dataset(feeds), preset=nncf.QuantizationPreset(preset), subset_size=count
)
onnx.save(quantized, out)
