"""The data plane: it relays requests to teacher and student, and captures what they answered."""
