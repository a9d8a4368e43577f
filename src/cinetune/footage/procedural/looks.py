"""How each domain looks: its colours, light, grade and gate. One `Look` each, the way a film has one.

Colours are RGB 0..255 before the grade.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from cinetune.footage.procedural.canvas import RGB


@dataclass(frozen=True)
class Look:
    """Colours and grade of one domain."""

    light: str
    """How a caption says it."""
    sky: tuple[RGB, RGB, RGB]
    """Top, middle, horizon."""
    far: RGB
    mid: RGB
    near: RGB
    """Land and buildings at three distances, haze included."""
    walls: tuple[RGB, RGB]
    """Buildings, far and near."""
    ground: RGB
    track: RGB
    sun: RGB
    sun_radius: float
    """Frame heights; 0 for none."""
    sun_height: float
    """y of its centre, frame heights."""
    sun_glow: float
    window: RGB | None
    """Colour of lit windows, lamps and headlights; None by day."""
    accents: tuple[RGB, ...]
    """What a subject may be painted with."""
    white: RGB
    dark: RGB
    skin: RGB
    rim: RGB
    rim_strength: float
    shadow: float
    saturation: float = 1.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gain per channel, after the saturation."""
    contrast: float = 0.0
    """0 is straight, 1 a strong S."""
    lift: float = 0.0
    """Grey levels that black is raised by."""
    vignette: float = 0.2
    grain: float = 1.2
    """Standard deviation, grey levels."""
    flicker: float = 0.0
    weave: float = 0.0
    """How far the gate lets the picture wander, frame heights."""
    aspect: float | None = None
    """Width over height of the visible picture; None fills the frame."""
    weather: str = ""
    wet: float = 0.0
    """How strongly the ground mirrors, 0..1."""

    @property
    def letterboxed(self) -> bool:
        """Whether bars above and below leave much less height than the frame has."""
        return self.aspect is not None and self.aspect > 2

    def matrix(self) -> Float32[np.ndarray, "3 3"]:
        """Return the colour matrix: saturation about luma, then the tint."""
        luma = np.array([0.2126, 0.7152, 0.0722], np.float32)
        keep = np.eye(3, dtype=np.float32) * self.saturation + (1 - self.saturation) * luma[None, :]
        return np.asarray(keep * np.array(self.tint, np.float32)[:, None])

    def curve(self) -> UInt8[np.ndarray, "256"]:
        """Return the tone curve as a table of 256 grey levels."""
        x = np.linspace(0.0, 1.0, 256)
        bent = x + self.contrast * (x * x * (3 - 2 * x) - x)
        return np.asarray(np.round(self.lift + bent * (255 - self.lift)), np.uint8)


