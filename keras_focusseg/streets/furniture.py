"""What stands beside the road: lamps, traffic lights, signs, bollards and fences.

Class Pole is the post with its arm and lamp; a sign plate or traffic-light head is SignSymbol. A
fence is its whole panel, gaps between bars included, as CamVid's annotators drew it.
"""

import math
from dataclasses import dataclass

import numpy as np

from keras_focusseg.streets.canvas import (
    BUILDING,
    FENCE,
    NEAR,
    POLE,
    SIGN,
    Canvas,
    Color,
    Number,
    pick,
)
from keras_focusseg.streets.weather import Weather

SIGN_KINDS = (
    "speed",
    "warning",
    "yield",
    "stop",
    "no_entry",
    "blue",
    "info",
    "board",
    "parking",
    "back",
)
FENCE_KINDS = ("boards", "rails", "mesh", "guard", "picket", "barrier", "hoarding", "wall")


@dataclass(frozen=True)
class Post:
    """An upright thing at one place.

    Attributes:
        kind: "lamp", "lights", "sign", "bollard" or "mast".
        s: Of the foot, across the road.
        z: Of the foot, along the road.
        base: Height of the ground under it.
        side: Which side of the road, -1 or +1.
        height: Metres.
        plates: Kinds of signs from top to bottom.
        color: Albedo of the post.
        state: 0 red, 1 amber, 2 green.
        turn: How much of its width a plate shows.
    """

    kind: str
    s: float
    z: float
    base: float
    side: int
    height: float
    plates: tuple[str, ...]
    color: Color
    state: int
    turn: float


@dataclass(frozen=True)
class Fence:
    """A straight piece of fence between two places (street coordinates)."""

    kind: str
    start: tuple[float, float]
    end: tuple[float, float]
    height: float
    color: Color
    base: float


def sample_post(
    rng: np.random.Generator, kind: str, s: float, z: float, side: int, base: float
) -> Post:
    """Draws a post of a kind at (s, z)."""
    gray = rng.uniform(0.20, 0.55)
    color = (gray, gray, gray * 1.03)
    if kind == "lamp" and rng.random() < 0.3:
        color = (0.13, 0.20, 0.17)
    if kind == "mast":
        color = (0.36, 0.29, 0.23)
    low, high = {
        "lamp": (5.5, 8.5),
        "lights": (3.0, 3.6),
        "sign": (2.3, 3.0),
        "bollard": (0.9, 1.1),
        "mast": (6.5, 8.5),
    }[kind]
    plates: tuple[str, ...] = ()
    if kind == "sign":
        count = 1 if rng.random() < 0.75 else 2
        plates = tuple(pick(rng, SIGN_KINDS) for _ in range(count))
    return Post(
        kind,
        s,
        z,
        base,
        side,
        rng.uniform(low, high),
        plates,
        color,
        int(rng.integers(3)),
        rng.uniform(0.8, 1.0),
    )


def draw_post(cv: Canvas, weather: Weather, post: Post, sunlit: float) -> None:
    """Draws a post with what hangs on it."""
    if post.z < NEAR + 0.6:
        return
    camera, z = cv.camera, post.z
    scale = camera.pixels(z)
    foot = camera.project(np.array([camera.lane(post.s, z), post.base, z]))
    thick = {"lamp": 0.075, "lights": 0.06, "sign": 0.038, "bollard": 0.08, "mast": 0.13}[post.kind]
    dark = np.asarray(post.color) * weather.light((0.0, 0.0, -1.0), sunlit)
    bright = np.asarray(post.color) * weather.light(
        (1.0 if weather.sun[0] > 0 else -1.0, 0.0, 0.0), sunlit
    )

    def bar(x0: float, y0: float, x1: float, y1: float, r0: float, r1: float) -> None:
        """A rounded bar in metres right of and above the foot."""
        a = foot + np.array([x0, -y0]) * scale
        b = foot + np.array([x1, -y1]) * scale
        radius = np.maximum(np.array([[r0, r1]]) * scale, 0.55)
        cv.capsules(a[None], b[None], radius, dark, POLE, z)
        if radius[0, 0] > 1.2:
            shift = np.array([math.copysign(0.4, weather.sun[0]), 0.0]) * radius[0].mean()
            cv.capsules(a[None] + shift, b[None] + shift, radius * 0.45, bright, POLE, z)

    bar(0, 0, 0, post.height, thick, thick * (0.6 if post.kind in ("lamp", "mast") else 1.0))
    toward = -post.side
    if post.kind == "lamp":
        bar(0, 0, 0, 0.9, thick * 1.5, thick * 1.4)
        arm = 1.5 * toward
        bar(0, post.height, arm, post.height + 0.35, thick * 0.6, thick * 0.5)
        bar(arm, post.height + 0.33, arm + 0.5 * toward, post.height + 0.36, 0.10, 0.07)
        if weather.lamps > 0.6:
            lamp = foot + np.array([arm + 0.25 * toward, -post.height - 0.26]) * scale
            shine = (1.0, 0.93, 0.72)
            cv.discs(lamp[None], np.array([[0.22, 0.07]]) * scale, shine, POLE, z * 0.2)
            cv.glow(lamp, 0.8 * scale, (1.0, 0.82, 0.5), 0.55, POLE, shine, z * 0.2)
    elif post.kind == "lights":
        _traffic_light(cv, weather, post, foot, scale, 0.0, post.height - 0.15, sunlit)
        if post.turn > 0.9:
            bar(0, post.height, 0, 5.4, thick, thick)
            bar(0, 5.4, 2.6 * toward, 5.6, thick * 0.8, thick * 0.6)
            _traffic_light(cv, weather, post, foot, scale, 2.6 * toward, 6.0, sunlit)
    elif post.kind == "sign":
        top = post.height
        for plate in post.plates:
            top -= _plate(cv, weather, post, plate, foot, scale, top, sunlit)
    elif post.kind == "bollard":
        bar(0, post.height * 0.78, 0, post.height * 0.86, thick * 1.1, thick * 1.1)
    elif post.kind == "mast":
        for level in (0.9, 0.82):
            bar(-0.8, post.height * level, 0.8, post.height * level, 0.04, 0.04)


