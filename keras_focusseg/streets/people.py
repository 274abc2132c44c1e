"""Pedestrians and cyclists: jointed figures of rounded limbs, at any heading."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_focusseg.streets.canvas import (
    BICYCLIST,
    NEAR,
    PEDESTRIAN,
    Canvas,
    Color,
    tinted,
)
from keras_focusseg.streets.weather import Weather

SKINS = ((0.87, 0.68, 0.56), (0.76, 0.56, 0.43), (0.55, 0.38, 0.28), (0.36, 0.25, 0.19))
CLOTHES = (
    (0.14, 0.15, 0.19),
    (0.22, 0.25, 0.35),
    (0.55, 0.12, 0.13),
    (0.16, 0.30, 0.52),
    (0.78, 0.76, 0.70),
    (0.30, 0.36, 0.25),
    (0.64, 0.50, 0.34),
    (0.83, 0.66, 0.20),
    (0.46, 0.46, 0.48),
    (0.12, 0.40, 0.38),
    (0.70, 0.36, 0.44),
    (0.88, 0.86, 0.84),
)
TROUSERS = (
    (0.13, 0.14, 0.17),
    (0.20, 0.26, 0.38),
    (0.30, 0.30, 0.32),
    (0.48, 0.42, 0.33),
    (0.10, 0.10, 0.11),
    (0.34, 0.42, 0.54),
)
HAIRS = ((0.09, 0.07, 0.06), (0.28, 0.19, 0.12), (0.62, 0.49, 0.28), (0.55, 0.54, 0.53))


@dataclass(frozen=True)
class Person:
    """Someone on foot or on a bicycle.

    Attributes:
        s: Of the feet, across the road.
        z: Of the feet, along the road.
        base: Height of the ground.
        heading: 0 away from the camera, pi/2 to the right, pi towards it.
        height: Metres.
        phase: Position in the stride or of the pedals, radians.
        stride: Largest swing of a leg, in radians.
        coat: Albedo of the coat.
        legs: Albedo of the trousers.
        skin: Albedo of the skin.
        hair: Albedo of the hair.
        extra: "none", "bag", "long" (coat), "umbrella" or "helmet".
        rides: Whether on a bicycle.
    """

    s: float
    z: float
    base: float
    heading: float
    height: float
    phase: float
    stride: float
    coat: Color
    legs: Color
    skin: Color
    hair: Color
    extra: str
    rides: bool


def sample_person(
    rng: np.random.Generator,
    s: float,
    z: float,
    base: float,
    heading: float,
    rides: bool,
    wet: bool,
) -> Person:
    """Draws a pedestrian or cyclist at (s, z)."""
    child = not rides and rng.random() < 0.1
    tall = rng.uniform(1.05, 1.40) if child else rng.uniform(1.58, 1.90)
    pick = rng.random(4)
    extra = "none" if rng.random() < 0.5 else "bag" if rng.random() < 0.6 else "long"
    if wet and rng.random() < 0.55:
        extra = "umbrella"
    if rides:
        extra = "helmet" if rng.random() < 0.65 else "none"
    return Person(
        s,
        z,
        base,
        heading,
        tall,
        rng.uniform(0, 2 * math.pi),
        rng.uniform(0.22, 0.50) if rng.random() < 0.85 else 0.05,
        CLOTHES[int(pick[0] * len(CLOTHES))],
        TROUSERS[int(pick[1] * len(TROUSERS))],
        SKINS[int(pick[2] * len(SKINS))],
        HAIRS[int(pick[3] * len(HAIRS))],
        extra,
        rides,
    )


class _Figure:
    """Collects limbs in body coordinates (u ahead, v right, y up) and draws them far to near."""

    def __init__(self, cv: Canvas, person: Person) -> None:
        self.cos, self.sin = math.cos(person.heading), math.sin(person.heading)
        self.x, self.z = float(cv.camera.lane(person.s, person.z)), person.z
        self.base = person.base
        self.camera = cv.camera
        self.limbs: list = []

    def world(self, points: Any) -> np.ndarray:
        """(..., 3) of (u, v, y) to world points."""
        p = np.asarray(points, dtype=np.float64)
        u, v, y = p[..., 0], p[..., 1], p[..., 2]
        return np.stack(
            [
                self.x + u * self.sin + v * self.cos,
                self.base + y,
                self.z + u * self.cos - v * self.sin,
            ],
            axis=-1,
        )

    def limb(
        self, a: Color, b: Color, ra: float, rb: float, color: Color, nearer: float = 0.0
    ) -> None:
        """Adds a rounded bar from a to b, radii in metres; `nearer` moves it up in the order."""
        self.limbs.append((a, b, ra, rb, color, nearer))

    def draw(self, cv: Canvas, weather: Weather, label: int, sunlit: float, least: float) -> None:
        """Draws all limbs with a light and a dark side; `least`: smallest radius in pixels."""
        ends = self.world([(limb[0], limb[1]) for limb in self.limbs])  # (N, 2, 3)
        depth = ends[..., 2].mean(axis=1) - np.array([limb[5] for limb in self.limbs])
        order = np.argsort(-depth, kind="stable")
        ends = ends[order]
        xy = self.camera.project(ends)
        scale = self.camera.focal / ends[..., 2]
        radius = np.array([(limb[2], limb[3]) for limb in self.limbs])[order] * scale
        radius = np.maximum(radius, least)
        albedo = np.array([limb[4] for limb in self.limbs])[order]
        toward = 1.0 if weather.sun[0] > 0 else -1.0
        body = weather.light((0.0, 0.1, -0.995), sunlit * 0.8)
        start, end, colors = xy[:, 0], xy[:, 1], albedo * body * 0.88
        if float(radius.max()) > 2.0:
            # The lit side follows each limb at once, so that nearer limbs still cover it.
            shift = np.zeros_like(start)
            shift[:, 0] = toward * 0.38 * radius.mean(axis=1)
            side = weather.light((toward * 0.9, 0.3, -0.3), sunlit)
            start, end = _interleave(start, start + shift), _interleave(end, end + shift)
            colors = _interleave(colors, albedo * side * 0.98)
            radius = _interleave(radius, radius * 0.55)
        cv.capsules(start, end, radius, colors, label, self.z, 1)


def _interleave(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rows a0, b0, a1, b1, ..."""
    both = np.empty((2 * len(a), a.shape[1]))
    both[::2], both[1::2] = a, b
    return both


