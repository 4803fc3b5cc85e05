"""Helpers of the tests: doubles, servers, kernels and notebooks."""
