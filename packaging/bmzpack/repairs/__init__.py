"""What can be mended in a bundle without its author: one function per repair, each tied to the rules that it mends.

A repair tests for the same conditions as the check, so that it finds what the check found. Files that compute are taken
only when they have been run on the test tensors of the bundle.
"""
