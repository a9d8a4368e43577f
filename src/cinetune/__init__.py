"""Turns a little film footage into a video model that makes scenes in that film's style, and proves it."""

__version__ = "0.1.0"
