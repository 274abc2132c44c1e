"""Buildings: walls with window grids in perspective, shop fronts, roofs and gables."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from keras_focusseg.streets.canvas import (
    BUILDING,
    NEAR,
    Canvas,
    Color,
    Number,
    pick,
)
from keras_focusseg.streets.weather import Weather

PALETTE = {
    "brick": ((0.55, 0.31, 0.23), (0.48, 0.27, 0.21), (0.62, 0.40, 0.29), (0.60, 0.47, 0.34)),
    "render": (
        (0.86, 0.82, 0.72),
        (0.80, 0.77, 0.74),
        (0.85, 0.72, 0.55),
        (0.74, 0.78, 0.80),
        (0.88, 0.86, 0.83),
        (0.80, 0.62, 0.52),
        (0.70, 0.76, 0.68),
    ),
    "stone": ((0.70, 0.64, 0.53), (0.62, 0.58, 0.52), (0.75, 0.70, 0.60)),
    "concrete": ((0.60, 0.60, 0.59), (0.68, 0.67, 0.65), (0.52, 0.53, 0.55)),
    "glass": ((0.40, 0.46, 0.52), (0.34, 0.42, 0.46), (0.46, 0.50, 0.54)),
}
ROOFS = ((0.40, 0.25, 0.20), (0.33, 0.33, 0.36), (0.47, 0.30, 0.22), (0.28, 0.27, 0.28))
SIGNS = (
    (0.62, 0.13, 0.13),
    (0.12, 0.28, 0.48),
    (0.12, 0.38, 0.26),
    (0.20, 0.20, 0.22),
    (0.78, 0.62, 0.20),
    (0.85, 0.84, 0.80),
    (0.45, 0.20, 0.42),
)


@dataclass(frozen=True)
class Building:
    """One building beside the road; lengths in metres.

    Attributes:
        side: -1 left, +1 right of the road.
        front: `s` of the wall along the road.
        depth: Extent away from the road.
        z: Near and far end along the road.
        storeys: Number of the floors.
        storey: Height of a floor.
        style: A key of `PALETTE`.
        wall: Albedo of the walls.
        trim: Albedo of frames and ledges.
        roof_color: Albedo of the roof.
        bay: Width of one window axis.
        window: Share of bay and storey that a window takes, (width, height).
        roof: "flat" or "pitched".
        rise: Height of a pitched roof.
        shop: Whether the ground floor has shop windows.
        balcony: Whether there are balconies.
        tones: (64,) random numbers for windows, signs, curtains.
    """

    side: int
    front: float
    depth: float
    z: tuple[float, float]
    storeys: int
    storey: float
    style: str
    wall: Color
    trim: Color
    roof_color: Color
    bay: float
    window: tuple[float, float]
    roof: str
    rise: float
    shop: bool
    balcony: bool
    tones: np.ndarray

    @property
    def height(self) -> float:
        """Height of the eaves."""
        return self.storeys * self.storey + (0.6 if self.shop else 0.3)

    @property
    def top(self) -> float:
        """Height of the highest point."""
        return self.height + (self.rise if self.roof == "pitched" else 0.5)


def sample_building(
    rng: np.random.Generator, kind: str, side: int, front: float, z: tuple[float, float]
) -> Building:
    """Draws a building for a kind of street (see `road.sample_road`) at a given place."""
    home = kind in ("homes", "park")
    if home:
        style = pick(rng, ("brick", "render", "stone"), (0.5, 0.38, 0.12))
        storeys = pick(rng, (2, 3), (0.8, 0.2))
    else:
        style = pick(rng, tuple(PALETTE), (0.27, 0.30, 0.19, 0.14, 0.10))
        storeys = int(rng.integers(3, 6 if kind == "shops" else 7))
    wall = np.array(PALETTE[style][int(rng.integers(len(PALETTE[style])))])
    wall = np.clip(wall * rng.uniform(0.88, 1.08), 0, 0.92)
    glassy = style == "glass"
    trim = (0.84, 0.83, 0.80) if rng.random() < 0.6 else tuple((wall * 0.8).tolist())
    pitched = home or (style in ("brick", "render") and storeys <= 4 and rng.random() < 0.35)
    return Building(
        side=side,
        front=front,
        depth=rng.uniform(8.0, 12.0),
        z=z,
        storeys=storeys,
        storey=rng.uniform(2.7, 3.1) if home else rng.uniform(2.9, 3.6),
        style=style,
        wall=tuple(wall.tolist()),
        trim=trim,
        roof_color=ROOFS[int(rng.integers(len(ROOFS)))],
        bay=rng.uniform(1.6, 1.9) if glassy else rng.uniform(2.1, 3.2),
        window=(0.90, 0.78) if glassy else (rng.uniform(0.36, 0.58), rng.uniform(0.48, 0.64)),
        roof="pitched" if pitched else "flat",
        rise=rng.uniform(2.2, 3.8),
        shop=bool(rng.random() < {"shops": 0.9, "town": 0.4, "avenue": 0.35}.get(kind, 0.0)),
        balcony=bool(not home and rng.random() < 0.2),
        tones=rng.random(64),
    )


class _Plane:
    """One wall: `u` runs along it, y up, `out` towards the street."""

    def __init__(self, cv: Canvas, building: Building, facing: str) -> None:
        self.camera = cv.camera
        self.building = building
        self.facing = facing

    def rects(self, u0: Number, u1: Number, y0: Number, y1: Number, out: float = 0.0) -> np.ndarray:
        """Corner points (N, 4, 3) of wall rectangles; numbers or arrays (N,)."""
        count = np.broadcast(u0, u1, y0, y1).size
        u, y = np.empty((count, 4)), np.empty((count, 4))
        u[:, 0] = u[:, 3] = u0
        u[:, 1] = u[:, 2] = u1
        y[:, 0] = y[:, 1] = y0
        y[:, 2] = y[:, 3] = y1
        return self.points(u, y, out)

    def points(self, u: np.ndarray, y: np.ndarray, out: Number) -> np.ndarray:
        """World points of wall coordinates (arrays of one shape; `out` may be a number)."""
        b = self.building
        if self.facing == "street":
            return self.camera.street(b.front - b.side * out, y, b.z[0] + u)
        return self.camera.street(b.front + b.side * u, y, b.z[0] - out)


def draw_building(cv: Canvas, weather: Weather, b: Building, shade_line: float) -> None:
    """Draws roof, the wall that faces the camera and the wall along the street.

    Args:
        cv: Canvas.
        weather: Light.
        b: The building.
        shade_line: Height up to which the street wall lies in the shadow of the other side.
    """
    if b.z[1] < NEAR + 0.3:
        return
    camera = cv.camera
    inner = camera.project(camera.street(b.front - b.side * 1.5, 0.0, b.z[1]))
    if not (inner[0] < camera.size[1] if b.side > 0 else inner[0] > 0):
        return  # even the far end lies outside the picture
    _roof(cv, weather, b)
    if b.z[0] > NEAR:
        _wall(cv, weather, b, "end", b.depth, 0.0)
    _wall(cv, weather, b, "street", b.z[1] - b.z[0], shade_line)


def shadow_building(cv: Canvas, weather: Weather, b: Building) -> None:
    """Casts the building's shadow on the ground."""
    z = np.array([b.z[0], b.z[1], b.z[1], b.z[0]])
    s = np.array([b.front, b.front, b.front + b.side * b.depth, b.front + b.side * b.depth])
    x = cv.camera.lane(s, z)
    dx, dz = (b.height * way for way in weather.cast)
    cv.hull_shadow(np.concatenate([x, x + dx]), np.concatenate([z, z + dz]), 1.0)


