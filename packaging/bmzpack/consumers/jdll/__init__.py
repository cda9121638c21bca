"""JDLL, the library with which Fiji and Icy run models: what it does with a description, step by step.

Read in its source and compared with runs of it: dl-modelrunner 0.6.1, and JDLL 98d3be2 (2026-07) where that differs.
"""
