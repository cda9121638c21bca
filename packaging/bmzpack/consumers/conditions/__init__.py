"""Conditions that rules test for: each finds the places of a bundle with one defect.

Which consumer a defect concerns, and how much, is said in the files of the consumers.
"""
