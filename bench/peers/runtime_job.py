#!/usr/bin/python3
"""The U-Net's forward pass in inference engines, under the flags of bench/job.cpp.

    runtime_job.py --engine onnxruntime|openvino --what forward --batch 10

The network is pytorch_job.py's, exported to ONNX for this batch size: both engines get fixed shapes, f32 and
the threads they are told, and no other hint than latency.
"""
import argparse
import io
import json
import resource
import statistics

import torch

import pytorch_job as peer


def exported(model, inputs):
    file = io.BytesIO()
    torch.onnx.export(model, inputs, dynamo=True, verbose=False).save(file)
    return file.getvalue()


def onnxruntime_call(onnx, inputs, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    feed = {i.name: value for i, value in zip(session.get_inputs(), inputs)}
    return lambda: session.run(None, feed)[0], onnxruntime.__version__


def openvino_call(onnx, inputs, threads):
    import openvino
    core = openvino.Core()
    # On a machine with bf16 or AMX the hint would otherwise choose another precision than everyone's.
    compiled = core.compile_model(core.read_model(onnx), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return lambda: request.infer(inputs)[0], openvino.__version__


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=["onnxruntime", "openvino"], required=True)
    parser.add_argument("--what", choices=["forward"], default="forward")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--model", help="a U-Net's file (default: random weights)")
    parser.add_argument("--json", help="also write the result here")
    o = parser.parse_args()

    torch.set_num_threads(o.threads)
    torch.manual_seed(1)
    unet = peer.get_unet(o).requires_grad_(False)
    inputs = (peer.images(o.batch, 1), torch.full((o.batch,), 500.0))
    make = onnxruntime_call if o.engine == "onnxruntime" else openvino_call
    call, version = make(exported(unet, inputs), [i.numpy() for i in inputs], o.threads)
    expected = unet(*inputs)
    error = (torch.from_numpy(call()) - expected).abs().max() / expected.abs().max()
    assert error < 1e-4, f"{o.engine} computes another network: {error:.2g} off"

    peer.timed(5, call)
    runs = peer.timed(o.runs, call)
    ms = statistics.median(runs)
    result = {"engine": o.engine, "device": "cpu", "precision": "f32", "version": version, "what": o.what,
              "batch": o.batch, "threads": o.threads, "ms": ms, "ms_per_image": ms / o.batch,
              "images_per_second": 1000 * o.batch / ms,
              "peak_process_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "runs_ms": runs}
    print(f"{o.engine} {version}: {o.what}, batch {o.batch}, {o.threads} threads: {ms:.2f} ms")
    if o.json:
        with open(o.json, "w") as file:
            json.dump(result, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
