"""The live page: a small web server beside the pipeline, and what it serves. Opened by the sink in ``sinks/web.py``."""
