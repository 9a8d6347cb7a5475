"""Retraining by itself: a candidate from the labels, tried on days held back, and published only if it is better."""