def _roof(cv: Canvas, weather: Weather, b: Building) -> None:
    if b.roof != "pitched":
        return
    mid, over = b.depth / 2, 0.35
    z0, z1 = max(b.z[0] - over, NEAR), b.z[1] + over
    rise = b.rise
    side = b.side
    size = math.hypot(rise, mid)
    color = np.asarray(b.roof_color) * weather.light((-side * rise / size, mid / size, 0.0))

    def face(corners: tuple[Color, ...], tint: np.ndarray) -> None:
        s, y, z = (np.array(v, dtype=float) for v in zip(*corners, strict=True))
        cv.faces(cv.camera.street(s, y, z)[None], tint, BUILDING, 2)

    ridge = b.front + side * mid
    eave = b.front - side * over
    drop = b.height - rise * over / mid
    back = b.front + side * b.depth
    if b.z[0] > NEAR:
        gable = np.asarray(b.wall) * weather.light((0.0, 0.0, -1.0))
        top = b.height
        face(((b.front, top, b.z[0]), (back, top, b.z[0]), (ridge, top + rise, b.z[0])), gable)
        far = b.front + side * (b.depth + over)
        thick = 0.22
        face(
            (
                (ridge, top + rise + 0.1, z0),
                (far, drop, z0),
                (far, drop - thick, z0),
                (ridge, top + rise - thick, z0),
            ),
            0.75 * gable,
        )
    face(
        (
            (eave, drop, z0),
            (eave, drop, z1),
            (ridge, b.height + rise, z1),
            (ridge, b.height + rise, z0),
        ),
        color,
    )
    # Courses of tiles: thin darker lines along the eaves.
    if cv.camera.pixels(max(z0, 3.0)) > 14:
        t = np.linspace(0.14, 0.94, 7)[:, None]
        s = eave + (ridge - eave) * t  # (7, 1)
        y = drop + (b.height + rise - drop) * t + np.array([0.0, 0.0, 0.05, 0.05])  # (7, 4)
        lines = cv.camera.street(s, y, np.array([z0, z1, z1, z0]))
        cv.faces(lines, color * 0.88, BUILDING, 1)
    if b.tones[40] < 0.7:  # a chimney on the ridge
        at = b.z[0] + (b.z[1] - b.z[0]) * (0.15 + 0.7 * b.tones[41])
        if at > 2.0:
            s0, s1, y0, y1 = ridge - 0.4, ridge + 0.4, b.height + rise - 0.5, b.height + rise + 1.1
            brick = np.array([0.52, 0.32, 0.25])
            near = side * -0.4 + ridge
            face(
                ((near, y0, at), (near, y0, at + 0.9), (near, y1, at + 0.9), (near, y1, at)),
                brick * weather.light((-side, 0, 0)),
            )
            face(
                ((s0, y0, at), (s1, y0, at), (s1, y1, at), (s0, y1, at)),
                brick * weather.light((0, 0, -1)),
            )


