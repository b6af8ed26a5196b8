"""Video action recognition as versioned pipelines: the library, free of any orchestrator."""

__version__ = "0.1.0"