def draw_person(cv: Canvas, weather: Weather, person: Person, sunlit: float) -> None:
    """Draws a pedestrian or a cyclist; `sunlit` dims the sun."""
    if person.z < NEAR + 1.0:
        return
    if person.rides:
        _cyclist(cv, weather, person, sunlit)
    else:
        _walker(cv, weather, person, sunlit)


def _walker(cv: Canvas, weather: Weather, p: Person, sunlit: float) -> None:
    figure = _Figure(cv, p)
    h = p.height / 1.75
    swing = p.stride * math.sin(p.phase)
    limb = figure.limb
    shoe = (0.08, 0.07, 0.07)
    for side in (-1, 1):
        reach = side * swing
        hip = (0.0, side * 0.085 * h, 0.92 * h)
        knee = (0.42 * h * math.sin(reach) + 0.04, side * 0.09 * h, 0.50 * h)
        bend = 0.30 * max(0.0, -reach)
        foot = (0.86 * h * math.sin(reach) - bend * h, side * 0.09 * h, 0.07 * h + 0.3 * bend * h)
        limb(hip, knee, 0.088 * h, 0.068 * h, p.legs)
        limb(knee, foot, 0.066 * h, 0.045 * h, p.legs)
        limb(foot, (foot[0] + 0.14 * h, foot[1], foot[2] - 0.025 * h), 0.045 * h, 0.04 * h, shoe)
        shoulder = (0.0, side * 0.19 * h, 1.42 * h)
        elbow = (-0.20 * h * math.sin(reach) - 0.02, side * 0.235 * h, 1.14 * h)
        hand = (-0.34 * h * math.sin(reach) + 0.06, side * 0.22 * h, 0.90 * h)
        if p.extra == "umbrella" and side > 0:
            elbow, hand = (0.10 * h, 0.2 * h, 1.18 * h), (0.22 * h, 0.1 * h, 1.38 * h)
        limb(shoulder, elbow, 0.058 * h, 0.048 * h, tinted(p.coat, 0.93))
        limb(elbow, hand, 0.046 * h, 0.036 * h, tinted(p.coat, 0.93))
        limb(hand, (hand[0], hand[1], hand[2] - 0.05), 0.036 * h, 0.036 * h, p.skin)
        low = 0.62 * h if p.extra == "long" else 0.95 * h
        limb(
            (0.0, side * 0.065 * h, low),
            (0.0, side * 0.10 * h, 1.38 * h),
            0.118 * h,
            0.112 * h,
            p.coat,
            0.03,
        )
    if p.extra == "bag":
        limb(
            (-0.14 * h, 0.0, 1.08 * h),
            (-0.14 * h, 0.0, 1.32 * h),
            0.13 * h,
            0.13 * h,
            tinted(p.legs, 0.5, 0.1),
        )
    limb((0.0, 0.0, 1.44 * h), (0.01, 0.0, 1.54 * h), 0.055 * h, 0.055 * h, p.skin)
    limb((0.02, 0.0, 1.585 * h), (0.02, 0.0, 1.655 * h), 0.082 * h, 0.088 * h, p.skin, 0.04)
    limb((-0.03, 0.0, 1.61 * h), (-0.005, 0.0, 1.675 * h), 0.085 * h, 0.090 * h, p.hair, 0.025)
    limb((0.0, 0.0, 1.70 * h), (0.0, 0.0, 1.705 * h), 0.078 * h, 0.078 * h, p.hair, 0.08)
    figure.draw(cv, weather, PEDESTRIAN, sunlit, 0.45)
    if p.extra == "umbrella":
        _umbrella(cv, weather, figure, p, h, sunlit)


