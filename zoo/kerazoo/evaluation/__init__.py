"""Matching, scores, figures and the report."""
