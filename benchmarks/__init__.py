"""n4a_flows beside the systems that a user would pick instead, and beside the bare libraries.

    python -m benchmarks [--only record,replay] [--quick] [--repeats 5] [--json FILE]

`make bench` makes the peers' environments first. Every contender is a process of its own in its own environment; they do the same
work in turn, so what slows the machine down slows them all.
"""
