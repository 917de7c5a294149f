"""Judgement: rubrics, checks, judges, statistics, and the gates that decide what is true."""