def _traffic_light(
    cv: Canvas,
    weather: Weather,
    post: Post,
    foot: np.ndarray,
    scale: float,
    x: float,
    top: float,
    sunlit: float,
) -> None:
    """Draws a head with three lamps, `x` metres right of the foot, its top at height `top`."""
    light = weather.light((0.0, 0.0, -1.0), sunlit)
    z = post.z

    def box(x0: float, x1: float, y0: float, y1: float, color: np.ndarray) -> None:
        corners = np.array([(x0, -y0), (x1, -y0), (x1, -y1), (x0, -y1)]) * scale
        cv.shape(foot + corners, color, SIGN, z)

    box(x - 0.26, x + 0.26, top - 1.12, top + 0.06, np.array([0.62, 0.62, 0.60]) * light)
    box(x - 0.21, x + 0.21, top - 1.06, top, np.array([0.07, 0.08, 0.08]) * light)
    on = ((1.0, 0.18, 0.12), (1.0, 0.70, 0.12), (0.20, 0.95, 0.50))
    for k in range(3):
        center = foot + np.array([x, -(top - 0.20 - 0.33 * k)]) * scale
        color = np.array(on[k]) if k == post.state else np.array(on[k]) * 0.22
        cv.discs(center[None], np.array([[0.13, 0.13]]) * scale, color, SIGN, z * 0.3)
        if k == post.state:
            strength = 0.30 + 0.3 * weather.lamps
            cv.glow(center, 0.3 * scale, on[k], strength, SIGN, color, z * 0.3)


