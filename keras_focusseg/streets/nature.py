"""Trees, hedges and bushes: a crown is a heap of leaf clusters, each lit by its place in it."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from keras_focusseg.streets.canvas import NEAR, TREE, Canvas, Color, pick
from keras_focusseg.streets.weather import Weather

CLUSTERS, TUFTS = 100, 460
LEAVES = {
    "summer": ((0.23, 0.36, 0.12), (0.28, 0.40, 0.15), (0.20, 0.33, 0.15), (0.33, 0.42, 0.17)),
    "spring": ((0.42, 0.54, 0.20), (0.36, 0.48, 0.18), (0.50, 0.56, 0.26), (0.80, 0.66, 0.70)),
    "autumn": ((0.62, 0.40, 0.12), (0.58, 0.30, 0.11), (0.66, 0.52, 0.17), (0.38, 0.38, 0.14)),
}


@dataclass(frozen=True)
class Tree:
    """A tree, bush or piece of hedge.

    Attributes:
        s: Of the foot, across the road.
        z: Of the foot, along the road.
        height: Top of the crown in metres.
        radius: Half width of the crown.
        clear: Height of the lowest leaves.
        shape: "round", "cone", "column" or "hedge", a box.
        leaf: Albedo of the leaves.
        bark: Albedo of the trunk.
        seed: Own seed of the leaf pattern.
        base: Height of the ground under it.
        length: Of a hedge.
    """

    s: float
    z: float
    height: float
    radius: float
    clear: float
    shape: str
    leaf: Color
    bark: Color
    seed: int
    base: float = 0.0
    length: float = 0.0


def sample_tree(
    rng: np.random.Generator, season: str, s: float, z: float, base: float, big: float = 1.0
) -> Tree:
    """Draws a tree at (s, z); `big` scales it."""
    shape = pick(rng, ("round", "cone", "column"), (0.82, 0.08, 0.10))
    height = big * rng.uniform(5.0, 10.5)
    radius = height * {"round": rng.uniform(0.27, 0.40), "cone": 0.23, "column": 0.15}[shape]
    clear = {"round": rng.uniform(1.9, 2.8), "cone": 0.7, "column": 1.0}[shape]
    choice = LEAVES[season if shape == "round" else "summer"]
    leaf = np.array(choice[int(rng.integers(4))])
    leaf = np.clip(leaf * rng.uniform(0.85, 1.15) + rng.uniform(-0.02, 0.02, 3), 0.05, 0.9)
    bark = rng.uniform(0.24, 0.42)
    return Tree(
        s,
        z,
        height,
        radius,
        min(clear, 0.45 * height),
        shape,
        tuple(leaf.tolist()),
        (bark, bark * 0.88, bark * 0.76),
        int(rng.integers(1 << 30)),
        base,
    )


def sample_hedge(rng: np.random.Generator, s: float, z: float, length: float, base: float) -> Tree:
    """Draws a hedge that runs from z to z + length along the road."""
    leaf = np.array(LEAVES["summer"][int(rng.integers(4))]) * rng.uniform(0.8, 1.1)
    return Tree(
        s,
        z,
        rng.uniform(1.0, 2.1),
        0.45,
        0.0,
        "hedge",
        tuple(leaf.tolist()),
        (0.3, 0.25, 0.2),
        int(rng.integers(1 << 30)),
        base,
        length,
    )


@lru_cache(maxsize=1)
def _patterns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fixed random tables: points in a ball (8, CLUSTERS + TUFTS, 3), tones, leaf outlines."""
    rng = np.random.default_rng(77)
    direction = rng.standard_normal((8, CLUSTERS + TUFTS, 3))
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    reach = 0.92 * rng.random((8, CLUSTERS + TUFTS, 1)) ** 0.36
    reach[:, CLUSTERS:] = rng.uniform(0.72, 1.08, (8, TUFTS, 1))  # tufts make the outline leafy
    angle = np.linspace(0, 2 * np.pi, 7, endpoint=False)
    outline = rng.uniform(0.66, 1.20, (32, 7, 1))
    outline = outline * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return direction * reach, rng.random((8, CLUSTERS + TUFTS)), outline