def _umbrella(
    cv: Canvas, weather: Weather, figure: _Figure, p: Person, h: float, sunlit: float
) -> None:
    center = figure.camera.project(figure.world([(0.15 * h, 0.05 * h, 1.72 * h)])[0])
    scale = figure.camera.pixels(p.z)
    angle = np.linspace(0.0, math.pi, 9)
    dome = np.stack([0.55 * np.cos(angle), -0.36 * np.sin(angle)], axis=-1) * scale * h
    light = weather.light((0.0, 0.9, -0.4), sunlit)
    color = np.asarray(CLOTHES[int(p.phase * 3) % len(CLOTHES)])
    cv.shape(center + dome, color * light, PEDESTRIAN, p.z)
    cv.shape(center + dome[3:7] * (0.5, 1.0), color * light * 1.15, PEDESTRIAN, p.z)


def _cyclist(cv: Canvas, weather: Weather, p: Person, sunlit: float) -> None:
    figure = _Figure(cv, p)
    h = p.height / 1.75
    limb = figure.limb
    tire, metal = (0.07, 0.07, 0.075), tinted(p.coat[::-1], 0.75, 0.05)
    hub = 0.34
    angle = np.linspace(0, 2 * np.pi, 15)
    for u in (-0.52, 0.52):
        points = [(u + hub * math.cos(a), 0.0, hub + hub * math.sin(a)) for a in angle]
        for a, b in zip(points[:-1], points[1:], strict=True):
            limb(a, b, 0.022, 0.022, tire)
    crank, seat, head, bar = (-0.06, 0, 0.30), (-0.2, 0, 0.92), (0.36, 0, 0.88), (0.42, 0, 1.06)
    for a, b in (
        (crank, seat),
        (crank, head),
        ((-0.17, 0, 0.82), head),
        ((-0.52, 0, hub), crank),
        ((-0.52, 0, hub), (-0.17, 0, 0.80)),
        (head, (0.52, 0, hub)),
        (head, bar),
    ):
        limb(a, b, 0.022, 0.022, metal)
    limb((0.42, -0.24, 1.06), (0.42, 0.24, 1.06), 0.02, 0.02, tire)
    limb((-0.3, 0, 0.95), (-0.1, 0, 0.95), 0.05, 0.03, tire)
    for side in (-1, 1):
        turn = p.phase + (0 if side < 0 else math.pi)
        foot = (-0.06 + 0.17 * math.cos(turn), side * 0.12, 0.32 + 0.17 * math.sin(turn))
        hip = (-0.2, side * 0.09, 0.98)
        knee = (0.16 + 0.06 * math.cos(turn), side * 0.12, 0.66 + 0.10 * math.sin(turn))
        limb(hip, knee, 0.092 * h, 0.068 * h, p.legs)
        limb(knee, foot, 0.064 * h, 0.045 * h, p.legs)
        limb(foot, (foot[0] + 0.14, foot[1], foot[2] - 0.02), 0.045, 0.038, (0.1, 0.1, 0.1))
        shoulder, hand = (0.14, side * 0.19 * h, 1.42 * h), (0.42, side * 0.22, 1.09)
        elbow = (0.24, side * 0.25 * h, 1.18 * h)
        limb(shoulder, elbow, 0.056 * h, 0.046 * h, p.coat)
        limb(elbow, hand, 0.046 * h, 0.036 * h, p.skin if p.phase < 2 else p.coat)
        limb(
            (-0.18, side * 0.07, 1.0),
            (0.10, side * 0.105 * h, 1.40 * h),
            0.12 * h,
            0.115 * h,
            p.coat,
            0.02,
        )
    limb((0.15, 0, 1.46 * h), (0.2, 0, 1.54 * h), 0.055, 0.055, p.skin)
    limb((0.24, 0, 1.60 * h), (0.24, 0, 1.66 * h), 0.082, 0.085, p.skin, 0.04)
    cap = p.hair if p.extra != "helmet" else p.coat[::-1]
    limb((0.17, 0, 1.66 * h), (0.26, 0, 1.70 * h), 0.09, 0.085, cap, 0.05)
    for u in (-0.52, 0.52):
        ring = [(u + hub * math.cos(a), 0.0, hub + hub * math.sin(a)) for a in angle[:-1]]
        cv.veil(figure.camera.project(figure.world(ring)), BICYCLIST)
    figure.draw(cv, weather, BICYCLIST, sunlit, 0.4)


