"""How many training clips one core renders in a second: `python benchmarks/renderer.py`."""

import time

import cv2

from cinetune.footage.procedural import DOMAINS, render_clip

CLIPS = 40


def main() -> None:
    """Print clips (17 frames of 64x96) per second of processor time, for each domain."""
    cv2.setNumThreads(1)
    for domain in DOMAINS:
        render_clip(domain, seed=0)
        start = time.process_time()
        for seed in range(CLIPS):
            render_clip(domain, seed=seed)
        print(f"{domain:12} {CLIPS / (time.process_time() - start):6.1f} clips per second and core")


if __name__ == "__main__":
    main()
