"""Snow flakes and rain streaks: few enough for a small network, falling and coming back at the top."""

import math

import numpy as np

from cinetune.footage.procedural.canvas import Brush
from cinetune.footage.procedural.plan import Plan

_COUNT = {"snow": 14, "rain": 9}


class Weather:
    """What falls through the frame of one shot."""

    def __init__(self, plan: Plan, aspect: float) -> None:
        """Scatter the drops of a plan whose look has weather; `aspect` is width over height."""
        rng = np.random.default_rng([plan.grain_seed, 1])
        self.kind, self.aspect, self.clock = plan.look.weather, aspect, plan.clock
        self.strength = 0.7 if self.kind == "snow" else 0.3
        self.drops: list[list[float]] = rng.uniform(0.0, 1.0, (_COUNT[self.kind], 3)).tolist()
        self.colour = plan.look.white

    def draw(self, brush: Brush, t: float) -> None:
        """Draw the drops at `t` seconds."""
        brush.place(0.0, 0.0)
        t += self.clock
        for x, y, near in self.drops:
            if self.kind == "snow":
                down = (y + (0.2 + 0.16 * near) * t) % 1.08 - 0.04
                drift = 0.03 * math.sin(1.5 * t + 6 * y) - 0.08 * t
                across = (x * self.aspect + drift) % (self.aspect + 0.1) - 0.05
                brush.disc(across, down, 0.006 + 0.006 * near, self.colour)
            else:
                down = (y + (1.1 + 0.5 * near) * t) % 1.3 - 0.15
                across = (x * self.aspect - 0.25 * down) % (self.aspect + 0.1)
                streak = ((across, down), (across - 0.02, down + 0.08 + 0.05 * near))
                brush.limb(streak, 0.008, self.colour)
