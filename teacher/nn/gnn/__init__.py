"""Graph teachers: graph neural networks that read atoms and bonds.

Each maps a `GraphBatch` of B molecules to a prediction (B, targets) and the representation (B, width) it is made from.
`teacher.nn.registry` has them by name.
"""
