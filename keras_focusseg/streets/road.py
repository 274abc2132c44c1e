"""The road: its cross-section, surfaces, markings, kerbs and crossings."""

from dataclasses import dataclass

import numpy as np

from keras_focusseg.streets.canvas import (
    NEAR,
    PAVEMENT,
    ROAD,
    TREE,
    Canvas,
    Color,
    pick,
)
from keras_focusseg.streets.weather import Weather

FAR = 190.0  # metres: the road is drawn up to here
CURB = 0.12  # metres: the pavement lies this much higher


@dataclass(frozen=True)
class Road:
    """Cross-section of the road in metres and what is painted on it.

    Attributes:
        edges: `s` of the left and the right kerb.
        pavements: Widths of the two pavements.
        lanes: Centres of the lanes with direction, (s, +1 ahead / -1 towards the camera).
        parking: Whether there is a parking strip left, right.
        cycle: Side of a coloured cycle lane: -1, +1 or 0 for none.
        drive: +1 traffic keeps right, -1 left.
        junction: Near and far z of a side road, or None.
        sides: Which sides the side road has, left, right.
        zebra: Z of a zebra crossing, or None.
        style: "broken", "double", "solid" or "none" centre line.
        edge_line: 0 none, 1 white, 2 yellow, 3 double yellow.
        asphalt: Albedo of the road.
        paving: Albedo of the pavements.
        slab: Length of paving slabs in metres.
        green: Whether a lawn strip lies between kerb and pavement, left, right.
        cracks: Mended pieces of the asphalt: s, z, half their width, their length.
    """

    edges: tuple[float, float]
    pavements: tuple[float, float]
    lanes: tuple[tuple[float, int], ...]
    parking: tuple[bool, bool]
    cycle: int
    drive: int
    junction: tuple[float, float] | None
    sides: tuple[bool, bool]
    zebra: float | None
    style: str
    edge_line: int
    asphalt: Color
    paving: Color
    slab: float
    green: tuple[bool, bool]
    cracks: tuple[tuple[float, float, float, float], ...]

    def curb(self, side: int) -> float:
        """`s` of the kerb on side -1 or +1."""
        return self.edges[0] if side < 0 else self.edges[1]

    def pavement(self, side: int) -> float:
        """Width of the pavement on side -1 or +1."""
        return self.pavements[0] if side < 0 else self.pavements[1]

    def open_at(self, side: int, z0: float, z1: float, margin: float = 0.0) -> bool:
        """Whether z0..z1 touches the side road on this side."""
        if self.junction is None or not self.sides[0 if side < 0 else 1]:
            return False
        return z1 > self.junction[0] - margin and z0 < self.junction[1] + margin


def sample_road(rng: np.random.Generator, kind: str) -> Road:
    """Draws a cross-section for a kind of street ("shops", "homes", "avenue", "town", "park")."""
    drive = 1 if rng.random() < 0.5 else -1
    lane = rng.uniform(2.9, 3.5)
    wide = kind in ("avenue", "town") and rng.random() < 0.45
    per_side = 2 if wide else 1
    parking = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
    cycle = 0 if rng.random() < 0.7 else pick(rng, (-1, 1))
    half = per_side * lane
    strip = [2.15 if p else 0.25 for p in parking]
    path = [1.5 if cycle == side else 0.0 for side in (-1, 1)]
    edges = (-(half + strip[0] + path[0]), half + strip[1] + path[1])
    lanes = []
    for k in range(per_side):
        center = (k + 0.5) * lane
        lanes += [(drive * center, 1), (-drive * center, -1)]
    junction, sides = None, (False, False)
    if rng.random() < 0.5:
        start = rng.uniform(14.0, 42.0)
        junction = (start, start + rng.uniform(6.5, 9.0))
        sides = ((True, False), (False, True), (True, True))[int(rng.integers(3))]
    zebra = None
    if rng.random() < 0.34:
        zebra = junction[0] - 5.5 if junction and rng.random() < 0.7 else rng.uniform(8.0, 24.0)
    gray = rng.uniform(0.30, 0.46)
    tint = rng.uniform(-0.012, 0.012)
    light = rng.uniform(0.50, 0.66)
    warm = rng.uniform(-0.01, 0.045)
    low, high = (2.6, 5.0) if kind in ("shops", "avenue") else (1.8, 3.2)
    cracks = rng.uniform((edges[0], 4.0, 0.4, 1.0), (edges[1], 45.0, 1.6, 5.0), size=(5, 4))
    lawn = kind in ("avenue", "park", "homes")
    return Road(
        edges=edges,
        pavements=(rng.uniform(low, high), rng.uniform(low, high)),
        lanes=tuple(lanes),
        parking=parking,
        cycle=cycle,
        drive=drive,
        junction=junction,
        sides=sides,
        zebra=zebra,
        style=pick(rng, ("broken", "double", "solid", "none"), (0.66, 0.12, 0.12, 0.10)),
        edge_line=pick(rng, (0, 1, 2, 3), (0.4, 0.3, 0.15, 0.15)),
        asphalt=(gray + tint, gray, gray - tint + 0.008),
        paving=(light + warm, light, light - warm),
        slab=pick(rng, (0.6, 0.9, 1.2, 2.4)),
        green=(lawn and bool(rng.random() < 0.4), lawn and bool(rng.random() < 0.4)),
        cracks=tuple(map(tuple, cracks.tolist())),
    )


