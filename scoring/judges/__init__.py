"""Judges: a model's opinion of both answers of a pair."""