def _plate(
    cv: Canvas,
    weather: Weather,
    post: Post,
    kind: str,
    foot: np.ndarray,
    scale: float,
    top: float,
    sunlit: float,
) -> float:
    """Draws one sign below height `top`; returns the height it takes."""
    light = weather.light((0.0, 0.0, -1.0), max(sunlit, 0.0)) * 1.05
    z, turn = post.z, post.turn
    red, white = np.array([0.74, 0.08, 0.08]), np.array([0.90, 0.90, 0.88])
    blue, black = np.array([0.08, 0.25, 0.60]), np.array([0.07, 0.07, 0.08])

    def fill(points: list | np.ndarray, color: np.ndarray) -> None:
        xy = foot + np.asarray(points) * (scale * turn, -scale)
        cv.shape(xy, color * light, SIGN, z)

    def ring(radius: float, count: int, turned: float, y: float) -> np.ndarray:
        a = np.linspace(0, 2 * math.pi, count, endpoint=False) + turned
        return np.stack([radius * np.cos(a), y + radius * np.sin(a)], axis=-1)

    def box(x0: float, x1: float, y0: float, y1: float) -> list:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]

    r = 0.36
    if kind in ("speed", "no_entry", "blue", "stop"):
        y = top - r
        count, turned = (8, math.pi / 8) if kind == "stop" else (16, 0.0)
        outer = {"speed": red, "no_entry": red, "blue": white, "stop": white}[kind]
        fill(ring(r, count, turned, y), outer)
        inner = {"speed": white, "no_entry": red, "blue": blue, "stop": red}[kind]
        fill(ring(r * (0.76 if kind == "speed" else 0.92), count, turned, y), inner)
        if kind == "speed":
            fill(box(-0.17, -0.03, y - 0.12, y + 0.12), black)
            fill(box(-0.13, -0.07, y - 0.07, y + 0.07), white)
            fill(box(0.03, 0.17, y - 0.12, y + 0.12), black)
            fill(box(0.07, 0.13, y - 0.07, y + 0.07), white)
        elif kind == "no_entry":
            fill(box(-0.26, 0.26, y - 0.06, y + 0.06), white)
        elif kind == "stop":
            fill(box(-0.25, 0.25, y - 0.07, y + 0.07), white)
        else:
            fill(
                [
                    (-0.04, y - 0.2),
                    (0.04, y - 0.2),
                    (0.04, y + 0.04),
                    (0.14, y + 0.04),
                    (0.0, y + 0.22),
                    (-0.14, y + 0.04),
                    (-0.04, y + 0.04),
                ],
                white,
            )
        return 2 * r + 0.05
    if kind in ("warning", "yield"):
        sign = 1.0 if kind == "warning" else -1.0
        y = top - (0.48 if kind == "warning" else 0.28)
        fill(ring(0.46, 3, math.pi / 2 * sign, y), red)
        fill(ring(0.27, 3, math.pi / 2 * sign, y), white)
        if kind == "warning":
            fill(box(-0.03, 0.03, y - 0.03, y + 0.15), black)
            fill(box(-0.03, 0.03, y - 0.11, y - 0.06), black)
        return 0.78
    if kind == "back":
        fill(ring(r, 16, 0.0, top - r), np.array([0.46, 0.47, 0.48]))
        return 2 * r + 0.05
    wide, tall = {"info": (0.30, 0.62), "board": (0.85, 0.62), "parking": (0.28, 0.56)}[kind]
    ground = {
        "info": white,
        "board": (blue, np.array([0.05, 0.34, 0.20]))[post.state % 2],
        "parking": blue,
    }[kind]
    fill(box(-wide, wide, top - tall, top), white if kind != "info" else black)
    fill(box(-wide + 0.03, wide - 0.03, top - tall + 0.03, top - 0.03), ground)
    if kind == "parking":
        fill(box(-0.11, -0.04, top - 0.46, top - 0.1), white)
        fill(box(-0.11, 0.12, top - 0.32, top - 0.1), white)
        fill(box(-0.04, 0.05, top - 0.26, top - 0.16), blue)
    else:
        ink = black if kind == "info" else white
        for k, length in enumerate((0.9, 0.6, 0.75)):
            y = top - 0.14 - 0.16 * k
            left = -wide + 0.1
            fill(box(left, left + (2 * wide - 0.2) * length, y - 0.07, y), ink)
    return tall + 0.05


def shade_post(cv: Canvas, weather: Weather, post: Post) -> None:
    """Casts the thin shadow of a post."""
    if weather.shadow < 0.12 or post.z < NEAR:
        return
    foot = float(cv.camera.lane(post.s, post.z)), post.z
    steep = max(weather.sun[1], 0.12)
    height = min(post.height, 30.0 * steep)  # a low sun throws no shadow beyond 30 m
    wide = 0.08 if post.kind != "sign" else 0.05
    cv.bar_shadow(foot, weather.cast, 0.0, height, wide, 0.8)
    if post.kind == "sign":
        cv.bar_shadow(foot, weather.cast, 0.76 * height, height, 0.35, 0.8)