def draw_road(cv: Canvas, weather: Weather, road: Road, lawns: tuple[bool, bool]) -> None:
    """Draws all ground: land, pavements, kerbs, asphalt and paint.

    Args:
        cv: Canvas.
        weather: Light.
        road: What to draw.
        lawns: Whether the land behind the pavement is grass (class Tree, as CamVid's vegetation)
            on the left and the right side; otherwise it is paved.
    """
    up = weather.light((0.0, 1.0, 0.0))
    asphalt = np.asarray(road.asphalt) * up
    paving = np.asarray(road.paving) * up
    grass = np.array([0.33, 0.44, 0.19]) * up
    near = max(cv.camera.nearest * 0.8, 0.8)
    cv.strip(-400.0, 400.0, near, FAR * 4, paving * 0.93, PAVEMENT)
    for side in (-1, 1):
        curb, width = road.curb(side), road.pavement(side)
        if lawns[0 if side < 0 else 1]:
            cv.strip(side * 300.0, curb + side * width, near, FAR * 2, grass, TREE)
        cv.strip(curb, curb + side * width, near, FAR, paving, PAVEMENT, CURB)
        _slabs(cv, road, side, near, paving)
        if road.green[0 if side < 0 else 1] and width > 2.4:
            cv.strip(curb + side * 0.3, curb + side * 1.2, near, FAR, grass * 0.95, TREE, CURB)
    cv.strip(road.edges[0], road.edges[1], near, FAR, asphalt, ROAD)
    _wear(cv, road, near, asphalt)
    _curbs(cv, weather, road, near)
    _side_road(cv, road, asphalt, paving)
    _paint(cv, weather, road, near, asphalt)


def _slabs(cv: Canvas, road: Road, side: int, near: float, paving: np.ndarray) -> None:
    """Joints of the paving."""
    curb, width = road.curb(side), road.pavement(side)
    lines = int(width / 0.9)
    for k in range(1, lines + 1):
        s = curb + side * k * width / (lines + 1)
        cv.strip(s - 0.012, s + 0.012, near, 22.0, paving * 0.86, PAVEMENT, CURB)
    z = np.arange(np.ceil(near / road.slab) * road.slab, 20.0, road.slab)
    _bars(
        cv,
        np.full_like(z, curb),
        np.full_like(z, curb + side * width),
        z,
        z + 0.025,
        paving * 0.87,
        PAVEMENT,
        CURB,
    )


def _bars(
    cv: Canvas,
    s0: np.ndarray,
    s1: np.ndarray,
    z0: np.ndarray,
    z1: np.ndarray,
    color: np.ndarray,
    label: int,
    y: float = 0.0,
) -> None:
    """Many ground rectangles at once; arrays (N,)."""
    keep = z0 >= NEAR
    s0, s1, z0, z1 = s0[keep], s1[keep], z0[keep], z1[keep]
    if len(z0):
        s, z = np.stack([s0, s1, s1, s0], axis=1), np.stack([z0, z0, z1, z1], axis=1)
        cv.shapes(cv.camera.project(cv.camera.street(s, y, z)), color, label)


def _wear(cv: Canvas, road: Road, near: float, asphalt: np.ndarray) -> None:
    """Darker wheel tracks, patches and covers."""
    for center, _ in road.lanes:
        for track in (-0.78, 0.78):
            s = center + track
            cv.strip(s - 0.30, s + 0.30, near, 60.0, asphalt * 0.965, ROAD)
    for k, (s, z, half, length) in enumerate(road.cracks):
        shade = (0.88, 1.07, 0.93, 1.05, 0.90)[k]
        if road.edges[0] < s - half and s + half < road.edges[1]:
            cv.strip(s - half, s + half, z, z + length, asphalt * shade, ROAD)
    for s, z, _, _ in road.cracks[:3]:
        angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        cv.ground(s + 0.34 * np.cos(angle), z + 7 + 0.34 * np.sin(angle), asphalt * 0.62, ROAD)
    if road.cycle:
        curb = road.curb(road.cycle) - road.cycle * 0.15
        red = asphalt * np.array([1.28, 0.82, 0.76])
        cv.strip(curb - road.cycle * 1.45, curb, near, FAR, red, ROAD)