def _wall(
    cv: Canvas, weather: Weather, b: Building, facing: str, length: float, shade_line: float
) -> None:
    """One wall with everything on it."""
    plane = _Plane(cv, b, facing)
    normal = (-b.side, 0.0, 0.0) if facing == "street" else (0.0, 0.0, -1.0)
    lit, dim = weather.light(normal), weather.light(normal, 0.0)
    start = max(0.0, NEAR + 0.05 - b.z[0]) if facing == "street" else 0.0
    if start >= length:
        return
    height = b.height
    wall = np.asarray(b.wall)
    shade_line = min(max(shade_line, 0.0), height)

    def paint(
        u0: Number,
        u1: Number,
        y0: Number,
        y1: Number,
        albedo: np.ndarray,
        out: float = 0.0,
        grain: int = 0,
        light: np.ndarray | None = None,
    ) -> None:
        points = plane.rects(u0, u1, y0, y1, out)
        if light is None:
            light = lit
            if shade_line > 0:
                high = points[:, 0, 1] + points[:, 2, 1] > 2 * shade_line
                light = np.where(high[:, None], lit, dim)
        cv.faces(points, np.asarray(albedo) * light, BUILDING, grain)

    rough = 1 if b.style in ("render", "glass") else 2
    if shade_line > 0:
        paint(start, length, 0.0, shade_line, wall, grain=rough, light=dim)
    if shade_line < height:
        paint(start, length, shade_line, height, wall, grain=rough, light=lit)
    size = cv.camera.pixels(max(b.z[0] if facing == "end" else 0.5 * sum(b.z), 2.0))
    blank = facing == "end" and b.tones[50] < 0.35 and b.storeys < 5
    trim = np.asarray(b.trim)
    # Foot, string courses, cornice.
    paint(start, length, 0.0, 0.45, wall * 0.72, 0.02, rough)
    if b.style in ("stone", "render") and size > 5:
        levels = np.arange(1, b.storeys) * b.storey + (0.5 if b.shop else 0.15)
        paint(start, length, levels, levels + 0.16, trim * 0.95, 0.05)
    if b.roof == "flat":
        paint(start, length, height - 0.5, height - 0.38, wall * 0.55)
        paint(start, length, height - 0.38, height + 0.25, trim * 0.92, 0.15)
    else:
        paint(start, length, height - 0.3, height - 0.05, wall * 0.55)
    if not blank:
        _windows(weather, b, paint, facing, length, start, size)
    if facing == "street" and size > 3:
        if b.shop:
            _shop(cv, weather, b, plane, paint, length, start)
        else:
            _door(b, paint, length, start)
        if b.tones[55] < 0.6:  # downpipe
            paint(length - 0.25, length - 0.12, 0.0, height - 0.4, wall * 0.5 + 0.06, 0.1)