def draw_fence(cv: Canvas, weather: Weather, fence: Fence, sunlit: float) -> None:
    """Draws a piece of fence (or a low brick wall, class Building)."""
    (s0, z0), (s1, z1) = fence.start, fence.end
    if min(z0, z1) < NEAR + 0.1:
        keep = NEAR + 0.1
        if max(z0, z1) <= keep:
            return
        if z0 < keep:
            s0, z0 = s0 + (s1 - s0) * (keep - z0) / (z1 - z0), keep
        else:
            s1, z1 = s1 + (s0 - s1) * (keep - z1) / (z0 - z1), keep
    camera = cv.camera
    length = math.hypot(s1 - s0, z1 - z0)
    along = abs(z1 - z0) > abs(s1 - s0)
    normal = (-math.copysign(1.0, s0 - camera.offset), 0.0, 0.0) if along else (0.0, 0.0, -1.0)
    light = weather.light(normal, sunlit)
    color = np.asarray(fence.color)
    size = camera.pixels((z0 + z1) / 2)
    height, base = fence.height, fence.base

    def quad(a: Number, b: Number, y0: Number, y1: Number) -> np.ndarray:
        """Panels between shares a and b of the length, from y0 to y1: (N, 4, 3)."""
        count = np.broadcast(a, b, y0, y1).size
        t, y = np.empty((count, 4)), np.empty((count, 4))
        t[:, 0] = t[:, 3] = a
        t[:, 1] = t[:, 2] = b
        y[:, 0] = y[:, 1] = y0
        y[:, 2] = y[:, 3] = y1
        return camera.street(s0 + (s1 - s0) * t, y + base, z0 + (z1 - z0) * t)

    def paint(points: np.ndarray, albedo: np.ndarray, label: int = FENCE, grain: int = 0) -> None:
        cv.faces(points, np.asarray(albedo) * light, label, grain)

    def uprights(pitch: float, width: float, y0: float, y1: float, albedo: np.ndarray) -> None:
        count = max(2, int(length / pitch))
        limit = int(camera.focal / camera.size[1] * 400)
        t = np.linspace(0, 1, min(count, limit) + 1)
        w = max(width, 0.5 / size) / length
        paint(quad(np.maximum(t - w / 2, 0), np.minimum(t + w / 2, 1), y0, y1), albedo)

    if fence.kind == "wall":
        paint(quad(0, 1, 0, height), color, BUILDING, 2)
        paint(quad(0, 1, height - 0.1, height), color * 1.2, BUILDING, 1)
        return
    if fence.kind in ("boards", "hoarding", "barrier"):
        paint(quad(0, 1, 0, height), color, FENCE, 1)
        if fence.kind == "boards" and size > 6:
            count = max(2, int(length / 0.16))
            t = np.linspace(0, 1, count + 1)[:-1]
            tone = 0.84 + 0.24 * ((np.arange(count) * 37) % 11) / 10.0
            gap = 0.012 / length
            paint(quad(t + gap, t + 1 / count, 0.05, height), color * tone[:, None], FENCE, 1)
            paint(quad(0, 1, height - 0.07, height), color * 0.75)
        elif fence.kind == "hoarding":
            count = max(1, int(length / 1.2))
            t = np.linspace(0, 1, count + 1)
            paint(quad(t - 0.03 / length, t + 0.03 / length, 0, height + 0.1), color * 0.6)
            paint(quad(0, 1, height * 0.55, height * 0.68), color * 0.5 + 0.42)
        elif fence.kind == "barrier":
            count = max(2, int(length / 0.5))
            t = np.linspace(0, 1, count + 1)[:-1]
            stripe = np.where(
                (np.arange(count) % 2 == 0)[:, None], (0.80, 0.12, 0.10), (0.88, 0.87, 0.85)
            )
            paint(quad(t, t + 1 / count, height * 0.45, height), stripe)
        return
    outline = camera.project(quad(0, 1, 0, height)[0])
    cv.veil(outline, FENCE)
    if fence.kind == "mesh":
        for level in np.linspace(0.0, 1.0, 10):
            w = max(0.012, 0.14 / size)
            paint(quad(0, 1, level * height - w, level * height + w), color * 0.9)
        uprights(0.28, 0.014, 0, height, color * 0.95)
        uprights(2.4, 0.07, 0, height + 0.12, color)
        paint(quad(0, 1, height - 0.05, height), color)
        return
    if fence.kind == "picket":
        for level in (0.3, 0.75):
            paint(quad(0, 1, level * height - 0.04, level * height + 0.04), color * 0.85)
        uprights(0.17, 0.085, 0.05, height, color)
        return
    pitch, bar = (0.14, 0.022) if fence.kind == "rails" else (0.17, 0.022)
    uprights(pitch, bar, 0.08, height, color * 0.92)
    thick = 0.05 if fence.kind == "guard" else 0.04
    paint(quad(0, 1, height - thick, height), color * 1.1)
    paint(quad(0, 1, 0.08, 0.08 + thick), color * 1.05)
    uprights(2.0, 0.06, 0.0, height + 0.05, color)


def shade_fence(cv: Canvas, weather: Weather, fence: Fence) -> None:
    """Casts the shadow of a fence; open ones only dim the sun."""
    if weather.shadow < 0.12:
        return
    z = np.array([fence.start[1], fence.end[1]])
    x = cv.camera.lane(np.array([fence.start[0], fence.end[0]]), z)
    dx, dz = (fence.height * way for way in weather.cast)
    solid = fence.kind in ("boards", "hoarding", "barrier", "wall")
    if cv.sunlit(float(x.mean()), float(z.mean())) > 0.4:
        cv.shadow(
            [x[0], x[1], x[1] + dx, x[0] + dx],
            [z[0], z[1], z[1] + dz, z[0] + dz],
            0.95 if solid else 0.4,
        )
