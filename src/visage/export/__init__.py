"""Trained models made usable by themselves: safetensors, TorchScript, ONNX, parity, lineage."""