def _windows(
    weather: Weather,
    b: Building,
    paint: Callable[..., None],
    facing: str,
    length: float,
    start: float,
    size: float,
) -> None:
    """The grid of windows with frames, glass, sky reflections, curtains and sills."""
    bays = max(1, int((length - 0.8) / b.bay))
    bay = (length - 0.8) / bays
    first = 1 if b.shop and facing == "street" else 0
    grid = np.meshgrid(np.arange(bays), np.arange(first, b.storeys))
    column, row = grid[0].ravel(), grid[1].ravel()
    if len(column) == 0:
        return
    center = 0.4 + (column + 0.5) * bay
    half = bay * b.window[0] / 2
    base = row * b.storey + (0.6 if b.shop else 0.3)
    tall = b.storey * b.window[1]
    sill = base + (0.25 if b.style == "glass" else 0.30) * b.storey * (1.15 - b.window[1])
    sill = sill + 0.25
    lintel = np.minimum(sill + tall, base + b.storey - 0.2)
    seen = center - half > start + 0.1
    if facing == "street" and not b.shop:  # leave the axis of the door open
        seen &= ~((row == 0) & (column == int(b.tones[60] * bays)))
    u0, u1 = (center - half)[seen], (center + half)[seen]
    y0, y1, column, row = sill[seen], lintel[seen], column[seen], row[seen]
    if len(u0) == 0:
        return
    tone = b.tones[(column * 7 + row * 13) % 64]
    glass = np.array([0.13, 0.16, 0.19]) + np.asarray(weather.rim) * np.array([0.12, 0.14, 0.16])
    wall = np.asarray(b.wall)
    frame = np.asarray(b.trim) if b.style != "glass" else wall * 0.75
    if size > 7 and b.style != "glass":
        paint(u0 - 0.10, u1 + 0.10, y0 - 0.08, y1 + 0.14, frame * 0.93, 0.01)
    shiny = np.ones(3)
    bright = (0.75 + 0.5 * tone)[:, None] * glass * (0.55 + 0.45 * np.asarray(weather.ambient))
    lights_on = (tone < 0.45 * weather.lamps)[:, None]
    warm = np.array([1.0, 0.80, 0.46]) * (0.75 + 0.3 * tone)[:, None]
    paint(u0, u1, y0, y1, np.where(lights_on, warm, bright), 0.012, light=shiny)
    if size > 4:
        # The upper part mirrors the sky, more at flat angles; some windows show a curtain.
        sky = 0.35 * np.asarray(weather.zenith) + 0.45 * np.asarray(weather.rim)
        part = y1 - (y1 - y0) * (0.25 + 0.3 * tone)
        share = 0.50 if facing == "street" else 0.30
        mirrored = bright * (1 - share) + sky * share * (0.6 + 0.6 * tone)[:, None]
        paint(u0, u1, part, y1, np.where(lights_on, warm * 1.04, mirrored), 0.013, light=shiny)
        curtain = (tone > 0.62) & ~lights_on[:, 0] & (b.style != "glass")
        if curtain.any() and size > 13:
            a, z, lo, hi = u0[curtain], u1[curtain], y0[curtain], y1[curtain]
            cloth = np.array([0.62, 0.60, 0.55])
            paint(a, a + (z - a) * 0.24, lo, hi, cloth, 0.014)
            paint(z - (z - a) * 0.24, z, lo, hi, cloth, 0.014)
    if size > 12:
        # Reveal: dark edge above and at the far jamb; then bars and the sill.
        paint(u0, u1, y1 - 0.10, y1, wall * 0.32, 0.014)
        paint(u1 - 0.07, u1, y0, y1, wall * 0.40, 0.014)
        middle = (u0 + u1) / 2
        paint(middle - 0.035, middle + 0.035, y0, y1, frame, 0.015)
        if b.style != "glass" and b.tones[45] < 0.6:
            level = y0 + 0.55 * (y1 - y0)
            paint(u0, u1, level - 0.03, level + 0.03, frame, 0.015)
        paint(u0 - 0.12, u1 + 0.12, y0 - 0.12, y0, frame * 1.02, 0.08)
    if b.balcony and facing == "street" and size > 6:
        chosen = (row > 0) & (column % 2 == int(b.tones[46] * 2))
        a, z, lo = u0[chosen], u1[chosen], y0[chosen]
        paint(a - 0.3, z + 0.3, lo - 0.32, lo - 0.15, wall * 0.62, 0.8)
        paint(a - 0.3, z + 0.3, lo - 0.15, lo + 0.75, np.array([0.30, 0.31, 0.33]), 0.8)
        paint(a - 0.3, z + 0.3, lo + 0.72, lo + 0.80, np.array([0.5, 0.5, 0.5]), 0.82)


