"""Where observations go: one module per kind, opened by URI."""
