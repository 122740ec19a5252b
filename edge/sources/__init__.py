"""Where frames come from: one module per kind, opened by URI."""
