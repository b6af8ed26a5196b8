"""Models as files that run without Kineflow: ONNX, and torch's exported programs."""