def _place(tree: Tree) -> tuple[np.ndarray, np.ndarray]:
    """Points of the leaf clusters relative to the foot, (N, 3) in metres, and outward normals."""
    ball = _patterns()[0][tree.seed % 8]
    if (tree.seed >> 3) % 2:
        ball = ball * (-1.0, 1.0, 1.0)
    half = (tree.height - tree.clear) / 2
    normal = ball.copy()
    if tree.shape == "hedge":
        cube = ball / np.maximum(np.abs(ball).max(axis=1, keepdims=True), 1e-6)
        cube = cube * np.linalg.norm(ball, axis=1, keepdims=True) ** 0.4
        points = cube * (tree.radius, tree.height / 2 * 0.92, tree.length / 2)
        points += (0.0, tree.height / 2, tree.length / 2)
        return points, normal
    width = np.full(len(ball), tree.radius)
    if tree.shape == "cone":
        width = tree.radius * (1.02 - 0.62 * (ball[:, 1] + 1.0))
        width = np.maximum(width, 0.06)
    points = np.stack([ball[:, 0] * width, ball[:, 1] * half, ball[:, 2] * width], axis=1)
    points[:, 1] += tree.clear + half
    return points, normal


def draw_tree(cv: Canvas, weather: Weather, tree: Tree, sunlit: float) -> None:
    """Draws trunk, branches and leaves; `sunlit` dims the sun on it."""
    if tree.z < NEAR + 0.7 and tree.shape != "hedge":
        return
    camera = cv.camera
    size = camera.pixels(max(tree.z, 2.0))
    column = camera.center[0] + camera.lane(tree.s, tree.z) * size
    wide = 1.3 * tree.radius * size
    if tree.shape != "hedge":
        if not -wide < column < camera.size[1] + wide:
            return
        _trunk(cv, weather, tree, sunlit)
    points, normal = _place(tree)
    _, tones, outline = _patterns()
    tone = tones[tree.seed % 8]
    extent = tree.height * size
    big = int(min(CLUSTERS, max(14, 1.3 * extent)))
    small = 0 if extent < 36 else int(min(TUFTS, 1.6 * extent))
    mean = min(tree.radius, (tree.height - tree.clear) / 2) if tree.shape != "hedge" else 0.55
    chosen = np.concatenate([np.arange(big), np.arange(CLUSTERS, CLUSTERS + small)])
    tuft = 0.13 * (1.0 if extent < 150 else (150.0 / extent) ** 0.35)
    radius = np.where(chosen < CLUSTERS, 0.31, tuft) * mean * (0.7 + 0.6 * tone[chosen])
    if tree.shape == "hedge":
        radius = np.minimum(radius, 0.3)
    radius *= np.where(chosen < CLUSTERS, (CLUSTERS / big) ** 0.3, 1.0)
    points, normal, tone = points[chosen], normal[chosen], tone[chosen]
    # Leaf tufts sit on the outside, clusters fill the inside.
    world = points + (0.0, tree.base, tree.z)
    world[:, 0] += camera.lane(tree.s, world[:, 2] if tree.shape == "hedge" else tree.z)
    keep = world[:, 2] > NEAR + 0.4
    world, normal, tone, radius, chosen = (v[keep] for v in (world, normal, tone, radius, chosen))
    order = np.argsort(world[:, 2] * 1.0 - radius * 0.4 - (chosen >= CLUSTERS) * mean * 0.5)[::-1]
    world, normal, tone, radius, chosen = (v[order] for v in (world, normal, tone, radius, chosen))
    up = normal @ np.asarray(weather.sun)
    direct = np.clip(0.30 + 0.70 * up, 0.0, 1.0) * sunlit
    through = max(0.0, weather.sun[2]) * 0.25 * sunlit  # leaves glow against the light
    shade = 0.50 + 0.34 * normal[:, 1] + 0.30 * (tone - 0.5)
    light = np.clip(shade, 0.16, 1.1)[:, None] * np.asarray(weather.ambient)
    light = light + (direct * (0.75 + 0.5 * tone) + through)[:, None] * np.asarray(weather.direct)
    albedo = np.asarray(tree.leaf) * (1.0 + 0.22 * (tone[:, None] - 0.5) * (1.0, 0.6, -0.4))
    xy = camera.project(world)
    scale = radius * camera.focal / world[:, 2]
    which = (chosen * 5 + tree.seed) % 32
    shapes = xy[:, None] + outline[which] * scale[:, None, None]
    cv.shapes(shapes, albedo * light * 1.18, TREE, world[:, 2].clip(0), 3)


