"""Benchmarks: figures the manual quotes, each measured beside the peer it is compared with."""
