"""Distortions of a whole video at four strengths, for testing that metrics see what they claim to see.

Frames are uint8, f h w 3; strengths are 1 (mild) to 4 (strong). Every random draw comes from the generator given.
"""