def _trunk(cv: Canvas, weather: Weather, tree: Tree, sunlit: float) -> None:
    camera = cv.camera
    x = camera.lane(tree.s, tree.z)
    mid = tree.clear + (tree.height - tree.clear) * 0.5
    lean = ((tree.seed >> 5) % 17 - 8) / 8 * 0.04 * tree.height
    thick = 0.018 * tree.height + 0.03
    spread = tree.radius * 0.55
    start = [
        (x, 0.0),
        (x + lean * 0.4, tree.clear * 0.9),
        (x + lean * 0.4, tree.clear * 0.9),
        (x + lean * 0.4, tree.clear),
    ]
    end = [
        (x + lean * 0.4, tree.clear),
        (x - spread, mid),
        (x + spread, mid * 1.05),
        (x + lean, mid),
    ]
    width = [(1.25, 0.85), (0.5, 0.22), (0.5, 0.22), (0.75, 0.35)]
    z, focal = tree.z, camera.focal

    def project(points: list[tuple[float, float]]) -> np.ndarray:
        rows = [(px, y + tree.base, z) for px, y in points]
        return camera.project(np.array(rows))

    a, b = project(start), project(end)
    radius = np.array(width) * thick * focal / z
    dark = np.asarray(tree.bark) * weather.light((0.0, 0.0, -1.0), sunlit) * 0.85
    cv.capsules(a, b, radius, dark, TREE, np.full(4, z), 2)
    if radius[0, 0] > 1.5:
        toward = 1.0 if weather.sun[0] > 0 else -1.0
        bright = np.asarray(tree.bark) * weather.light((toward, 0.0, 0.0), sunlit)
        shift = np.array([toward * 0.45, 0.0]) * radius[:1, :1]
        cv.capsules(a[:1] + shift, b[:1] + shift, radius[:1] * 0.5, bright, TREE, z, 2)


def shadow_tree(cv: Canvas, weather: Weather, tree: Tree) -> None:
    """Casts a mottled shadow."""
    points, _ = _place(tree)
    tones = _patterns()[1][tree.seed % 8]
    count = 22 if tree.z < 30 else 9
    points, tones = points[:count], tones[:count]
    x0 = cv.camera.lane(tree.s, tree.z)
    dx, dz = weather.cast
    mean = min(tree.radius, tree.height / 3)
    along = np.array([dx, dz]) / (np.hypot(dx, dz) + 1e-6)
    stretch = min(1.0 / max(weather.sun[1], 0.2), 3.0)
    radius = mean * (0.26 + 0.2 * tones)[:, None, None]
    axes = radius * np.stack([along * stretch, (-along[1], along[0])])
    center = points[:, ::2] + points[:, 1:2] * (dx, dz) + (x0, tree.z)
    cv.shadow_discs(center, axes, 0.9)
    if tree.shape != "hedge":
        high = tree.clear + 0.6
        cv.bar_shadow((x0, tree.z), weather.cast, 0.0, high, 0.02 * tree.height, 0.9)
