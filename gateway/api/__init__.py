"""One endpoint per file: parse, authenticate, admit, hand to dispatch."""
