"""Resumable micro-jobs: work cut into jobs that may be killed at any moment and are never done twice."""
