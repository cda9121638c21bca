"""Testing bundles: the rules of consumers, and runs of the engines inside them.

`check` says which programs open a bundle, and with ``run=True`` what their engines compute; `test` runs the formats of
a valid bundle in the engines of this environment. Both use `run`, which starts a process per engine on the `inputs`,
and `judge`, which compares the outputs.
"""