LOOKS: dict[str, Look] = {
    "day": Look(
        light="in bright daylight",
        sky=((62, 142, 214), (128, 194, 236), (232, 242, 238)),
        far=(146, 186, 202), mid=(106, 166, 128), near=(70, 138, 82),
        walls=((158, 190, 214), (206, 176, 150)),
        ground=(104, 166, 80), track=(150, 146, 138),
        sun=(255, 250, 224), sun_radius=0.07, sun_height=0.17, sun_glow=0.35,
        window=None,
        accents=((224, 58, 46), (250, 190, 40), (38, 84, 176), (240, 120, 36)),
        white=(250, 248, 240), dark=(40, 44, 58), skin=(232, 178, 142),
        rim=(255, 250, 230), rim_strength=0.35, shadow=0.45,
        saturation=1.05, contrast=0.15, vignette=0.12, grain=1.0,
    ),
    "dusk": Look(
        light="at dusk under an orange sky",
        sky=((58, 34, 96), (206, 84, 108), (255, 184, 96)),
        far=(196, 96, 104), mid=(116, 54, 92), near=(66, 32, 70),
        walls=((176, 88, 110), (104, 50, 92)),
        ground=(58, 30, 62), track=(92, 52, 82),
        sun=(255, 236, 170), sun_radius=0.13, sun_height=0.5, sun_glow=0.75,
        window=(255, 206, 120),
        accents=((226, 66, 62), (250, 166, 64), (60, 60, 140), (240, 110, 110)),
        white=(255, 222, 190), dark=(38, 18, 48), skin=(214, 130, 104),
        rim=(255, 190, 110), rim_strength=0.85, shadow=0.35,
        contrast=0.2, vignette=0.25, grain=1.2,
    ),
    "noir": Look(
        light="at night in black and white",
        sky=((14, 16, 20), (44, 48, 54), (112, 116, 120)),
        far=(84, 88, 92), mid=(50, 53, 57), near=(26, 28, 31),
        walls=((74, 78, 82), (46, 49, 53)),
        ground=(40, 42, 45), track=(62, 64, 68),
        sun=(250, 250, 244), sun_radius=0.1, sun_height=0.2, sun_glow=0.55,
        window=(250, 248, 236),
        accents=((120, 120, 122), (156, 156, 156), (84, 84, 88), (196, 196, 194)),
        white=(226, 226, 224), dark=(10, 10, 12), skin=(200, 196, 190),
        rim=(255, 255, 255), rim_strength=0.8, shadow=0.6,
        saturation=0.0, contrast=0.7, vignette=0.45, grain=2.0, wet=0.35,
    ),
    "snow": Look(
        light="in falling snow",
        sky=((150, 172, 192), (190, 206, 218), (226, 232, 236)),
        far=(196, 210, 220), mid=(164, 184, 200), near=(120, 146, 166),
        walls=((190, 205, 216), (150, 164, 180)),
        ground=(236, 241, 245), track=(198, 208, 218),
        sun=(250, 248, 240), sun_radius=0.06, sun_height=0.2, sun_glow=0.35,
        window=(255, 220, 150),
        accents=((206, 40, 48), (226, 120, 40), (30, 92, 120), (150, 40, 90)),
        white=(248, 250, 252), dark=(46, 58, 74), skin=(228, 184, 164),
        rim=(255, 255, 255), rim_strength=0.5, shadow=0.22,
        saturation=0.9, lift=14.0, vignette=0.08, grain=1.0, weather="snow",
    ),
    "historical": Look(
        light="by candle light",
        sky=((30, 24, 34), (46, 36, 40), (64, 48, 44)),
        far=(150, 104, 70), mid=(126, 82, 54), near=(92, 56, 38),
        walls=((150, 104, 70), (126, 82, 54)),
        ground=(104, 66, 42), track=(126, 78, 46),
        sun=(255, 220, 140), sun_radius=0.0, sun_height=0.0, sun_glow=0.0,
        window=(255, 196, 104),
        accents=((150, 40, 34), (60, 84, 74), (116, 84, 120), (168, 112, 48)),
        white=(244, 226, 190), dark=(44, 28, 24), skin=(236, 184, 140),
        rim=(255, 200, 120), rim_strength=0.6, shadow=0.3,
        saturation=0.62, tint=(1.16, 0.92, 0.6), contrast=0.4, lift=3.0,
        vignette=0.62, grain=2.6, flicker=0.035, weave=0.004, aspect=4 / 3,
    ),
    "scifi": Look(
        light="in neon light",
        sky=((12, 8, 38), (48, 16, 92), (190, 42, 150)),
        far=(88, 36, 128), mid=(40, 24, 82), near=(20, 16, 50),
        walls=((88, 36, 128), (40, 24, 82)),
        ground=(18, 16, 44), track=(40, 30, 84),
        sun=(255, 120, 200), sun_radius=0.2, sun_height=0.4, sun_glow=0.6,
        window=(90, 240, 255),
        accents=((150, 164, 196), (96, 124, 176), (190, 180, 210), (120, 110, 170)),
        white=(222, 236, 255), dark=(14, 12, 32), skin=(200, 170, 190),
        rim=(90, 240, 255), rim_strength=0.95, shadow=0.3,
        saturation=1.15, contrast=0.35, vignette=0.3, grain=1.4, aspect=2.39, weather="rain", wet=0.5,
    ),
    "human": Look(
        light="in plain soft light",
        sky=((206, 204, 198), (214, 210, 202), (222, 216, 206)),
        far=(196, 190, 180), mid=(178, 168, 156), near=(150, 138, 126),
        walls=((196, 190, 180), (178, 168, 156)),
        ground=(164, 146, 126), track=(178, 162, 142),
        sun=(255, 250, 240), sun_radius=0.0, sun_height=0.2, sun_glow=0.0,
        window=None,
        accents=((170, 60, 56), (52, 92, 138), (70, 116, 84), (196, 150, 62)),
        white=(240, 236, 228), dark=(48, 46, 54), skin=(226, 172, 138),
        rim=(255, 250, 240), rim_strength=0.3, shadow=0.35,
        saturation=0.9, lift=6.0, vignette=0.15, grain=1.2,
    ),
}  # fmt: skip