def _curbs(cv: Canvas, weather: Weather, road: Road, near: float) -> None:
    """Kerb stones: a dark or lit face and a bright top with joints."""
    up = weather.light((0.0, 1.0, 0.0))
    for side in (-1, 1):
        s = road.curb(side)
        face = 0.55 * weather.light((-side, 0.0, 0.0))
        z = 1.0 / np.linspace(1.0 / near, 1.0 / FAR, 24)
        x = cv.camera.lane(s, z)
        bottom = np.stack([x, np.zeros_like(x), z], axis=-1)
        top = np.stack([x, np.full_like(x, CURB), z], axis=-1)
        xy = cv.camera.project(np.concatenate([bottom, top[::-1]]))
        cv.shape(xy, face, PAVEMENT)
        cv.strip(s, s + side * 0.16, near, FAR, 0.68 * up, PAVEMENT, CURB)
        z = np.arange(np.ceil(near), 18.0, 1.0)
        _bars(
            cv,
            np.full_like(z, s),
            np.full_like(z, s + side * 0.16),
            z,
            z + 0.02,
            0.45 * up,
            PAVEMENT,
            CURB,
        )


def _side_road(cv: Canvas, road: Road, asphalt: np.ndarray, paving: np.ndarray) -> None:
    """A street that leaves at a right angle, with rounded corners and its own pavements."""
    if road.junction is None:
        return
    z0, z1 = road.junction
    for index, side in enumerate((-1, 1)):
        if not road.sides[index]:
            continue
        curb, width = road.curb(side), road.pavement(side)
        far = curb + side * 60.0
        for a, b in ((z0 - width, z0), (z1, z1 + width)):
            s = np.array([curb + side * width * 0.8, far, far, curb + side * width * 0.8])
            cv.ground(s, np.array([a, a, b, b]), paving, PAVEMENT, CURB)
        bow = np.linspace(0.0, np.pi / 2, 6)
        radius = min(2.0, width)
        s = curb + side * radius * (1 - np.sin(bow))
        near_arc = z0 - radius * (1 - np.cos(bow))
        far_arc = z1 + radius * (1 - np.cos(bow))
        outline_s = np.concatenate([[far], s, s[::-1], [far]])
        outline_z = np.concatenate([[z0], near_arc, far_arc[::-1], [z1]])
        cv.ground(outline_s, outline_z, asphalt * 0.985, ROAD)


def _paint(cv: Canvas, weather: Weather, road: Road, near: float, asphalt: np.ndarray) -> None:
    """White and yellow paint."""
    up = weather.light((0.0, 1.0, 0.0))
    white = 0.18 * asphalt + 0.70 * up
    yellow = 0.15 * asphalt + np.array([0.74, 0.60, 0.16]) * up
    gap = road.junction or (-1.0, -1.0)

    def line(s: float, color: np.ndarray, width: float = 0.12) -> None:
        for a, b in (
            ((near, gap[0] - 1.5), (gap[1] + 1.5, 120.0)) if road.junction else ((near, 120.0),)
        ):
            cv.strip(s - width / 2, s + width / 2, a, b, color, ROAD)

    def dashes(s: float, color: np.ndarray, length: float, pause: float) -> None:
        z = np.arange(2.0 - length, 110.0, length + pause)
        keep = (z + length > near) & ~((z + length > gap[0]) & (z < gap[1]))
        z0 = np.maximum(z[keep], near)
        middle = np.full_like(z0, s)
        _bars(cv, middle - 0.07, middle + 0.07, z0, z[keep] + length, color, ROAD)

    if road.style == "broken":
        dashes(0.0, white, 2.5, 4.0)
    elif road.style == "double":
        line(-0.13, white)
        line(0.13, white)
    elif road.style == "solid":
        line(0.0, white)
    if len(road.lanes) > 2:
        spacing = abs(road.lanes[2][0]) - abs(road.lanes[0][0])
        dashes(-spacing, white, 2.0, 4.5)
        dashes(spacing, white, 2.0, 4.5)
    inner = abs(road.lanes[-1][0]) + abs(road.lanes[0][0])
    for index, side in enumerate((-1, 1)):
        if road.parking[index]:
            z = np.arange(3.0, 70.0, 5.5)
            edge = road.curb(side)
            s0 = np.full_like(z, edge - side * 2.1)
            if road.cycle != side:
                line(edge - side * 2.1, white * 0.95, 0.08)
            _bars(cv, s0, np.full_like(z, edge - side * 0.05), z, z + 0.09, white * 0.95, ROAD)
        elif road.edge_line:
            color = white if road.edge_line == 1 else yellow
            line(road.curb(side) - side * 0.28, color, 0.1)
            if road.edge_line == 3:
                line(road.curb(side) - side * 0.5, color, 0.1)
        if road.cycle == side:
            line(road.curb(side) - side * 1.65, white, 0.14)
    if road.zebra is not None:
        s = np.arange(road.edges[0] + 0.35, road.edges[1] - 0.4, 1.0)
        z = np.full_like(s, road.zebra)
        _bars(cv, s, s + 0.52, z, z + 3.0, white * 1.02, ROAD)
        cv.strip(
            min(0.1 * road.drive, road.drive * inner),
            max(0.1 * road.drive, road.drive * inner),
            road.zebra - 1.4,
            road.zebra - 1.05,
            white,
            ROAD,
        )
