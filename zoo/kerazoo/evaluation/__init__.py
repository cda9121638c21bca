"""Predictions matched with the ground truth, and scores."""