def _door(b: Building, paint: Callable[..., None], length: float, start: float) -> None:
    """A house door with frame, fanlight, canopy and step."""
    bays = max(1, int((length - 0.8) / b.bay))
    bay = (length - 0.8) / bays
    center = 0.4 + (int(b.tones[60] * bays) + 0.5) * bay
    if center - 0.8 < start:
        return
    color = np.array(SIGNS[int(b.tones[61] * len(SIGNS))]) * 0.8
    paint(center - 0.72, center + 0.72, 0.0, 2.65, np.asarray(b.trim) * 0.95, 0.02)
    paint(center - 0.52, center + 0.52, 0.05, 2.1, color, 0.03)
    paint(center - 0.52, center + 0.52, 2.15, 2.5, np.array([0.22, 0.26, 0.30]), 0.03)
    paint(center - 0.9, center + 0.9, 2.65, 2.8, np.asarray(b.trim) * 0.7, 0.5)
    paint(center - 0.8, center + 0.8, 0.0, 0.16, np.array([0.55, 0.54, 0.52]), 0.5)


def _shop(
    cv: Canvas,
    weather: Weather,
    b: Building,
    plane: _Plane,
    paint: Callable[..., None],
    length: float,
    start: float,
) -> None:
    """Shop windows, a fascia with a name and perhaps an awning."""
    top = b.storey + 0.45
    color = np.array(SIGNS[int(b.tones[62] * len(SIGNS))])
    surround = color * 0.55 if b.tones[51] < 0.5 else np.asarray(b.trim) * 0.8
    paint(start, length, 0.0, top - 0.65, surround, 0.02)
    count = max(2, int(length / 2.3))
    edge = np.linspace(0.25, length - 0.15, count + 1)
    u0, u1 = edge[:-1] + 0.12, edge[1:] - 0.06
    keep = u0 > start + 0.05
    u0, u1 = u0[keep], u1[keep]
    tone = b.tones[(np.arange(count)[keep] * 5) % 64]
    glass = np.array([0.16, 0.18, 0.20]) + 0.16 * np.asarray(weather.rim)
    inside = glass * (0.7 + 0.6 * tone)[:, None]
    lamp = np.array([1.0, 0.86, 0.58]) * (0.55 + 0.45 * max(weather.lamps, 0.0))
    lit = (0.15 + 0.75 * weather.lamps) * np.ones_like(inside)
    shown = inside * (1 - lit) + lamp * lit
    paint(u0, u1, 0.55, top - 0.8, shown, 0.03, light=np.ones(3))
    paint(
        u0,
        u1,
        top - 1.3,
        top - 0.8,
        shown * 0.8 + 0.12 * np.asarray(weather.rim),
        0.032,
        light=np.ones(3),
    )
    goods = np.array(SIGNS)[(tone * 97).astype(int) % len(SIGNS)] * 0.8
    paint(u0 + 0.2, u1 - (u1 - u0) * 0.4, 0.56, 0.75 + 0.7 * tone, goods, 0.033)
    door = int(b.tones[63] * len(u0)) if len(u0) else 0
    if len(u0):
        middle = (u0[door] + u1[door]) / 2
        paint(middle - 0.55, middle + 0.55, 0.05, 2.2, surround * 0.7, 0.034)
        paint(middle - 0.42, middle + 0.42, 0.35, 2.1, glass * 1.1, 0.035, light=np.ones(3))
    paint(start, length, top - 0.65, top, color, 0.12)
    paint(start, length, top - 0.08, top + 0.04, color * 0.6, 0.16)
    words = np.cumsum(0.22 + 0.5 * b.tones[:8])
    begin = max(start, length * 0.3)
    letters = begin + words[words + begin < length - 1.0]
    ink = np.array([0.92, 0.90, 0.84]) if color.mean() < 0.5 else np.array([0.15, 0.15, 0.17])
    if len(letters) and cv.camera.pixels(sum(b.z) / 2) > 8:
        paint(
            letters,
            letters + 0.13 + 0.2 * b.tones[: len(letters)],
            top - 0.45,
            top - 0.2,
            ink,
            0.13,
        )
    if b.tones[52] < 0.42:
        stripes = 2 * int(max(2, length / 1.1))
        seam = np.linspace(0.2, length - 0.2, stripes + 1)
        keep = seam[:-1] > start
        a, z = seam[:-1][keep], seam[1:][keep]
        u = np.stack([a, z, z, a], axis=1)
        n = len(a)
        y = np.tile([top - 0.7, top - 0.7, top - 1.25, top - 1.25], (n, 1))
        out = np.tile([0.1, 0.1, 1.25, 1.25], (n, 1))
        second = np.array([0.88, 0.86, 0.80]) if b.tones[53] < 0.6 else color
        cloth = np.where((np.arange(stripes)[keep] % 2 == 0)[:, None], color, second)
        light = weather.light((-b.side * 0.45, 0.89, 0.0))
        cv.faces(plane.points(u, y, out), cloth * light * 0.92, BUILDING)
        paint(a, z, top - 1.45, top - 1.25, cloth * 0.8, 1.25)
