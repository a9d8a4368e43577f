"""Wan2.1 I2V 14B 480P, the published model (Wan Team 2025)."""

from cinetune.models._wan import WanModel

MODEL = WanModel(name="wan", source="Wan-AI/Wan2.1-I2V-14B-480P-Diffusers")