def shade_person(cv: Canvas, weather: Weather, p: Person) -> None:
    """Casts the shadow of a figure and darkens its feet."""
    x, z = float(cv.camera.lane(p.s, p.z)), p.z
    c, s = math.cos(p.heading), math.sin(p.heading)
    length = 0.85 if p.rides else 0.1
    if weather.shadow > 0.12:
        k = p.height / 1.75
        for low, high, wide in ((0.0, 0.9, 0.09), (0.75, 1.45, 0.2), (1.5, 1.75, 0.09)):
            cv.bar_shadow((x, z), weather.cast, low * k, high * k, wide * k, 0.92)
        if p.rides:
            dx, dz = weather.cast
            px, pz = s * length, c * length
            cv.shadow(
                [x - px, x + px, x + px + dx * 0.6, x - px + dx * 0.6],
                [z - pz, z + pz, z + pz + dz * 0.6, z - pz + dz * 0.6],
                0.7,
            )
    angle = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    along, across = (length + 0.12) * np.cos(angle), 0.16 * np.sin(angle)
    if cv.sunlit(x, z) > 0.5:
        cv.shadow(x + along * s + across * c, z + along * c - across * s, 0.5)
    if weather.wet > 0:
        scale = cv.camera.pixels(z)
        foot = cv.camera.project(np.array([x, p.base, z]))
        low, wide = float(foot[1]), 0.2 * scale
        cv.mirror(foot[0] - wide, foot[0] + wide, low, low + p.height * 0.8 * scale, p.coat)
